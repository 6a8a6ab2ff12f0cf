"""The Learn tab: its parts, and which function each of them calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from motion_transfer.errors import MotionTransferError
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.types import TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.buttons import (
    QUIET,
    SECONDS_BETWEEN_LOOKS,
    JobButtons,
    PlaceOf,
    bind_buttons,
    build_buttons,
    usable,
)
from motion_transfer.ui.controls import OrderControls, nothing_new, started
from motion_transfer.ui.desk import Seen, in_words, sentence, status, told
from motion_transfer.ui.knobs import controls, other_names
from motion_transfer.ui.learn import (
    LearnOrder,
    choose_clip,
    look_at_learning,
    order_learning,
    ordered_learning,
    show_span,
    unknown_note,
)
from motion_transfer.ui.plots import STAGE_COLORS, word_list

COMMON_KNOBS = ("spatial_steps", "temporal_steps")
SHOWN = ("status", "losses", "preview", "heads", "saved", "go_render", "seen")
FILE_TYPES = [".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif"]


@dataclass(frozen=True, kw_only=True)
class LearnTab:
    """What other parts of the page need: the learned motion's key, the button that leads on, and how to fill it in."""

    saved: gr.State
    go_render: gr.Button
    fill: Callable[..., Any]
    filled: list[Component]


def _clip_parts(examples: list[Path]) -> dict[str, Any]:
    parts: dict[str, Any] = {"file": gr.File(label=words.UPLOAD, file_types=FILE_TYPES, height=150)}
    parts["path"], parts["filled"] = gr.State(None), gr.State("")
    if examples:
        parts["examples"] = gr.Dataset(
            components=[gr.Video(visible=False)],
            samples=[[str(path)] for path in examples],
            label=words.EXAMPLES,
            type="index",
            samples_per_page=len(examples),
            layout="gallery",
        )
    parts["facts"] = gr.Markdown()
    with gr.Row():
        parts["start_s"] = gr.Number(label=words.START_S, value=0.0, minimum=0, step=0.1, min_width=120)
        parts["end_s"] = gr.Number(label=words.END_S, value=None, minimum=0, step=0.1, min_width=120)
    parts["span"] = gr.Video(
        label=words.SPAN_SHOWN, interactive=False, autoplay=True, loop=True, buttons=[], height=260, elem_id="span"
    )
    return parts


def _caption_parts(studio: Studio) -> dict[str, Any]:
    parts: dict[str, Any] = {"caption": gr.Textbox(label=words.CAPTION, placeholder=words.CAPTION_HINT)}
    parts["unknown"] = gr.Markdown(elem_classes="marked")
    if vocabulary := studio.words():
        with gr.Accordion(words.VOCABULARY, open=False):
            gr.Markdown(word_list(vocabulary))
    parts["preview_prompt"] = gr.Textbox(label=words.PREVIEW_PROMPT, placeholder=words.PREVIEW_HINT)
    parts["preview_unknown"] = gr.Markdown(elem_classes="marked")
    parts["name"] = gr.Textbox(label=words.MOTION_NAME, placeholder=words.MOTION_HINT, max_length=80)
    return parts


def _knob_parts() -> dict[str, Component]:
    with gr.Row():
        common = controls(TuneSpec, COMMON_KNOBS)
    with gr.Accordion(words.ADVANCED, open=False):
        return common | controls(TuneSpec, other_names(TuneSpec, "caption", *COMMON_KNOBS))


def _result_parts() -> dict[str, Any]:
    parts: dict[str, Any] = {"status": gr.HTML(status(words.IDLE_LEARN), elem_id="learn-status")}
    parts["start"] = gr.Button(words.START, variant="primary", elem_id="start")
    parts["buttons"] = build_buttons("learn")
    parts["go_render"] = gr.Button(words.GO_RENDER, visible=False, elem_id="go-render")
    parts["losses"] = gr.LinePlot(
        x=words.LOSS_STEP,
        y=words.LOSS_VALUE,
        color=words.LOSS_STAGE,
        color_map=STAGE_COLORS,
        label=words.LOSS,
        height=320,
        buttons=[],
    )
    parts["preview"] = gr.Video(
        label=words.PREVIEW, interactive=False, autoplay=True, loop=True, buttons=[], height=300, elem_id="preview"
    )
    parts["heads"] = gr.Image(
        label=words.HEADS, interactive=False, format="png", buttons=["fullscreen"], elem_id="heads"
    )
    return parts


