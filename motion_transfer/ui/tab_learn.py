"""The Learn tab: its parts, and which function each of them calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from motion_transfer.errors import BadClip, MotionTransferError
from motion_transfer.jobs.store import Job
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.types import TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.buttons import (
    QUIET,
    SECONDS_BESIDE_LEARNING,
    JobButtons,
    PlaceOf,
    bind_buttons,
    build_buttons,
    changed,
    usable,
)
from motion_transfer.ui.controls import OrderControls, nothing_new, started_once
from motion_transfer.ui.desk import Seen, in_words, sentence, status, told
from motion_transfer.ui.forecast import estimate_line
from motion_transfer.ui.knobs import controls, other_names
from motion_transfer.ui.learn import (
    LearnOrder,
    PartView,
    choose_clip,
    clip_facts,
    expect_learning,
    look_at_learning,
    order_learning,
    ordered_learning,
    show_part,
    span_from_click,
    unknown_note,
)
from motion_transfer.ui.plots import LOSS, STAGE, STAGE_COLORS, STEP, word_lists
from motion_transfer.ui.toasts import warn
from motion_transfer.video.strip import ALL, MOVEMENTS, Crop

COMMON_KNOBS = ("spatial_steps", "temporal_steps")
SHOWN = ("status", "losses", "preview", "heads", "saved", "go_render", "seen")
PART = ("start_s", "end_s", "zoom", "crop_x", "crop_y", "movement")
PART_SHOWN = ("span", "strip", "box", "cuts", "rule")
MOST_ZOOM = 8
FILE_TYPES = [".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif"]


@dataclass(frozen=True, kw_only=True)
class LearnTab:
    """What other parts of the page need: the learned motion's key, the button that leads on, and how to fill it in.

    The choices of `movement` are to be put into words once a page is open; then `look` is to look for the first time.
    """

    movement: gr.Radio
    saved: gr.Textbox
    shown: list[Any]  # key of the job that is shown, and its status line
    go_render: gr.Button
    fill: Callable[..., Any]
    filled: list[Component]
    settings: dict[str, Component]
    set_up: Callable[[TuneSpec | None], dict[Component, Any]]
    estimate: Callable[..., Any]
    estimated: tuple[set[Component], Component]
    look: Callable[..., Any]
    looked: tuple[list[Component], list[Component]]


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
    parts["strip"] = gr.Image(
        label=words.STRIP, interactive=False, format="png", buttons=[], height=110, elem_id="strip"
    )
    parts["cuts"] = gr.Markdown(elem_classes="marked", elem_id="cuts")
    parts["rule"] = gr.Markdown(elem_id="rule")
    with gr.Accordion(words.CROP, open=False):
        with gr.Row():
            parts["zoom"] = gr.Slider(1, MOST_ZOOM, value=1, step=0.05, label=words.ZOOM, min_width=120)
            parts["crop_x"] = gr.Slider(0, 1, value=0.5, step=0.01, label=words.CROP_X, min_width=120)
            parts["crop_y"] = gr.Slider(0, 1, value=0.5, step=0.01, label=words.CROP_Y, min_width=120)
        parts["box"] = gr.Image(label=words.CROP_SHOWN, interactive=False, format="png", buttons=[], elem_id="box")
    parts["movement"] = gr.Radio(choices=list(MOVEMENTS), value=ALL, label=words.MOVEMENT, elem_id="movement")
    parts["span"] = gr.Video(
        label=words.SPAN_SHOWN, interactive=False, autoplay=True, buttons=[], height=260, elem_id="span"
    )
    return parts


def _shown(part: PartView | None) -> tuple[str | None, str | None, str | None, str, str]:
    """The span, the strip, the crop, the word about cuts and the one about frames."""
    if part is None:
        return None, None, None, "", ""
    return str(part.span), str(part.strip), str(part.box), part.cuts, part.rule


def _caption_parts(studio: Studio) -> dict[str, Any]:
    parts: dict[str, Any] = {"caption": gr.Textbox(label=words.CAPTION, placeholder=words.CAPTION_HINT)}
    parts["unknown"] = gr.Markdown(elem_classes="marked")
    if vocabulary := studio.words():
        with gr.Accordion(words.VOCABULARY, open=False):
            for group in word_lists(vocabulary):
                gr.Markdown(group)
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
    parts["estimate"] = gr.Markdown(elem_id="estimate")
    parts["buttons"] = build_buttons("learn")
    parts["go_render"] = gr.Button(words.GO_RENDER, visible=False, elem_id="go-render")
    parts["losses"] = gr.LinePlot(
        x=STEP,
        y=LOSS,
        color=STAGE,
        color_map=STAGE_COLORS,
        label=words.LOSS,  # no height: the plot would leave its legend out of it
        buttons=[],
    )
    parts["preview"] = gr.Video(
        label=words.PREVIEW, interactive=False, autoplay=True, buttons=[], height=300, elem_id="preview"
    )
    parts["heads"] = gr.Image(
        label=words.HEADS, interactive=False, format="png", buttons=["fullscreen"], elem_id="heads"
    )
    return parts


def _reading(path: str | None) -> str:
    """What stands in place of a clip's facts while it is being read, which takes a while beside a running job."""
    return words.READING_CLIP if path else ""


