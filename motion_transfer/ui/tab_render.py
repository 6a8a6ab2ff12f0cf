"""The Render tab: its parts, and which function each of them calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from motion_transfer.errors import MotionTransferError
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.types import RenderSpec
from motion_transfer.ui import words
from motion_transfer.ui.desk import Desk, problem, sentence, status
from motion_transfer.ui.knobs import control, controls, other_names
from motion_transfer.ui.learn import unknown_note
from motion_transfer.ui.render import (
    RANDOM_SEED,
    RenderOrder,
    RenderView,
    kept_motion,
    motion_choices,
    motion_facts,
    render,
)

BUTTONS = ("render", "stop")
RESULTS = ("reference", "result", "download", "scores")
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True, kw_only=True)
class RenderTab:
    """What other parts of the page need: the list of motions, and the function that renews it."""

    motion: gr.Dropdown
    refresh: Any


def _order_parts(library: Library) -> dict[str, Any]:
    choices = motion_choices(library)
    parts: dict[str, Any] = {
        "motion": gr.Dropdown(choices=choices, value=choices[0][1], label=words.MOTION, elem_id="motion")
    }
    parts["facts"] = gr.HTML(motion_facts(library, choices[0][1]))
    parts["prompt"] = gr.Textbox(label=words.PROMPT, placeholder=words.PROMPT_HINT)
    parts["unknown"] = gr.Markdown(elem_classes="marked")
    with gr.Row():
        parts["seed"] = gr.Number(
            label=words.SEED, info=words.SEED_INFO, value=0, minimum=-1, precision=0, min_width=140
        )
        parts["random"] = gr.Button(words.RANDOM, min_width=130, scale=0, elem_id="random")
    return parts


def _knob_parts() -> dict[str, Component]:
    strength = control(RenderSpec, "strength")
    with gr.Accordion(words.ADVANCED, open=False):
        others = controls(RenderSpec, other_names(RenderSpec, "prompt", "seed", "strength"))
    return {"strength": strength, **others}


def _result_parts() -> dict[str, Any]:
    look: dict[str, Any] = {"interactive": False, "autoplay": True, "loop": True, "min_width": 150, "height": 300}
    parts: dict[str, Any] = {"status": gr.HTML(status(words.IDLE_RENDER), elem_id="render-status")}
    with gr.Row():
        parts["render"] = gr.Button(words.RENDER, variant="primary", min_width=120, elem_id="render")
        parts["stop"] = gr.Button(words.STOP, variant="stop", interactive=False, min_width=120)
    with gr.Row():
        parts["reference"] = gr.Video(label=words.REFERENCE, buttons=[], elem_id="reference", **look)
        parts["result"] = gr.Video(label=words.RESULT, buttons=["download"], elem_id="result", **look)
    parts["download"] = gr.DownloadButton(words.DOWNLOAD, interactive=False)
    gr.Markdown(f"### {words.SCORES}")
    parts["scores"] = gr.Markdown(elem_id="scores")
    return parts


class _RenderPage:
    """Binds the tab's parts to the functions behind them."""

    def __init__(self, studio: Studio, library: Library, desk: Desk) -> None:
        self._studio, self._library, self._desk = studio, library, desk
        self._orders: dict[str, Component] = {}
        self._knobs: dict[str, Component] = {}

    def refresh(self, key: str | None) -> gr.Dropdown:
        """The list of motions as it is now; the chosen one stays chosen."""
        return gr.Dropdown(choices=motion_choices(self._library), value=kept_motion(self._library, key))

    def facts(self, key: str | None) -> str:
        """The line below the list."""
        try:
            return motion_facts(self._library, key)
        except MotionTransferError as error:
            return problem(error)

    def unknown(self, text: str) -> str:
        """Words to mark below the prompt."""
        return unknown_note(self._studio, text)

    def begin(self) -> tuple[Any, ...]:
        """Render was pressed: the buttons, and nothing left of the last run."""
        cleared = (None, None, gr.DownloadButton(value=None, interactive=False), "")
        return gr.Button(interactive=False), gr.Button(interactive=True), *cleared

    def run(self, values: dict[Component, Any], request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The job: status, reference, result, file, scores."""
        told = {name: values[part] for name, part in self._orders.items()}
        order = RenderOrder(**told, knobs={name: values[part] for name, part in self._knobs.items()})
        for view in render(self._studio, self._library, self._desk, order, request.session_hash or ""):
            yield _updates(view)

    def end(self) -> tuple[Any, ...]:
        """The job is over: the buttons."""
        return gr.Button(interactive=True), gr.Button(interactive=False)

    def stop(self, request: gr.Request) -> None:
        """Stop was pressed. The status line stays the job's own: an answer here could arrive after its last word."""
        gr.Info(words.STOPPING if self._desk.stop(request.session_hash or "") else words.NOTHING_TO_STOP)

    def bind(self, parts: dict[str, Any], knobs: dict[str, Component]) -> None:
        """Connects every part."""
        self._orders = {name: parts[name] for name in RenderOrder.__dataclass_fields__ if name != "knobs"}
        self._knobs = knobs
        buttons, results = [parts[n] for n in BUTTONS], [parts[n] for n in RESULTS]
        parts["motion"].change(self.facts, parts["motion"], parts["facts"], **QUIET)
        parts["prompt"].change(self.unknown, parts["prompt"], parts["unknown"], trigger_mode="always_last", **QUIET)
        parts["random"].click(lambda: RANDOM_SEED, None, parts["seed"], queue=False, **QUIET)
        parts["stop"].click(self.stop, None, None, queue=False, **QUIET)
        begun = parts["render"].click(self.begin, None, [*buttons, *results], queue=False, **QUIET)
        inputs = {*self._orders.values(), *knobs.values()}
        run = begun.then(self.run, inputs, [parts["status"], *results], concurrency_limit=None, **QUIET)
        run.then(self.end, None, buttons, queue=False, **QUIET)


def _updates(view: RenderView) -> tuple[Any, ...]:
    """A view as values of the status and the results; an error is also shown as a warning."""
    if view.error is not None:
        gr.Warning(sentence(view.error))
    file = gr.DownloadButton(value=str(view.file), interactive=True) if view.file else None
    parts = (view.reference and str(view.reference), view.result and str(view.result), file, view.scores)
    return view.status, *(gr.skip() if part is None else part for part in parts)


def build_render_tab(studio: Studio, library: Library, desk: Desk) -> RenderTab:
    """Builds the tab's content where it is called."""
    page = _RenderPage(studio, library, desk)
    with gr.Row():
        with gr.Column(min_width=320):
            parts = _order_parts(library)
            knobs = _knob_parts()
        with gr.Column(min_width=320):
            parts |= _result_parts()
    page.bind(parts, knobs)
    return RenderTab(motion=parts["motion"], refresh=page.refresh)
