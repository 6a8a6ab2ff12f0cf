"""The page: a heading, an honest word about the base, the tabs, and what leads from one to another."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from motion_transfer.jobs.orders import RENDER, TUNE
from motion_transfer.jobs.slices import Slices
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.types import RenderSpec, TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.api import build_api
from motion_transfer.ui.buttons import QUIET, PlaceOf
from motion_transfer.ui.desk import Place, told
from motion_transfer.ui.knobs import explained
from motion_transfer.ui.learn import example_clips, movements
from motion_transfer.ui.look import CSS, END_STRAY_FRAMES, NAME_CONTROLS, REST_VIDEOS, TAKE_DROPPED, page_theme
from motion_transfer.ui.opened import Opened, build_opened, fetched_link, opened_link
from motion_transfer.ui.presets import look_at_preset
from motion_transfer.ui.share import Received, receive
from motion_transfer.ui.tab_jobs import JobsTab, build_jobs_tab
from motion_transfer.ui.tab_learn import LearnTab, build_learn_tab
from motion_transfer.ui.tab_library import LibraryTab, build_library_tab
from motion_transfer.ui.tab_mix import TAKE_IF_FREE, MixTab, build_mix_tab
from motion_transfer.ui.tab_presets import PresetsTab, build_presets_tab
from motion_transfer.ui.tab_system import SystemTab, build_system_tab
from motion_transfer.ui.toasts import warn
from motion_transfer.ui.tour import Tour, build_tour
from motion_transfer.workspace import SHORTEST_TOKEN, UnknownVisitor, Workspace

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "clips"
MAX_UPLOAD, MAX_VISITOR_UPLOAD = "500mb", "100mb"
HANDLERS_AT_ONCE = 4  # of each kind, so that reading one visitor's clip keeps no other one waiting
VISITOR_KEY = "motion-transfer-visitor"
LEARN_TAB, MIX_TAB, JOBS_TAB, LIBRARY_TAB, PRESETS_TAB, SYSTEM_TAB = (
    "learn", "render", "jobs", "library", "presets", "system")  # fmt: skip
TOUR_STORAGE = {"storage_key": "motion-transfer-tour", "secret": VISITOR_KEY}
SECONDS_BETWEEN_SLICES = 2.0
CACHE_SECONDS = (3600, 24 * 3600)  # how often to look for old uploads, and how old they may get


def _heading(studio: Studio) -> str:
    spec = studio.spec
    plain = words.BASE_NOTE.format(name=spec.name, width=spec.width, height=spec.height, frames=spec.num_frames)
    note = words.BASE_NOTES.get(spec.name) or spec.note or plain
    few = words.DISTILLED.format(steps=spec.distilled.steps) if spec.distilled else ""
    return f"# {words.TITLE}\n{words.INTRO}\n\n{note} {few}".strip()


def _visitor_token(token: str | None) -> str:
    """A visitor keeps the token that the browser holds; a new one gets a new one."""
    return token or secrets.token_urlsafe(SHORTEST_TOKEN)


def _greeting(workspace: Workspace) -> Callable[[str | None], None]:
    """Notes that a visitor has opened the page."""

    def greet(token: str | None) -> None:
        told(lambda: workspace.greet(workspace.owner(token)))

    return greet


def slice_of(slices: Slices, place_of: PlaceOf) -> Callable[[str | None], None]:
    """What an open page asks for now and then: work on its visitor's jobs, on its visitor's quota."""

    def work(token: str | None) -> None:
        _, error = told(lambda: slices.work(place_of(token).owner))
        if error is not None and not isinstance(error, UnknownVisitor):
            warn(error)

    return work


def tab_of(workspace: Workspace, key: str | None) -> str:
    """The tab in which a job was ordered."""
    job, _ = told(lambda: workspace.jobs.job(key or ""))
    return {TUNE: LEARN_TAB, RENDER: MIX_TAB}[job.kind] if job else JOBS_TAB


@dataclass(frozen=True, kw_only=True)
class _Page:
    """All parts of the page, and what leads from one to another; `tab` are the tabs by their ids.

    `known` is when the page knows its visitor, `offered` the motion that the Mix tab took from the Learn tab last.
    """

    studio: Studio
    workspace: Workspace
    place_of: PlaceOf
    visitor: gr.BrowserState
    known: Dependency
    opened: Opened
    tour: Tour
    tour_hidden: gr.BrowserState
    tabs: gr.Tabs
    tab: dict[str, gr.Tab]
    learned: LearnTab
    renders: MixTab
    jobs: JobsTab
    library: LibraryTab
    presets: PresetsTab
    system: SystemTab
    offered: gr.State

    def show_mix_after(self, event: Dependency, *, if_found: bool = False) -> None:
        """Turns to the Mix tab, where what was filled in stays: the motion learned last counts as offered.

        Args:
            event: has filled it in.
            if_found: only where there was something to be filled in.
        """

        def turn(saved: str | None, found: bool) -> tuple[Any, Any]:
            return (gr.Tabs(selected=MIX_TAB), saved) if found or not if_found else (gr.skip(), gr.skip())

        event.then(turn, [self.learned.saved, self.renders.found], [self.tabs, self.offered], queue=False, **QUIET)

    def connect_tour(self) -> None:
        """The guide of a first run follows what is done."""
        tour, learned = self.tour, self.learned
        guided = [self.visitor, self.tour_hidden], tour.parts
        began = tour.begin.click(tour.learn, self.visitor, learned.shown, **QUIET)
        hidden = tour.hide.click(lambda: True, None, self.tour_hidden, queue=False, **QUIET)
        for event in (self.known, began, hidden):
            event.then(tour.show, *guided, **QUIET)
        done = [part.change for part in (learned.shown[0], learned.saved, self.renders.result)]
        gr.on(done, tour.show, *guided, **QUIET)

    def connect_motions(self) -> None:
        """What was learned, lies in the library, or is dropped on the page can be rendered with."""
        visitor, renders, learned, library = self.visitor, self.renders, self.learned, self.library
        offer = [visitor, learned.saved, self.offered, *renders.motions]
        begun = self.known.then(renders.begin, visitor, [*renders.motions, renders.newest], **QUIET)
        begun.then(None, [renders.newest, renders.motions[0]], renders.motions[0], js=TAKE_IF_FREE, **QUIET)
        self.tab[MIX_TAB].select(renders.refresh, offer, [*renders.motions, self.offered], **QUIET)
        self.tab[MIX_TAB].select(renders.estimate, *renders.estimated, **QUIET)
        dropped = gr.File(visible="hidden", elem_id="dropped")
        for event in (
            learned.go_render.click(renders.choose, [visitor, learned.saved], renders.places, **QUIET),
            library.use.click(renders.choose, [visitor, library.chosen], renders.places, **QUIET),
        ):
            self.show_mix_after(event)
        taken = dropped.upload(renders.fill_from_render, [visitor, dropped], renders.filled, **QUIET)
        self.show_mix_after(taken, if_found=True)
        taken.then(lambda: None, None, dropped, queue=False, **QUIET)  # for the next one

    def _setting_up(self, find: Callable[[Place, str | None], Received]) -> Callable[..., dict[Component, Any]]:
        """Sets the Learn tab up as a preset says; why it can't be used was told already."""

        def set_up(token: str | None, key: str | None) -> dict[Component, Any]:
            found, _ = told(lambda: find(self.place_of(token), key))
            return self.learned.set_up(found.tune if found else None)

        return set_up

    def connect_link(self) -> None:
        """The link that the page was opened with is shown, and used or left."""
        opened, visitor, studio = self.opened, self.visitor, self.studio
        link, settings = [visitor, opened.text], list(self.learned.settings.values())
        self.known.then(opened_link(studio, self.place_of), visitor, opened.parts, **QUIET)
        opened.fetch.click(fetched_link(studio, self.place_of), link, [opened.facts, opened.fetch], **QUIET)
        used = opened.use.click(self.renders.fill_from_link, link, self.renders.filled, **QUIET)
        self.show_mix_after(used, if_found=True)
        used.then(self._setting_up(lambda place, text: receive(place, studio, text or "")), link, settings, **QUIET)
        for button in (opened.use, opened.leave):
            button.click(lambda: gr.Column(visible=False), None, opened.panel, queue=False, **QUIET)

    def connect_presets(self) -> None:
        """A preset fills the Mix tab, and the Learn tab if it says how to learn."""
        presets, studio = self.presets, self.studio
        preset, settings = [self.visitor, presets.chosen], list(self.learned.settings.values())

        def use(token: str | None, key: str | None) -> dict[Component, Any]:
            return self.renders.fill_from_order(token, lambda: look_at_preset(self.place_of(token), studio, key).order)

        used = presets.use.click(use, preset, self.renders.filled, **QUIET)
        self.show_mix_after(used, if_found=True)
        used.then(self._setting_up(lambda place, key: look_at_preset(place, studio, key)), preset, settings, **QUIET)

    def connect_jobs(self) -> None:
        """A job's settings can be changed and ordered again."""
        jobs, chosen = self.jobs, [self.visitor, self.jobs.key]
        again = jobs.again.click(self.learned.fill, chosen, self.learned.filled, **QUIET)
        filled = again.then(self.renders.fill, chosen, self.renders.filled, **QUIET)

        def turn(key: str | None, saved: str | None) -> tuple[Any, str | None]:
            return gr.Tabs(selected=tab_of(self.workspace, key)), saved

        filled.then(turn, [jobs.key, self.learned.saved], [self.tabs, self.offered], queue=False, **QUIET)

    def connect_timers(self) -> None:
        """Mix and Jobs look how jobs stand while they are open; Learn always does, for others offer what it learned."""
        for name, timer in ((MIX_TAB, self.renders.timer), (JOBS_TAB, self.jobs.timer)):
            self.tab[name].select(lambda: gr.Timer(active=True), None, timer, queue=False, **QUIET)
            others = [tab.select for other, tab in self.tab.items() if other != name]
            gr.on(others, lambda: gr.Timer(active=False), None, timer, queue=False, **QUIET)

    def connect_lists(self) -> None:
        """What other tabs have made is there when a tab is opened."""
        visitor, presets, system, library = self.visitor, self.presets, self.system, self.library
        self.tab[JOBS_TAB].select(self.jobs.look, self.jobs.asked, self.jobs.shown, queue=False, **QUIET)
        self.tab[PRESETS_TAB].select(presets.refresh, [visitor, presets.chosen], presets.chosen, **QUIET)
        self.tab[SYSTEM_TAB].select(system.refresh, visitor, system.facts, **QUIET)
        self.tab[LIBRARY_TAB].select(library.refresh, [visitor, *library.asked], library.listed, **QUIET)