class _LearnPage:
    """Binds the tab's parts to the functions behind them."""

    def __init__(self, studio: Studio, place_of: PlaceOf, uploads: Library, examples: list[Path]) -> None:
        self._studio, self._place_of, self._uploads, self._examples = studio, place_of, uploads, examples
        self._visitor: gr.BrowserState
        self._span: gr.Video
        self._controls: OrderControls[LearnOrder]

    def choose(self, path: str | None, caption: str, filled: str) -> tuple[Any, ...]:
        """A new clip: its path, facts, start, end, caption, the caption filled in, and a look at its span.

        A caption that an earlier clip brought along leaves with it; one that was typed stays.
        """
        kept = "" if caption == filled else caption
        if path is None:
            return None, "", 0.0, None, kept, "", None
        try:
            clip = choose_clip(self._uploads, Path(path))
        except (MotionTransferError, OSError) as error:
            said = sentence(in_words(error))
            gr.Warning(said)
            return None, said, 0.0, None, kept, "", None
        return path, clip.facts, clip.start_s, clip.end_s, clip.caption or kept, clip.caption, str(clip.shown)

    def example(self, index: int, caption: str, filled: str) -> tuple[Any, ...]:
        """An example was clicked: the upload is cleared, the rest is as for any clip."""
        return None, *self.choose(str(self._examples[index]), caption, filled)

    def span(self, path: str | None, start_s: float | None, end_s: float | None) -> str | None:
        """The span was moved."""
        if path is None:
            return None
        try:
            return str(show_span(self._uploads, Path(path), start_s, end_s))
        except (MotionTransferError, OSError) as error:
            gr.Warning(sentence(in_words(error)))
            return None

    def unknown(self, text: str) -> str:
        """Words to mark below a text box."""
        return unknown_note(self._studio, text)

    def start(self, values: dict[Component, Any]) -> tuple[Any, str]:
        """Start was pressed: the key of the new job, and the status line."""
        order = self._controls.order(values)
        return started(lambda: order_learning(self._place_of(values[self._visitor]), order))

    def fill(self, token: str | None, key: str | None) -> dict[Component, Any]:
        """What a job was asked, back in the controls; nothing if it was not to learn."""
        order, values = self._controls.filled(lambda: ordered_learning(self._place_of(token), key or ""))
        if order is None:
            return values
        span, _ = told(lambda: str(show_span(self._uploads, Path(order.path or ""), order.start_s, order.end_s)))
        return {**values, self._span: span}

    def look(self, token: str | None, key: str | None, seen: Seen | None) -> tuple[Any, ...]:
        """The timer ticked: what has changed of the job."""
        view, error = told(lambda: look_at_learning(self._place_of(token), key, seen))
        if view is None:
            return nothing_new(error, len(SHOWN) + 3)
        renewed = {
            name: str(path) if path else None
            for name, path in (("preview", view.preview), ("heads", view.heads))
            if name in view.renewed
        }
        files = [renewed[name] if name in renewed else gr.skip() for name in ("preview", "heads")]
        leads_on = gr.Button(visible=view.saved is not None)
        return view.status, view.losses, *files, view.saved, leads_on, view.seen, view.job.key, *usable(view.job)

    @property
    def filled(self) -> list[Component]:
        """What `fill` may change."""
        return [*self._controls.components, self._span]

    def bind_clip(self, parts: dict[str, Any]) -> None:
        """Choosing a clip, and moving its span."""
        seen = [parts[name] for name in ("path", "facts", "start_s", "end_s", "caption", "filled", "span")]
        captions = [parts["caption"], parts["filled"]]
        parts["file"].upload(self.choose, [parts["file"], *captions], seen, **QUIET)
        parts["file"].clear(self.choose, [parts["file"], *captions], seen, **QUIET)
        if "examples" in parts:
            parts["examples"].click(self.example, [parts["examples"], *captions], [parts["file"], *seen], **QUIET)
        for name in ("start_s", "end_s"):
            moved = [parts["path"], parts["start_s"], parts["end_s"]]
            parts[name].input(self.span, moved, parts["span"], trigger_mode="always_last", **QUIET)
        for text, note in (("caption", "unknown"), ("preview_prompt", "preview_unknown")):
            parts[text].change(self.unknown, parts[text], parts[note], trigger_mode="always_last", **QUIET)

    def bind_job(self, parts: dict[str, Any], knobs: dict[str, Component], visitor: gr.BrowserState) -> None:
        """Start, the buttons below the job, and looking at it again and again."""
        self._visitor, self._span = visitor, parts["span"]
        self._controls = OrderControls(LearnOrder, parts, knobs)
        inputs = {*self._controls.components, visitor}
        parts["start"].click(self.start, inputs, [parts["key"], parts["status"]], **QUIET)
        buttons: JobButtons = parts["buttons"]
        bind_buttons(buttons, self._place_of, visitor, parts["key"])
        shown = [*(parts[name] for name in SHOWN), parts["key"], *buttons.parts]
        timer = gr.Timer(SECONDS_BETWEEN_LOOKS)
        timer.tick(self.look, [visitor, parts["key"], parts["seen"]], shown, queue=False, **QUIET)


def build_learn_tab(
    studio: Studio, place_of: PlaceOf, uploads: Library, examples: list[Path], visitor: gr.BrowserState
) -> LearnTab:
    """Builds the tab's content where it is called."""
    page = _LearnPage(studio, place_of, uploads, examples)
    with gr.Row():
        with gr.Column(min_width=320):
            parts = _clip_parts(examples) | _caption_parts(studio)
            knobs = _knob_parts()
        with gr.Column(min_width=320):
            parts |= _result_parts()
    parts |= {"saved": gr.State(None), "key": gr.State(None), "seen": gr.State(None)}
    page.bind_clip(parts)
    page.bind_job(parts, knobs, visitor)
    return LearnTab(saved=parts["saved"], go_render=parts["go_render"], fill=page.fill, filled=page.filled)