_NO_PART = (0.0, None, 1.0, 0.5, 0.5, ALL)  # start, end, zoom, x, y, movement


class _LearnPage:
    """Binds the tab's parts to the functions behind them."""

    def __init__(self, studio: Studio, place_of: PlaceOf, uploads: Library, examples: list[Path]) -> None:
        self._studio, self._place_of, self._uploads, self._examples = studio, place_of, uploads, examples
        self._visitor: gr.BrowserState
        self._ordered: gr.State
        self._shown: list[Component]
        self._of_upload: list[Component]  # the box, the facts, and the caption that a clip brought along
        self.settings: dict[str, Component]
        self._controls: OrderControls[LearnOrder]
        self.looked: tuple[list[Component], list[Component]]

    def choose(self, path: str | None, caption: str, filled: str) -> tuple[Any, ...]:
        """A new clip: its path, facts, caption, the caption filled in, its part, whole at first, and looks at that.

        A caption that an earlier clip brought along leaves with it; one that was typed stays.
        """
        kept = "" if caption == filled else caption
        if path is None:
            return None, "", kept, "", *_NO_PART, *_shown(None)
        try:
            clip = choose_clip(self._studio, self._uploads, Path(path))
        except (MotionTransferError, OSError) as error:
            said = sentence(in_words(error))
            warn(said)
            return None, said, kept, "", *_NO_PART, *_shown(None)
        part = (clip.start_s, clip.end_s, *_NO_PART[2:])
        return path, clip.facts, clip.caption or kept, clip.caption, *part, *_shown(clip.part)

    def example(self, index: int, caption: str, filled: str) -> tuple[Any, ...]:
        """An example was clicked: the upload is cleared, the rest is as for any clip."""
        return None, *self.choose(str(self._examples[index]), caption, filled)

    def part(self, path: str | None, *of_it: Any) -> tuple[Any, ...]:
        """The span or the crop was moved, or another movement chosen; where that is wrong, the pictures stay."""
        found = self._part(path, *of_it)
        return _shown(found) if found or path is None else (gr.skip(),) * len(PART_SHOWN)

    def _part(
        self, path: str | None, start_s: float | None, end_s: float | None, zoom: float, x: float, y: float,
        movement: str,
    ) -> PartView | None:  # fmt: skip
        """Pictures of a part of a clip; none without a clip, or where there is no such part, which is told."""
        if path is None:
            return None
        crop = Crop(zoom=zoom, x=x, y=y)
        found, error = told(
            lambda: show_part(
                self._studio, self._uploads, Path(path), start_s=start_s, end_s=end_s, crop=crop, movement=movement
            )
        )
        if error is not None:
            warn(error)
        return found

    def clicked(
        self, path: str | None, start_s: float | None, end_s: float | None, click: gr.SelectData
    ) -> tuple[Any, Any]:
        """The strip was clicked: the span's start and end."""
        if path is None:
            return gr.skip(), gr.skip()
        span, error = told(lambda: span_from_click(Path(path), click.index[0], start_s, end_s))
        if error is not None:
            warn(error)
        return span or (gr.skip(), gr.skip())

    def unknown(self, text: str) -> str:
        """Words to mark below a text box."""
        return unknown_note(self._studio, text)

    def start(self, values: dict[Component, Any]) -> tuple[Any, Any, Any]:
        """Start was pressed: the key of the new job, the status line, and what was ordered."""
        order, uploaded = self._controls.order(values), values[self._of_upload[0]]

        def submit() -> Job:
            if uploaded and order.path and uploaded != order.path:  # the page still shows the clip before it
                raise BadClip(words.STILL_READING)
            place = self._place_of(values[self._visitor])
            return order_learning(place, order, expect_learning(place, self._studio, order.knobs, order.path))

        return started_once(order, values[self._ordered], submit)

    def estimate(self, values: dict[Component, Any]) -> str:
        """A setting was changed: what learning will take."""
        order, token = self._controls.order(values), values[self._visitor]
        found, _ = told(
            lambda: estimate_line(expect_learning(self._place_of(token), self._studio, order.knobs, order.path))
        )
        return found or ""

    def fill(self, token: str | None, key: str | None) -> dict[Component, Any]:
        """What a job was asked, back in the controls; nothing if it was not to learn."""
        order, values = self._controls.filled(lambda: ordered_learning(self._place_of(token), key or ""))
        if order is None:
            return values
        path, (start_s, end_s) = order.path, (order.start_s, order.end_s)
        shown = _shown(self._part(path, start_s, end_s, order.zoom, order.crop_x, order.crop_y, order.movement))
        file, facts, brought_caption = self._of_upload
        of_clip = {file: None, facts: told(lambda: clip_facts(Path(path or "")))[0] or "", brought_caption: ""}
        return {**values, **dict(zip(self._shown, shown, strict=True)), **of_clip}

    def set_up(self, spec: TuneSpec | None) -> dict[Component, Any]:
        """Settings of learning in their controls; nothing if there are none. What clip is learned stays open."""
        if spec is None:
            return {next(iter(self.settings.values())): gr.skip()}
        return {part: getattr(spec, name) for name, part in self.settings.items()}

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
        losses = view.losses if "curve" in view.renewed else gr.skip()
        return (
            view.status,
            losses,
            *files,
            view.saved,
            leads_on,
            view.seen,
            changed(key, view.job.key),
            *usable(view.job),
        )

    @property
    def filled(self) -> list[Component]:
        """What `fill` may change."""
        return [*self._controls.components, *self._shown, *self._of_upload]

    def bind_clip(self, parts: dict[str, Any]) -> None:
        """Choosing a clip, and moving its span and crop."""
        seen = [parts[name] for name in ("path", "facts", "caption", "filled", *PART, *PART_SHOWN)]
        captions = [parts["caption"], parts["filled"]]
        file, last = parts["file"], {"trigger_mode": "always_last", **QUIET}  # whoever chooses twice means the second
        reading = gr.on([file.upload, file.clear], _reading, file, parts["facts"], queue=False, **last)
        reading.then(self.choose, [file, *captions], seen, **last)
        if "examples" in parts:
            parts["examples"].click(self.example, [parts["examples"], *captions], [file, *seen], **last)
        chosen = [parts["path"], *(parts[name] for name in PART)]
        self._shown = [parts[name] for name in PART_SHOWN]
        self._of_upload = [parts[name] for name in ("file", "facts", "filled")]
        for name in PART:
            parts[name].input(self.part, chosen, self._shown, trigger_mode="always_last", **QUIET)
        clicked = parts["strip"].select(self.clicked, chosen[:3], chosen[1:3], **QUIET)
        clicked.then(self.part, chosen, self._shown, **QUIET)
        for text, note in (("caption", "unknown"), ("preview_prompt", "preview_unknown")):
            parts[text].change(self.unknown, parts[text], parts[note], trigger_mode="always_last", **QUIET)

    def bind_job(self, parts: dict[str, Any], knobs: dict[str, Component], visitor: gr.BrowserState) -> None:
        """Start, the buttons below the job, and looking at it again and again."""
        self._visitor = visitor
        self._controls, self.settings = OrderControls(LearnOrder, parts, knobs), knobs
        inputs = {*self._controls.components, visitor}
        self._ordered = parts["ordered"]
        began = [parts["key"], parts["status"], self._ordered]
        parts["start"].click(self.start, {*inputs, parts["file"], self._ordered}, began, **QUIET)
        for knob in knobs.values():
            knob.change(self.estimate, inputs, parts["estimate"], trigger_mode="always_last", **QUIET)
        for part in ("saved", "facts"):  # the facts are of another clip
            parts[part].change(self.estimate, inputs, parts["estimate"], trigger_mode="always_last", **QUIET)
        buttons: JobButtons = parts["buttons"]
        bind_buttons(buttons, self._place_of, visitor, parts["key"])
        shown = [*(parts[name] for name in SHOWN), parts["key"], *buttons.parts]
        self.looked = [visitor, parts["key"], parts["seen"]], shown
        gr.Timer(SECONDS_BESIDE_LEARNING).tick(self.look, *self.looked, queue=False, **QUIET)