def _lay_out(app: gr.Blocks, studio: Studio, workspace: Workspace, place_of: PlaceOf) -> _Page:
    """Builds all parts where it is called."""
    uploads, examples = Library(workspace.root, uploads=workspace.uploads), example_clips(EXAMPLES)
    visitor = gr.BrowserState(None, storage_key=VISITOR_KEY, secret=VISITOR_KEY)
    heading = gr.Markdown()
    app.load(lambda: _heading(studio), None, heading, queue=False, **QUIET)
    opened, tour = build_opened(), build_tour(studio, place_of, examples)
    tab: dict[str, gr.Tab] = {}
    with gr.Tabs() as tabs:
        with gr.Tab(words.LEARN_TAB, id=LEARN_TAB) as tab[LEARN_TAB]:
            learned = build_learn_tab(studio, place_of, uploads, examples, visitor)
        with gr.Tab(words.MIX_TAB, id=MIX_TAB) as tab[MIX_TAB]:
            renders = build_mix_tab(studio, place_of, visitor)
        with gr.Tab(words.JOBS_TAB, id=JOBS_TAB) as tab[JOBS_TAB]:
            jobs = build_jobs_tab(place_of, visitor)
        with gr.Tab(words.LIBRARY_TAB, id=LIBRARY_TAB) as tab[LIBRARY_TAB]:
            library = build_library_tab(studio, place_of, visitor, isolated=workspace.isolated)
        with gr.Tab(words.PRESETS_TAB, id=PRESETS_TAB) as tab[PRESETS_TAB]:
            presets = build_presets_tab(studio, place_of, renders.controls, learned.settings, visitor)
        with gr.Tab(words.SYSTEM_TAB, id=SYSTEM_TAB) as tab[SYSTEM_TAB]:
            system = build_system_tab(studio, place_of, visitor)
    app.load(lambda: gr.Radio(choices=movements()), None, learned.movement, queue=False, **QUIET)
    return _Page(
        studio=studio, workspace=workspace, place_of=place_of, visitor=visitor, opened=opened, tour=tour, tabs=tabs,
        tab=tab, learned=learned, renders=renders, jobs=jobs, library=library, presets=presets, system=system,
        known=app.load(_visitor_token, visitor, visitor, **QUIET), offered=gr.State(None),
        tour_hidden=gr.BrowserState(False, **TOUR_STORAGE),
    )  # fmt: skip


