"""The Learn tab: its parts, and which function each of them calls."""

from __future__ import annotations

from collections.abc import Iterator
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
from motion_transfer.ui.desk import Desk, in_words, sentence, status
from motion_transfer.ui.knobs import controls, other_names
from motion_transfer.ui.learn import LearnOrder, LearnView, choose_clip, learn, show_span, unknown_note
from motion_transfer.ui.plots import STAGE_COLORS, word_list

COMMON_KNOBS = ("spatial_steps", "temporal_steps")
BUTTONS = ("start", "stop", "go_render")
RESULTS = ("losses", "preview", "heads", "saved")
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
FILE_TYPES = [".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif"]


@dataclass(frozen=True, kw_only=True)
class LearnTab:
    """What other parts of the page need: the key of the last saved motion, and the button that leads on."""

    saved: gr.State
    ended: gr.events.Dependency
    go_render: gr.Button


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
    if vocabulary := studio.vocabulary():
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
    with gr.Row():
        parts["start"] = gr.Button(words.START, variant="primary", min_width=120, elem_id="start")
        parts["stop"] = gr.Button(words.STOP, variant="stop", interactive=False, min_width=120, elem_id="learn-stop")
    parts["go_render"] = gr.Button(words.GO_RENDER, visible=False, elem_id="go-render")
    parts["losses"] = gr.LinePlot(
        x=words.LOSS_STEP,
        y=words.LOSS_VALUE,
        color=words.LOSS_STAGE,
        color_map=STAGE_COLORS,
        label=words.LOSS,
        height=280,
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

    def __init__(self, studio: Studio, library: Library, desk: Desk, examples: list[Path]) -> None:
        self._studio, self._library, self._desk, self._examples = studio, library, desk, examples
        self._orders: dict[str, Component] = {}
        self._knobs: dict[str, Component] = {}

    def choose(self, path: str | None, caption: str, filled: str) -> tuple[Any, ...]:
        """A new clip: its path, facts, start, end, caption, the caption filled in, and a look at its span.

        A caption that an earlier clip brought along leaves with it; one that was typed stays.
        """
        kept = "" if caption == filled else caption
        if path is None:
            return None, "", 0.0, None, kept, "", None
        try:
            clip = choose_clip(self._library, Path(path))
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
            return str(show_span(self._library, Path(path), start_s, end_s))
        except (MotionTransferError, OSError) as error:
            gr.Warning(sentence(in_words(error)))
            return None

    def unknown(self, text: str) -> str:
        """Words to mark below a text box."""
        return unknown_note(self._studio, text)

    def begin(self) -> tuple[Any, ...]:
        """Start was pressed: the buttons, and nothing left of the last run."""
        return gr.Button(interactive=False), gr.Button(interactive=True), gr.Button(visible=False), *(None,) * 4

    def run(self, values: dict[Component, Any], request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The job: status, losses, preview, heads, key of the saved motion."""
        told = {name: values[part] for name, part in self._orders.items()}
        order = LearnOrder(**told, knobs={name: values[part] for name, part in self._knobs.items()})
        for view in learn(self._studio, self._library, self._desk, order, request.session_hash or ""):
            yield _updates(view)

    def end(self, key: str | None) -> tuple[Any, ...]:
        """The job is over: the buttons."""
        return gr.Button(interactive=True), gr.Button(interactive=False), gr.Button(visible=key is not None)

    def stop(self, request: gr.Request) -> None:
        """Stop was pressed. The status line stays the job's own: an answer here could arrive after its last word."""
        gr.Info(words.STOPPING if self._desk.stop(request.session_hash or "") else words.NOTHING_TO_STOP)

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

    def bind_job(self, parts: dict[str, Any], knobs: dict[str, Component]) -> gr.events.Dependency:
        """Start and Stop; returns the event that follows the end of a job."""
        self._orders = {name: parts[name] for name in LearnOrder.__dataclass_fields__ if name != "knobs"}
        self._knobs = knobs
        buttons, results = [parts[n] for n in BUTTONS], [parts[n] for n in RESULTS]
        parts["stop"].click(self.stop, None, None, queue=False, **QUIET)
        begun = parts["start"].click(self.begin, None, [*buttons, *results], queue=False, **QUIET)
        inputs = {*self._orders.values(), *knobs.values()}
        run = begun.then(self.run, inputs, [parts["status"], *results], concurrency_limit=None, **QUIET)
        return run.then(self.end, parts["saved"], buttons, queue=False, **QUIET)


def _updates(view: LearnView) -> tuple[Any, ...]:
    """A view as values of the status and the results; an error is also shown as a warning."""
    if view.error is not None:
        gr.Warning(sentence(view.error))
    preview, key = view.preview and str(view.preview), view.saved and view.saved.key
    parts = (view.losses, preview, view.heads, key)
    return view.status, *(gr.skip() if part is None else part for part in parts)


def build_learn_tab(studio: Studio, library: Library, desk: Desk, examples: list[Path]) -> LearnTab:
    """Builds the tab's content where it is called."""
    page = _LearnPage(studio, library, desk, examples)
    with gr.Row():
        with gr.Column(min_width=320):
            parts = _clip_parts(examples) | _caption_parts(studio)
            knobs = _knob_parts()
        with gr.Column(min_width=320):
            parts |= _result_parts()
    parts["saved"] = gr.State(None)
    page.bind_clip(parts)
    ended = page.bind_job(parts, knobs)
    return LearnTab(saved=parts["saved"], ended=ended, go_render=parts["go_render"])