def build_learn_tab(
    studio: Studio, place_of: PlaceOf, uploads: Library, examples: list[Path], visitor: gr.BrowserState
) -> LearnTab:
    """Builds the tab's content where it is called."""
    page = _LearnPage(studio, place_of, uploads, examples)
    with gr.Row():
        with gr.Column(min_width=320):
            if studio.spec.distilled is not None:
                gr.Markdown(words.DISTILLED_LEARNING, elem_classes="marked")
            parts = _clip_parts(examples) | _caption_parts(studio)
            knobs = _knob_parts()
        with gr.Column(min_width=320):
            parts |= _result_parts()
    parts |= {"key": gr.State(None), "seen": gr.State(None), "ordered": gr.State(None)}
    parts["saved"] = gr.Textbox(
        show_label=False, visible="hidden"
    )  # no state: that one doesn't tell of changes by the timer
    page.bind_clip(parts)
    page.bind_job(parts, knobs, visitor)
    estimated = {*knobs.values(), *page.filled, visitor}, parts["estimate"]
    return LearnTab(
        movement=parts["movement"],
        saved=parts["saved"], shown=[parts["key"], parts["status"]], go_render=parts["go_render"], fill=page.fill,
        filled=page.filled, settings=knobs, set_up=page.set_up, estimate=page.estimate, estimated=estimated,
        look=page.look, looked=page.looked,
    )  # fmt: skip
