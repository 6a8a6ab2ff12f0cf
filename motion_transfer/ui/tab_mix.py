"""The Mix tab: its parts, and which function each of them calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from motion_transfer.jobs.store import Job
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
    bind_looks,
    build_buttons,
    changed,
    usable,
)
from motion_transfer.ui.controls import OrderControls, nothing_new, started_once
from motion_transfer.ui.desk import Seen, problem, status, told
from motion_transfer.ui.forecast import estimate_line
from motion_transfer.ui.knobs import control, controls, other_names, setting_label
from motion_transfer.ui.learn import unknown_note
from motion_transfer.ui.render import (
    MOST_MOTIONS,
    MOST_VIDEOS,
    RANDOM_SEED,
    MixOrder,
    asked_motion,
    expect_rendering,
    kept_motion,
    look_at_meter,
    look_at_rendering,
    misfit_line,
    motion_card,
    motion_choices,
    order_rendering,
    ordered_rendering,
    ordered_together,
    strength_readout,
)
from motion_transfer.ui.share import Shared, page_address, receive, restore, share
from motion_transfer.ui.shelf import take_in
from motion_transfer.ui.toasts import tell, warn

# Clips differ in length: all begin again together when the longest has ended.
PLAY_ALL = """() => {
  const videos = [...document.querySelectorAll("#reference video, #result video, #latest video")];
  const restart = () => videos.forEach((video) => {
    video.loop = false;
    video.currentTime = 0;
    video.play();
  });
  videos.forEach((video) => { video.onended = null; });
  const longest = videos.sort((a, b) => (b.duration || 0) - (a.duration || 0))[0];
  if (longest) {
    longest.onended = restart;
    restart();
  }
}"""
# None stands in the first place until a page has been told the newest motion; what was chosen meanwhile stays chosen.
TAKE_IF_FREE = "(newest, chosen) => chosen ?? newest"
APART_RULE = "orthogonal"  # of `RenderSpec.mix`: no two motions put out a common direction
SHOWN = ("status", "reference", "result", "download", "scores", "latest", "seen")


@dataclass(frozen=True, kw_only=True)
class MixTab:
    """What other parts of the page need: the lists of motions, how to renew and choose from them, how to fill all in.

    `places` are what `choose` changes. `begin` changes the lists of motions and `newest`, and `TAKE_IF_FREE` puts that
    into the first motion. The timer is to be at work while the tab is open.
    """

    motions: list[gr.Dropdown]
    result: gr.Video
    places: list[Component]
    newest: gr.Textbox
    begin: Callable[..., Any]
    refresh: Callable[..., Any]
    choose: Callable[..., Any]
    fill: Callable[..., Any]
    fill_from_link: Callable[..., Any]
    fill_from_render: Callable[..., Any]
    fill_from_order: Callable[..., Any]
    filled: list[Component]
    found: gr.State  # whether what was to be filled in last was there
    controls: OrderControls[MixOrder]
    estimate: Callable[..., str]
    estimated: tuple[set[Component], Component]
    timer: gr.Timer


def _motion_parts() -> dict[str, Any]:
    """Places for motions, each with its strength and a card; the first one shows, the others when asked for."""
    parts: dict[str, Any] = {"motions": [], "strengths": [], "readouts": [], "cards": [], "places": []}
    for number in range(MOST_MOTIONS):
        mark, label = (f"-{number + 1}", f"{words.MOTION} {number + 1}") if number else ("", words.MOTION)
        named = {"label": f"{setting_label('strength')} {number + 1}"} if number else {}
        with gr.Column(visible=not number, elem_id=f"place{mark}") as place:
            with gr.Row():
                free = None if not number else ""
                motion = gr.Dropdown([("", "")], value=free, label=label, min_width=200, elem_id=f"motion{mark}")
                strength = control(RenderSpec, "strength", min_width=200, elem_id=f"strength{mark}", **named)
            readout = gr.HTML("", elem_id=f"readout{mark}")
            card = gr.HTML("")
        for name, part in (("motions", motion), ("strengths", strength), ("readouts", readout), ("cards", card),
                           ("places", place)):  # fmt: skip
            parts[name].append(part)
    with gr.Row():
        parts["add"] = gr.Button(words.ADD_MOTION, size="sm", min_width=140, elem_id="add-motion")
        parts["import"] = gr.UploadButton(words.IMPORT, file_types=[".safetensors"], size="sm", min_width=140)
    parts["meter"] = gr.HTML("", elem_id="meter")
    parts["resolve"] = gr.Button(words.RESOLVE, size="sm", visible=False, elem_id="resolve")
    return parts


def _order_parts() -> dict[str, Any]:
    parts = _motion_parts()
    parts["prompt"] = gr.Textbox(label=words.PROMPT, placeholder=words.PROMPT_HINT, max_lines=MOST_VIDEOS)
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


def _knob_parts(studio: Studio) -> dict[str, Component]:
    with gr.Accordion(words.ADVANCED, open=False):
        return controls(RenderSpec, other_names(RenderSpec, "prompt", "seed", "strength"), studio.suited())


def _result_parts() -> dict[str, Any]:
    look: dict[str, Any] = {"interactive": False, "autoplay": True, "loop": True, "min_width": 150, "height": 300}
    parts: dict[str, Any] = {"status": gr.HTML(status(words.IDLE_RENDER), elem_id="render-status")}
    parts["render"] = gr.Button(words.RENDER, variant="primary", elem_id="render")
    parts["estimate"] = gr.Markdown(elem_id="render-estimate")
    parts["buttons"] = build_buttons("render")
    with gr.Row():
        parts["reference"] = gr.Video(label=words.REFERENCE, buttons=[], elem_id="reference", **look)
        parts["result"] = gr.Video(label=words.RESULT, buttons=[], elem_id="result", **look)
    parts["download"] = gr.DownloadButton(words.DOWNLOAD, interactive=False)
    parts["together"] = gr.Button(words.PLAY_TOGETHER, size="sm", elem_id="play-together")
    gr.Markdown(f"### {words.LATEST_RENDERS}")
    parts["latest"] = gr.HTML("", elem_id="latest")
    gr.Markdown(f"### {words.SCORES}")
    parts["scores"] = gr.Markdown(elem_id="scores")
    with gr.Accordion(words.SHARE, open=False):
        parts["restore"] = gr.File(label=words.RESTORE, file_types=[".mp4"], height=100, elem_id="restore")
        gr.Markdown(words.SHARE_NOTE)
        parts["make_link"] = gr.Button(words.MAKE_LINK, elem_id="make-link")
        parts["link"] = gr.Textbox(label=words.LINK, interactive=False, buttons=["copy"], max_lines=3, elem_id="link")
        parts["code"] = gr.HTML("")
    return parts


def _one_more(*keys: str | None) -> list[gr.Column]:
    """One more place for a motion below the last one that is taken."""
    last = max((number for number, key in enumerate(keys) if key != ""), default=0)
    return [gr.Column(visible=number <= last + 1) for number in range(len(keys))]


class _MixPage:
    """Binds the tab's parts to the functions behind them."""

    def __init__(self, studio: Studio, place_of: PlaceOf) -> None:
        self._studio, self._place_of = studio, place_of
        self._visitor: gr.BrowserState
        self._ordered: gr.State
        self._motions: list[gr.Dropdown]
        self._places: list[Any]
        self.estimated: tuple[set[Component], Component]
        self.controls: OrderControls[MixOrder]

    def _library(self, token: str | None) -> Library:
        place = self._place_of(token)
        return place.workspace.library(place.owner)

    def _choices(self, library: Library, number: int) -> list[tuple[str, str]]:
        """What can be chosen in a place."""
        choices = motion_choices(library, self._studio.spec.name)
        return [*choices[:-1], (words.NO_OTHER_MOTION, "")] if number else choices

    def refresh(self, token: str | None, learned: str | None, offered: str | None, *keys: str | None) -> list[Any]:
        """The lists of motions as they are now, and the motion that was offered.

        A motion that was just learned is chosen once, in the first place; a choice that is gone leaves none. The
        browser says of a job that has learned nothing yet that it learned "".
        """

        def renew() -> list[Any]:
            library = self._library(token)
            kept = [asked_motion(library, self._studio.spec.name, key) for key in keys]
            if learned and learned != offered:
                kept[0] = kept_motion(library, self._studio.spec.name, learned)
            choices = (self._choices(library, number) for number in range(MOST_MOTIONS))
            changed = ({} if now == before else {"value": now} for now, before in zip(kept, keys, strict=True))
            return [gr.update(choices=these, **value) for these, value in zip(choices, changed, strict=True)]

        return [*(told(renew)[0] or [gr.skip()] * MOST_MOTIONS), learned or offered]

    def begin(self, token: str | None) -> list[Any]:
        """The lists of motions for a page that was just opened, and the newest motion."""

        def find() -> list[Any]:
            library = self._library(token)
            lists = [gr.update(choices=self._choices(library, number)) for number in range(MOST_MOTIONS)]
            return [*lists, kept_motion(library, self._studio.spec.name, None)]

        return told(find)[0] or [gr.skip()] * (MOST_MOTIONS + 1)

    def choose(self, token: str | None, key: str | None) -> list[Any]:
        """The lists of motions with one of them chosen in the first place, or the newest, and all others free."""

        def renew() -> list[Any]:
            library = self._library(token)
            return self._filled(library, [kept_motion(library, self._studio.spec.name, key)])

        return told(renew)[0] or [gr.skip()] * (2 * MOST_MOTIONS)

    def _filled(self, library: Library, keys: Sequence[str | None]) -> list[Any]:
        """Lists and places for these motions in a row; a place shows if it is the first, or if it is taken."""
        taken = [*keys, *[""] * (MOST_MOTIONS - len(keys))]
        lists = [gr.Dropdown(choices=self._choices(library, number), value=key) for number, key in enumerate(taken)]
        return [*lists, *(gr.Column(visible=not number or key != "") for number, key in enumerate(taken))]

    def card(self, token: str | None, key: str | None) -> str:
        """What is known of a motion."""
        card, error = told(lambda: motion_card(self._library(token), key))
        return problem(error) if error is not None else card or ""

    def readout(self, token: str | None, key: str | None, strength: float | None) -> str:
        """How far a motion goes at the strength that is set."""

        def read() -> str:
            library = self._library(token)
            return strength_readout(library.recipe(library.motion(key)), strength) if key else ""

        return told(read)[0] or ""

    def meter(self, token: str | None, rule: str | None, *keys: str | None) -> tuple[str, Any]:
        """How the chosen motions meet, and whether the button that turns them apart is of use."""
        view, error = told(lambda: look_at_meter(self._place_of(token), self._studio, keys))
        if view is None:
            return problem(error) if error is not None else "", gr.Button(visible=False)
        return view.shown, gr.Button(visible=view.crowded and rule != APART_RULE)

    def take_in(self, token: str | None, path: str, *keys: str | None) -> list[Any]:
        """A LoRA file was uploaded: it is chosen in the first free place, else in the first of all."""
        done, error = told(lambda: take_in(self._place_of(token), Path(path)))
        if done is None:
            warn(error or "")
            return [gr.skip()] * (2 * MOST_MOTIONS)
        motion, said = done
        tell(f"{words.IMPORTED.format(name=motion.name)} {said}".strip())
        free = next((number for number, key in enumerate(keys) if not key), 0)
        chosen = [motion.key if number == free else key for number, key in enumerate(keys)]
        while chosen and chosen[-1] == "":
            chosen.pop()
        return told(lambda: self._filled(self._library(token), chosen))[0] or [gr.skip()] * (2 * MOST_MOTIONS)

    def fill_from_render(self, token: str | None, path: str) -> dict[Component, Any]:
        """What a render's file was made with, in the controls."""
        found, error = told(lambda: restore(self._place_of(token), self._studio, Path(path)))
        if error is not None or found is None:
            warn(error or "")
            return {self.found: False}
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

    def fill_from_order(self, token: str | None, find: Callable[[], MixOrder | None]) -> dict[Component, Any]:
        """What an order asks for, in the controls; nothing, and why, if it can't be found."""
        order, values = self.controls.filled(find)
        if order is None:
            return {self.found: False}
        lists = told(lambda: self._asked(self._library(token), order.motions))[0] or []
        return {**values, **dict(zip([*self._motions, *self._places], lists, strict=False)), self.found: True}

    def _asked(self, library: Library, keys: Sequence[str | None]) -> list[Any]:
        """Lists and places for the motions of an order; what is gone leaves none in its place, and is said."""
        found = [asked_motion(library, self._studio.spec.name, key) for key in keys]
        if any(now is None and key is not None for now, key in zip(found, keys, strict=True)):
            warn(words.MOTION_GONE)
        return self._filled(library, found)

    def unknown(self, text: str) -> str:
        """Words to mark below the prompt."""
        return unknown_note(self._studio, text)

    def start(self, values: dict[Component, Any]) -> tuple[Any, Any, Any]:
        """Render was pressed: the key of the new job, the status line, and what was ordered."""
        order = self.controls.order(values)

        def submit() -> Job:
            place = self._place_of(values[self._visitor])
            return order_rendering(place, order, expect_rendering(place, self._studio, order, one=True))

        return started_once(order, values[self._ordered], submit)

    def estimate(self, values: dict[Component, Any]) -> str:
        """A setting was changed: what rendering will take, and what of the settings doesn't suit the base."""
        order, token = self.controls.order(values), values[self._visitor]
        line = told(lambda: estimate_line(expect_rendering(self._place_of(token), self._studio, order)))[0] or ""
        return "\n\n".join(part for part in (line, misfit_line(self._studio, order)) if part)

    def fill(self, token: str | None, key: str | None) -> dict[Component, Any]:
        """What a job was asked, back in the controls; nothing if it was not to render."""
        return self.fill_from_order(token, lambda: ordered_rendering(self._place_of(token), key or ""))

    @property
    def filled(self) -> list[Component]:
        """What `fill` may change."""
        return [*self.controls.components, *self._places, self.found]

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
        latest = view.latest if "latest" in view.renewed else gr.skip()
        return view.status, *results, latest, view.seen, changed(key, view.job.key), *usable(view.job)

    def bind(self, parts: dict[str, Any], knobs: dict[str, Component], visitor: gr.BrowserState) -> None:
        """Connects every part."""
        self._visitor, self._motions, self._places = visitor, parts["motions"], parts["places"]
        self.controls, self.found = OrderControls(MixOrder, parts, knobs), parts["found"]
        lists = [*self._motions, *self._places]
        for motion, card in zip(self._motions, parts["cards"], strict=True):
            motion.change(self.card, [visitor, motion], card, **QUIET)
        for motion, strength, readout in zip(self._motions, parts["strengths"], parts["readouts"], strict=True):
            gr.on([motion.change, strength.change], self.readout, [visitor, motion, strength], readout,
                  trigger_mode="always_last", **QUIET)  # fmt: skip
        meets = [part.change for part in (*self._motions, knobs["mix"])]
        gr.on(meets, self.meter, [visitor, knobs["mix"], *self._motions], [parts["meter"], parts["resolve"]],
              trigger_mode="always_last", **QUIET)  # fmt: skip
        parts["resolve"].click(lambda: APART_RULE, None, knobs["mix"], queue=False, **QUIET)
        parts["add"].click(_one_more, self._motions, self._places, queue=False, **QUIET)
        parts["import"].upload(self.take_in, [visitor, parts["import"], *self._motions], lists, **QUIET)
        parts["together"].click(None, js=PLAY_ALL)
        parts["prompt"].change(self.unknown, parts["prompt"], parts["unknown"], trigger_mode="always_last", **QUIET)
        parts["random"].click(lambda: RANDOM_SEED, None, parts["seed"], queue=False, **QUIET)
        inputs = {*self.controls.components, visitor}
        self._ordered = parts["ordered"]
        began = [parts["key"], parts["status"], self._ordered]
        parts["render"].click(self.start, {*inputs, self._ordered}, began, **QUIET)
        moved = [part.change for part in (*knobs.values(), parts["videos"])]
        self.estimated = inputs, parts["estimate"]
        gr.on(
            [*moved, parts["prompt"].blur, parts["result"].change],
            self.estimate,
            *self.estimated,
            trigger_mode="always_last",
            **QUIET,
        )
        parts["restore"].upload(self.fill_from_render, [visitor, parts["restore"]], self.filled, **QUIET)
        parts["make_link"].click(self.share, inputs, [parts["link"], parts["code"]], **QUIET)
        buttons: JobButtons = parts["buttons"]
        bind_buttons(buttons, self._place_of, visitor, parts["key"], ordered_together)
        shown = [*(parts[name] for name in SHOWN), parts["key"], *buttons.parts]
        self.timer = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)
        bind_looks(self.timer, self.look, ([visitor, parts["key"], parts["seen"]], shown), self._place_of)


def build_mix_tab(studio: Studio, place_of: PlaceOf, visitor: gr.BrowserState) -> MixTab:
    """Builds the tab's content where it is called."""
    page = _MixPage(studio, place_of)
    with gr.Row():
        with gr.Column(min_width=320):
            parts = _order_parts()
            knobs = _knob_parts(studio)
        with gr.Column(min_width=320):
            parts |= _result_parts()
    parts |= {"key": gr.State(None), "seen": gr.State(None), "found": gr.State(False)}
    parts["ordered"], newest = gr.State(None), gr.Textbox("", visible="hidden")
    page.bind(parts, knobs, visitor)
    return MixTab(
        motions=parts["motions"], result=parts["result"], places=[*parts["motions"], *parts["places"]],
        newest=newest, begin=page.begin, refresh=page.refresh, choose=page.choose, fill=page.fill,
        fill_from_link=page.fill_from_link, fill_from_render=page.fill_from_render,
        fill_from_order=page.fill_from_order, filled=page.filled, found=page.found, controls=page.controls,
        estimate=page.estimate, estimated=page.estimated, timer=page.timer,
    )  # fmt: skip