def _leave_out_hidden_progress(app: gr.Blocks, nowhere: gr.State) -> None:
    """Puts the progress that nobody sees nowhere.

    Otherwise the browser brings it up to date in all components that any event may change, three times an event; and
    an open page has one every second.
    """
    for event in app.fns.values():
        if event.show_progress == "hidden":
            event.show_progress_on = [nowhere]


def build_app(studio: Studio, workspace: Workspace, slices: Slices | None = None) -> gr.Blocks:
    """Builds the page. It only writes orders and reads how jobs stand; a worker does them.

    Args:
        studio: with the base.
        workspace: of the jobs and results.
        slices: where there is no worker, what open pages ask for slices of work.
    """

    def place_of(token: str | None) -> Place:
        return Place(
            workspace=workspace, owner=workspace.owner(token), base=studio.spec.name, has_workers=slices is None
        )

    title, cache = words.en.TITLE, CACHE_SECONDS
    with words.building(), gr.Blocks(title=title, analytics_enabled=False, delete_cache=cache) as app:
        page = _lay_out(app, studio, workspace, place_of)
        build_api(studio, place_of)
        if slices is not None:
            tick = gr.Timer(SECONDS_BETWEEN_SLICES).tick
            tick(slice_of(slices, place_of), page.visitor, None, concurrency_limit=None, trigger_mode="once", **QUIET)
        for script in (NAME_CONTROLS, TAKE_DROPPED, REST_VIDEOS, END_STRAY_FRAMES):
            app.load(None, js=script)
        page.known.then(_greeting(workspace), page.visitor, None, **QUIET)
        page.known.then(page.learned.look, *page.learned.looked, queue=False, **QUIET)
        page.known.then(page.learned.estimate, *page.learned.estimated, **QUIET)
        page.connect_link()
        page.connect_tour()
        page.connect_motions()
        page.connect_presets()
        page.connect_jobs()
        page.connect_timers()
        page.connect_lists()
        _leave_out_hidden_progress(app, gr.State(None))
    return app.queue(default_concurrency_limit=HANDLERS_AT_ONCE)


def launch_options(workspace: Workspace) -> dict[str, Any]:
    """How the page is served: no history, no tracebacks, no files but the examples and copies for looking at."""
    return {
        "show_error": False,
        "run_history": False,
        "ssr_mode": False,
        "footer_links": [],
        "pwa": True,
        "max_file_size": MAX_VISITOR_UPLOAD if workspace.isolated else MAX_UPLOAD,
        "allowed_paths": [str(EXAMPLES)],
        "blocked_paths": [
            str(workspace.root / name) for name in ("jobs", "loras", "renders", "presets", "bin", "visitors")
        ],
        "i18n": gr.I18n(**words.catalog(explained(TuneSpec, RenderSpec))),
        "theme": page_theme(),
        "css": CSS,
    }
