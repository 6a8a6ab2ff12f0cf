"""The Render tab: its parts, and which function each of them calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.types import RenderSpec
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
from motion_transfer.ui.desk import Seen, problem, status, told
from motion_transfer.ui.knobs import control, controls, other_names
from motion_transfer.ui.learn import unknown_note
from motion_transfer.ui.render import (
    MOST_VIDEOS,
    RANDOM_SEED,
    RenderOrder,
    asked_motion,
    kept_motion,
    look_at_rendering,
    motion_choices,
    motion_facts,
    motion_file,
    order_rendering,
    ordered_rendering,
)
from motion_transfer.ui.share import Shared, page_address, receive, restore, share
from motion_transfer.ui.toasts import tell, warn

SHOWN = ("status", "reference", "result", "download", "scores", "latest", "seen")


@dataclass(frozen=True, kw_only=True)
class RenderTab:
    """What other parts of the page need: the list of motions, how to renew and choose from it, how to fill all in."""

    motion: gr.Dropdown
    refresh: Callable[..., Any]
    choose: Callable[..., Any]
    fill: Callable[..., Any]
    fill_from_link: Callable[..., Any]
    fill_from_order: Callable[..., Any]
    filled: list[Component]
    controls: OrderControls[RenderOrder]


def _order_parts() -> dict[str, Any]:
    bare = [(words.NO_MOTION, "")]
    parts: dict[str, Any] = {"motion": gr.Dropdown(choices=bare, value="", label=words.MOTION, elem_id="motion")}
    parts["facts"] = gr.HTML("")
    with gr.Row():
        parts["import"] = gr.UploadButton(words.IMPORT, file_types=[".safetensors"], size="sm", min_width=140)
        parts["export"] = gr.DownloadButton(words.EXPORT, size="sm", min_width=140, interactive=False)
    parts["prompt"] = gr.Textbox(label=words.PROMPT, placeholder=words.PROMPT_HINT)
    parts["unknown"] = gr.Markdown(elem_classes="marked")
    with gr.Row():
        parts["seed"] = gr.Number(
            label=words.SEED, info=words.SEED_INFO, value=0, minimum=-1, precision=0, min_width=140
        )
        parts["videos"] = gr.Number(
            label=words.VIDEOS,
            info=words.VIDEOS_INFO,
            value=1,
            minimum=1,
            maximum=MOST_VIDEOS,
            precision=0,
            min_width=140,
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
    parts["render"] = gr.Button(words.RENDER, variant="primary", elem_id="render")
    parts["buttons"] = build_buttons("render")
    with gr.Row():
        parts["reference"] = gr.Video(label=words.REFERENCE, buttons=[], elem_id="reference", **look)
        parts["result"] = gr.Video(label=words.RESULT, buttons=["download"], elem_id="result", **look)
    parts["download"] = gr.DownloadButton(words.DOWNLOAD, interactive=False)
    parts["latest"] = gr.Gallery(
        label=words.LATEST_RENDERS, columns=4, height=200, interactive=False, buttons=[], elem_id="latest"
    )
    gr.Markdown(f"### {words.SCORES}")
    parts["scores"] = gr.Markdown(elem_id="scores")
    with gr.Accordion(words.SHARE, open=False):
        parts["restore"] = gr.File(label=words.RESTORE, file_types=[".mp4"], height=100, elem_id="restore")
        gr.Markdown(words.SHARE_NOTE)
        parts["make_link"] = gr.Button(words.MAKE_LINK, elem_id="make-link")
        parts["link"] = gr.Textbox(label=words.LINK, interactive=False, buttons=["copy"], max_lines=3, elem_id="link")
        parts["code"] = gr.HTML("")
    return parts


class _RenderPage:
    """Binds the tab's parts to the functions behind them."""

    def __init__(self, studio: Studio, place_of: PlaceOf) -> None:
        self._studio, self._place_of = studio, place_of
        self._visitor: gr.BrowserState
        self._motion: gr.Dropdown
        self.controls: OrderControls[RenderOrder]

    def _library(self, token: str | None) -> Library:
        place = self._place_of(token)
        return place.workspace.library(place.owner)

    def refresh(self, token: str | None, key: str | None, learned: str | None, offered: str | None) -> Any:
        """The list of motions as it is now, and the motion that was offered.

        A motion that was just learned is chosen once; a choice that is gone leaves none.
        """

        def renew() -> dict[str, Any]:
            library = self._library(token)
            kept = kept_motion(library, learned) if learned != offered else asked_motion(library, key)
            return gr.update(choices=motion_choices(library), **({} if kept == key else {"value": kept}))

        return told(renew)[0] or gr.skip(), learned

    def choose(self, token: str | None, key: str | None) -> Any:
        """The list of motions with one of them chosen."""

        def renew() -> gr.Dropdown:
            library = self._library(token)
            return gr.Dropdown(choices=motion_choices(library), value=kept_motion(library, key))

        return told(renew)[0] or gr.skip()

    def facts(self, token: str | None, key: str | None) -> tuple[str, gr.DownloadButton]:
        """The line below the list, and the motion's file to take away."""
        line, error = told(lambda: motion_facts(self._library(token), key))
        file, _ = told(lambda: motion_file(self._library(token), key))
        away = gr.DownloadButton(value=str(file) if file else None, interactive=file is not None)
        return problem(error) if error is not None else line or "", away

    def take_in(self, token: str | None, path: str) -> Any:
        """A LoRA file was uploaded: the list of motions, with this one chosen."""
        motion, error = told(lambda: self._library(token).import_motion(Path(path), Path(path).name))
        if motion is None:
            warn(error or "")
            return gr.skip()
        tell(words.IMPORTED.format(name=motion.name))
        return self.choose(token, motion.key)

    def fill_from_render(self, token: str | None, path: str) -> dict[Component, Any]:
        """What a render's file was made with, in the controls."""
        found, error = told(lambda: restore(self._place_of(token), self._studio, Path(path)))
        if error is not None or found is None:
            warn(error or "")
            return {self._motion: gr.skip()}
        tell(found[1])
        return self.fill_from_order(token, lambda: found[0])

    def share(self, values: dict[Component, Any], request: gr.Request) -> tuple[str, str]:
        """Make a link was pressed: the link, and its code."""

        def do() -> Shared:
            order, place = self.controls.order(values), self._place_of(values[self._visitor])
            return share(place, self._studio, order, page_address(request.headers))

        shared, error = told(do)
        if shared is None:
            warn(error or "")
            return "", ""
        return shared.link, shared.code

    def fill_from_link(self, token: str | None, text: str | None) -> dict[Component, Any]:
        """What a link asks for, in the controls."""
        return self.fill_from_order(token, lambda: receive(self._place_of(token), self._studio, text or "").order)

    def fill_from_order(self, token: str | None, find: Callable[[], RenderOrder | None]) -> dict[Component, Any]:
        """What an order asks for, in the controls; nothing, and why, if it can't be found."""
        order, values = self.controls.filled(find)
        return values if order is None else {**values, self._motion: self._asked(token, order.motion)}

    def _asked(self, token: str | None, key: str) -> Any:
        """The list of motions with the one that an order names; with none, and why, if it is gone."""

        def find() -> gr.Dropdown:
            library = self._library(token)
            asked = asked_motion(library, key)
            if asked is None:
                warn(words.MOTION_GONE)
            return gr.Dropdown(choices=motion_choices(library), value=asked)

        return told(find)[0] or gr.skip()

    def unknown(self, text: str) -> str:
        """Words to mark below the prompt."""
        return unknown_note(self._studio, text)

    def start(self, values: dict[Component, Any]) -> tuple[Any, str]:
        """Render was pressed: the key of the new job, and the status line."""
        order = self.controls.order(values)
        return started(lambda: order_rendering(self._place_of(values[self._visitor]), order))

    def fill(self, token: str | None, key: str | None) -> dict[Component, Any]:
        """What a job was asked, back in the controls; nothing if it was not to render."""
        return self.fill_from_order(token, lambda: ordered_rendering(self._place_of(token), key or ""))

    @property
    def filled(self) -> list[Component]:
        """What `fill` may change."""
        return self.controls.components

    def look(self, token: str | None, key: str | None, seen: Seen | None) -> tuple[Any, ...]:
        """The timer ticked: what has changed of the job."""
        view, error = told(lambda: look_at_rendering(self._place_of(token), key, seen))
        if view is None:
            return nothing_new(error, len(SHOWN) + 3)
        results: tuple[Any, ...] = (gr.skip(),) * 4
        if "result" in view.renewed:
            file = gr.DownloadButton(value=view.file and str(view.file), interactive=view.file is not None)
            videos = (view.reference and str(view.reference), view.result and str(view.result))
            results = (*videos, file, view.scores)
        latest = list(view.latest) if "latest" in view.renewed else gr.skip()
        return view.status, *results, latest, view.seen, view.job.key, *usable(view.job)

    def bind(self, parts: dict[str, Any], knobs: dict[str, Component], visitor: gr.BrowserState) -> None:
        """Connects every part."""
        self._visitor, self._motion = visitor, parts["motion"]
        self.controls = OrderControls(RenderOrder, parts, knobs)
        parts["motion"].change(self.facts, [visitor, parts["motion"]], [parts["facts"], parts["export"]], **QUIET)
        parts["import"].upload(self.take_in, [visitor, parts["import"]], parts["motion"], **QUIET)
        parts["prompt"].change(self.unknown, parts["prompt"], parts["unknown"], trigger_mode="always_last", **QUIET)
        parts["random"].click(lambda: RANDOM_SEED, None, parts["seed"], queue=False, **QUIET)
        inputs = {*self.controls.components, visitor}
        parts["render"].click(self.start, inputs, [parts["key"], parts["status"]], **QUIET)
        parts["restore"].upload(self.fill_from_render, [visitor, parts["restore"]], self.filled, **QUIET)
        parts["make_link"].click(self.share, inputs, [parts["link"], parts["code"]], **QUIET)
        buttons: JobButtons = parts["buttons"]
        bind_buttons(buttons, self._place_of, visitor, parts["key"])
        shown = [*(parts[name] for name in SHOWN), parts["key"], *buttons.parts]
        timer = gr.Timer(SECONDS_BETWEEN_LOOKS)
        timer.tick(self.look, [visitor, parts["key"], parts["seen"]], shown, queue=False, **QUIET)


def build_render_tab(studio: Studio, place_of: PlaceOf, visitor: gr.BrowserState) -> RenderTab:
    """Builds the tab's content where it is called."""
    page = _RenderPage(studio, place_of)
    with gr.Row():
        with gr.Column(min_width=320):
            parts = _order_parts()
            knobs = _knob_parts()
        with gr.Column(min_width=320):
            parts |= _result_parts()
    parts |= {"key": gr.State(None), "seen": gr.State(None)}
    page.bind(parts, knobs, visitor)
    return RenderTab(motion=parts["motion"], refresh=page.refresh, choose=page.choose, fill=page.fill,
                     fill_from_link=page.fill_from_link, fill_from_order=page.fill_from_order,
                     filled=page.filled, controls=page.controls)  # fmt: skip
