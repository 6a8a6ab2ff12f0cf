"""The page: a heading, an honest word about the base, and the tabs."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from motion_transfer.jobs.orders import RENDER, TUNE
from motion_transfer.jobs.slices import Slices
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.presets.links import PARAMETER
from motion_transfer.types import RenderSpec, TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.api import build_api
from motion_transfer.ui.buttons import QUIET, PlaceOf
from motion_transfer.ui.desk import Place, problem, told
from motion_transfer.ui.knobs import explained
from motion_transfer.ui.learn import example_clips, movements
from motion_transfer.ui.presets import look_at_preset
from motion_transfer.ui.share import Received, fetch_missing, receive
from motion_transfer.ui.tab_jobs import build_jobs_tab
from motion_transfer.ui.tab_learn import build_learn_tab
from motion_transfer.ui.tab_library import build_library_tab
from motion_transfer.ui.tab_presets import build_presets_tab
from motion_transfer.ui.tab_render import build_render_tab
from motion_transfer.ui.tab_system import build_system_tab
from motion_transfer.ui.toasts import tell, warn
from motion_transfer.ui.tour import build_tour
from motion_transfer.workspace import SHORTEST_TOKEN, UnknownVisitor, Workspace

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "clips"
MAX_UPLOAD = "500mb"
VISITOR_KEY = "motion-transfer-visitor"
LEARN_TAB, RENDER_TAB, JOBS_TAB = "learn", "render", "jobs"
# What gradio leaves without a name, for screen readers: a gallery's buttons, which hold videos alone, get those of the
# files; the link, which can be copied, and pictures that can be clicked get their block's.
NAME_CONTROLS = r"""() => {
    const name = () => {
        document.querySelectorAll(".gallery-item:not([aria-label]) video").forEach((video) =>
            video.closest("button").setAttribute("aria-label",
                video.src.split("/").pop().replace(/\.\w+$/, "").replaceAll("-", " ")));
        document.querySelectorAll("#link textarea:not([aria-label]), button:has(> .image-frame):not([aria-label])")
            .forEach((part) => part.setAttribute("aria-label", part.closest(".block").textContent.trim()));
    };
    new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
    name();
}"""
# A file dropped beside all places for files would replace the page; instead, it is taken for a render.
TAKE_DROPPED = r"""() => {
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
        const input = document.querySelector("#dropped input[type=file]");
        if (event.defaultPrevented || !input || !event.dataTransfer.files.length) return;
        event.preventDefault();
        input.files = event.dataTransfer.files;
        input.dispatchEvent(new Event("change", {bubbles: true}));
    });
}"""
TOUR_STORAGE = {"storage_key": "motion-transfer-tour", "secret": VISITOR_KEY}
SECONDS_BETWEEN_SLICES = 2.0
CACHE_SECONDS = (3600, 24 * 3600)  # how often to look for old uploads, and how old they may get

CSS = """
.dark { --color-accent: #3b82f6; }
.job progress { width: 100%; height: 0.6rem; accent-color: #2563eb; }
.job p { margin: 0.25rem 0 0; overflow-wrap: anywhere; }
.problem { border-left: 4px solid #d55e00; padding-left: 0.75rem; }
#random, #rename { align-self: end; }
#heads, #span, #strip, #box, #preview, #reference, #result, #item, #beside, #job-video { padding-top: 1.9rem; }
#strip img { cursor: col-resize; }
.card { display: flex; gap: 0.75rem; align-items: center; }
.card img { width: 4rem; height: 4rem; object-fit: cover; border-radius: 4px; image-rendering: pixelated; }
.card p { margin: 0; overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(110px, 1fr)); gap: 0.75rem; }
.grid figure { margin: 0; }
.grid video { width: 100%; image-rendering: pixelated; border-radius: 4px; }
.grid figcaption { overflow-wrap: anywhere; font-size: 0.85rem; }
.facts th { text-align: left; padding-right: 1rem; font-weight: 600; vertical-align: top; }
.facts td { overflow-wrap: anywhere; }
.or, .min_value, .max_value { color: var(--body-text-color) !important; }
.marked strong { color: #d55e00; }
#opened, #tour { padding: 0.75rem 1rem; border-left: 4px solid #2563eb; background: var(--background-fill-secondary); }
.code svg { max-width: 100%; height: auto; }
#scores table { width: 100%; display: table; }
#scores td { overflow-wrap: anywhere; }
#scores td:last-child, #scores th:last-child { white-space: nowrap; }
"""


def _heading(studio: Studio) -> str:
    spec = studio.spec
    plain = words.BASE_NOTE.format(name=spec.name, width=spec.width, height=spec.height, frames=spec.num_frames)
    return f"# {words.TITLE}\n{words.INTRO}\n\n{words.BASE_NOTES.get(spec.name) or spec.note or plain}"


def _visitor_token(token: str | None) -> str:
    """A visitor keeps the token that the browser holds; a new one gets a new one."""
    return token or secrets.token_urlsafe(SHORTEST_TOKEN)


def _greeting(workspace: Workspace) -> Callable[[str | None], None]:
    """Notes that a visitor has opened the page."""

    def greet(token: str | None) -> None:
        told(lambda: workspace.greet(workspace.owner(token)))

    return greet


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a link that was opened asks for, above the tabs; hidden where there is none."""

    panel: gr.Column
    facts: gr.HTML
    fetch: gr.Button
    use: gr.Button
    leave: gr.Button
    text: gr.State

    @property
    def parts(self) -> list[Any]:
        """What changes when a link is opened."""
        return [self.panel, self.facts, self.use, self.fetch, self.text]


def _build_opened() -> Opened:
    with gr.Column(visible=False, elem_id="opened") as panel:
        gr.Markdown(words.OPENED)
        facts = gr.HTML()
        gr.Markdown(words.OPENED_NOTE)
        with gr.Row():
            use = gr.Button(words.USE_LINK, variant="primary", elem_id="use-link")
            fetch = gr.Button(words.FETCH, visible=False, elem_id="fetch-link")
            leave = gr.Button(words.LEAVE_LINK, elem_id="leave-link")
    return Opened(panel=panel, facts=facts, fetch=fetch, use=use, leave=leave, text=gr.State(None))


def opened_link(studio: Studio, place_of: PlaceOf) -> Callable[..., tuple[Any, ...]]:
    """What to do when the page is opened: show what its link asks for, if it has a preset."""

    def show(token: str | None, request: gr.Request) -> tuple[Any, ...]:
        text = request.query_params.get(PARAMETER)
        if not text:
            return (gr.skip(),) * 5
        received, error = told(lambda: receive(place_of(token), studio, text))
        if received is None:
            hidden = gr.Button(visible=False)
            return gr.Column(visible=True), problem(error or ""), hidden, hidden, None
        fetch = gr.Button(visible=bool(received.fetchable))
        return gr.Column(visible=True), received.facts, gr.Button(visible=True), fetch, text

    return show


def fetched_link(studio: Studio, place_of: PlaceOf) -> Callable[..., tuple[Any, Any]]:
    """What to do when the missing motions of a link are to be fetched: do so, and show the link anew."""

    def fetch(token: str | None, text: str | None) -> tuple[Any, Any]:
        received, error = told(lambda: fetch_missing(place_of(token), studio, text or ""))
        if received is None:
            warn(error or "")
            return gr.skip(), gr.skip()
        tell(words.FETCHED)
        return received.facts, gr.Button(visible=False)

    return fetch


def slice_of(slices: Slices, place_of: PlaceOf) -> Callable[[str | None], None]:
    """What an open page asks for now and then: work on its visitor's jobs, on its visitor's quota."""

    def work(token: str | None) -> None:
        _, error = told(lambda: slices.work(place_of(token).owner))
        if error is not None and not isinstance(error, UnknownVisitor):
            warn(error)

    return work


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

    with words.building():
        return _page(studio, workspace, place_of, slices)


def _page(studio: Studio, workspace: Workspace, place_of: PlaceOf, slices: Slices | None) -> gr.Blocks:
    uploads, examples = Library(workspace.root, uploads=workspace.uploads), example_clips(EXAMPLES)
    with gr.Blocks(title=words.en.TITLE, analytics_enabled=False, delete_cache=CACHE_SECONDS) as app:
        visitor = gr.BrowserState(None, storage_key=VISITOR_KEY, secret=VISITOR_KEY)
        heading = gr.Markdown()
        app.load(lambda: _heading(studio), None, heading, queue=False, **QUIET)
        opened = _build_opened()
        tour, tour_hidden = build_tour(studio, place_of, examples), gr.BrowserState(False, **TOUR_STORAGE)
        with gr.Tabs() as tabs:
            with gr.Tab(words.LEARN_TAB, id=LEARN_TAB) as learn_tab:
                learned = build_learn_tab(studio, place_of, uploads, examples, visitor)
            with gr.Tab(words.RENDER_TAB, id=RENDER_TAB) as render_tab:
                renders = build_render_tab(studio, place_of, visitor)
            with gr.Tab(words.JOBS_TAB, id=JOBS_TAB) as jobs_tab:
                jobs = build_jobs_tab(place_of, visitor)
            with gr.Tab(words.LIBRARY_TAB, id="library") as library_tab:
                library = build_library_tab(studio, place_of, visitor)
            with gr.Tab(words.PRESETS_TAB, id="presets") as presets_tab:
                presets = build_presets_tab(studio, place_of, renders.controls, learned.settings, visitor)
            with gr.Tab(words.SYSTEM_TAB, id="system") as system_tab:
                system = build_system_tab(studio, place_of, visitor)
        build_api(studio, place_of)
        if slices is not None:
            timer = gr.Timer(SECONDS_BETWEEN_SLICES)
            timer.tick(slice_of(slices, place_of), visitor, None, concurrency_limit=None, trigger_mode="once", **QUIET)
        app.load(lambda: gr.Radio(choices=movements()), None, learned.movement, queue=False, **QUIET)
        app.load(None, js=NAME_CONTROLS)
        app.load(None, js=TAKE_DROPPED)
        known = app.load(_visitor_token, visitor, visitor, **QUIET)
        known.then(_greeting(workspace), visitor, None, **QUIET)
        known.then(learned.estimate, *learned.estimated, **QUIET)
        known.then(opened_link(studio, place_of), visitor, opened.parts, **QUIET)
        guided = [visitor, tour_hidden], tour.parts
        began = tour.begin.click(tour.learn, visitor, learned.shown, **QUIET)
        hidden = tour.hide.click(lambda: True, None, tour_hidden, queue=False, **QUIET)
        for event in (known, began, hidden):
            event.then(tour.show, *guided, **QUIET)
        gr.on([part.change for part in (learned.shown[0], learned.saved, renders.result)], tour.show, *guided, **QUIET)
        offered = gr.State(None)
        offer = [visitor, learned.saved, offered, *renders.motions]
        known.then(lambda token: renders.choose(token, None), visitor, renders.places, **QUIET)
        render_tab.select(renders.refresh, offer, [*renders.motions, offered], **QUIET)
        render_tab.select(renders.estimate, *renders.estimated, **QUIET)

        def show(then: Dependency, tab_of: Callable[[str | None], str] = lambda _: RENDER_TAB) -> None:
            """Turns to the Render tab, where what was filled in stays: the motion learned last counts as offered."""

            def turn(key: str | None, saved: str | None) -> tuple[Any, str | None]:
                return gr.Tabs(selected=tab_of(key)), saved

            then.then(turn, [jobs.key, learned.saved], [tabs, offered], queue=False, **QUIET)

        show(learned.go_render.click(renders.choose, [visitor, learned.saved], renders.places, **QUIET))
        dropped = gr.File(visible="hidden", elem_id="dropped")
        show(dropped.upload(renders.fill_from_render, [visitor, dropped], renders.filled, **QUIET))
        opened.fetch.click(
            fetched_link(studio, place_of), [visitor, opened.text], [opened.facts, opened.fetch], **QUIET
        )
        settings = list(learned.settings.values())

        def setting_up(find: Callable[[Place, str | None], Received]) -> Callable[..., dict[Component, Any]]:
            """Sets the Learn tab up as a preset says; why it can't be used was told already."""

            def set_up(token: str | None, key: str | None) -> dict[Component, Any]:
                found, _ = told(lambda: find(place_of(token), key))
                return learned.set_up(found.tune if found else None)

            return set_up

        link = [visitor, opened.text]
        used = opened.use.click(renders.fill_from_link, link, renders.filled, **QUIET)
        show(used)
        used.then(setting_up(lambda place, text: receive(place, studio, text or "")), link, settings, **QUIET)
        for button in (opened.use, opened.leave):
            button.click(lambda: gr.Column(visible=False), None, opened.panel, queue=False, **QUIET)
        presets_tab.select(presets.refresh, [visitor, presets.chosen], presets.chosen, **QUIET)

        def use_preset(token: str | None, key: str | None) -> dict[Component, Any]:
            return renders.fill_from_order(token, lambda: look_at_preset(place_of(token), studio, key).order)

        preset = [visitor, presets.chosen]
        used = presets.use.click(use_preset, preset, renders.filled, **QUIET)
        show(used)
        used.then(setting_up(lambda place, key: look_at_preset(place, studio, key)), preset, settings, **QUIET)
        jobs_tab.select(lambda: gr.Timer(active=True), None, jobs.timer, queue=False, **QUIET)
        others = [tab.select for tab in (learn_tab, render_tab, library_tab, presets_tab, system_tab)]
        gr.on(others, lambda: gr.Timer(active=False), None, jobs.timer, queue=False, **QUIET)
        system_tab.select(system.refresh, visitor, system.facts, **QUIET)
        wanted = library.listed
        library_tab.select(library.refresh, [visitor, *wanted[:3]], [wanted[0], *wanted[2:]], **QUIET)
        show(library.use.click(renders.choose, [visitor, library.chosen], renders.places, **QUIET))
        chosen = [visitor, jobs.key]
        again = jobs.again.click(learned.fill, chosen, learned.filled, **QUIET)
        show(again.then(renders.fill, chosen, renders.filled, **QUIET), partial(tab_of, workspace))
    return app


def tab_of(workspace: Workspace, key: str | None) -> str:
    """The tab in which a job was ordered."""
    job, _ = told(lambda: workspace.jobs.job(key or ""))
    return {TUNE: LEARN_TAB, RENDER: RENDER_TAB}[job.kind] if job else JOBS_TAB


def _theme() -> gr.Theme:
    """The stock look with the system's own font, in colors whose contrast is at least 4.5 (WCAG 2.1, 1.4.3)."""
    theme = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    return theme.set(
        block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300",
        color_accent="*primary_600", button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700", button_cancel_background_fill="#dc2626",
        button_cancel_background_fill_hover="#b91c1c",
    )  # fmt: skip


def launch_options(workspace: Workspace) -> dict[str, Any]:
    """How the page is served: no history, no tracebacks, no files but the examples and copies for looking at."""
    return {
        "show_error": False,
        "run_history": False,
        "ssr_mode": False,
        "footer_links": [],
        "pwa": True,
        "max_file_size": MAX_UPLOAD,
        "allowed_paths": [str(EXAMPLES)],
        "blocked_paths": [
            str(workspace.root / name) for name in ("jobs", "loras", "renders", "presets", "bin", "visitors")
        ],
        "i18n": gr.I18n(**words.catalog(explained(TuneSpec, RenderSpec))),
        "theme": _theme(),
        "css": CSS,
    }
