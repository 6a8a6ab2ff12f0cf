"""The Jobs tab: all jobs of a visitor, and what can be done with the chosen one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from motion_transfer.errors import BadSpec
from motion_transfer.jobs.orders import TUNE
from motion_transfer.jobs.store import Job
from motion_transfer.ui import words
from motion_transfer.ui.buttons import (
    QUIET,
    SECONDS_BETWEEN_LOOKS,
    PlaceOf,
    bind_buttons,
    bind_looks,
    build_buttons,
    changed,
    usable,
)
from motion_transfer.ui.controls import trouble
from motion_transfer.ui.desk import Place, Seen, told
from motion_transfer.ui.jobs import (
    DOWN,
    UP,
    JobsView,
    look_at_jobs,
    movable,
    move_job,
    picture_job,
    removable,
    remove_done,
    remove_job,
)
from motion_transfer.ui.plots import LOSS, STAGE, STAGE_COLORS, STEP
from motion_transfer.ui.toasts import warn


@dataclass(frozen=True, kw_only=True)
class JobsTab:
    """What other parts of the page need: the chosen job, the button that orders it again, and when to look.

    The timer is to be at work while the tab is open; before its first tick, `look` shows what there is.
    """

    key: gr.State
    again: gr.Button
    timer: gr.Timer
    look: Callable[..., Any]
    asked: list[Component]
    shown: list[Component]


class _JobsPage:
    """Binds the tab's parts to the functions behind them."""

    def __init__(self, place_of: PlaceOf) -> None:
        self._place_of = place_of

    def look(self, token: str | None, key: str | None, seen: JobsView | None) -> tuple[Any, ...]:
        """The timer ticked: what is seen now, and where it changed, line, facts, list, key, and the buttons."""
        view, error = told(lambda: look_at_jobs(self._place_of(token), key))
        if view is None or view == seen:
            line = gr.skip() if error is None else trouble(error)
            return gr.skip(), line, *(gr.skip() for _ in range(10))
        chosen = view.job.key if view.job else None
        relisted = seen is None or (view.choices, chosen) != (seen.choices, seen.job and seen.job.key)
        jobs = gr.Radio(choices=view.choices, value=chosen) if relisted else gr.skip()
        moves = [gr.Button(interactive=movable(view.job))] * 2
        ends = [gr.Button(interactive=view.job is not None), gr.Button(interactive=removable(view.job))]
        return view, view.status, view.facts, jobs, changed(key, chosen), *usable(view.job), *moves, *ends

    def picture(self, token: str | None, key: str | None, seen: Seen | None) -> tuple[Any, Any, Any]:
        """Curve and video of the chosen job, where they changed, and what is seen now."""

        def do() -> tuple[Any, Any, Any]:
            place = self._place_of(token)
            if key is None:  # none is chosen yet
                return gr.skip(), gr.skip(), gr.skip()
            job = place.workspace.jobs.job(key, place.owner)
            found = picture_job(place, job, seen)
            if found is None:
                return gr.skip(), gr.skip(), gr.skip()
            learns = job.kind == TUNE
            losses = gr.LinePlot(found.losses, visible=learns) if "curve" in found.renewed else gr.skip()
            label = words.PREVIEW if learns else words.RESULT
            video = gr.Video(found.video and str(found.video), label=label) if "video" in found.renewed else gr.skip()
            return losses, video, found.seen

        return told(do)[0] or (gr.skip(), gr.skip(), gr.skip())

    def look_at_all(
        self, token: str | None, key: str | None, seen: JobsView | None, pictured: Seen | None
    ) -> tuple[Any, ...]:
        """`look` and `picture`."""
        return *self.look(token, key, seen), *self.picture(token, key, pictured)

    def clear(self, token: str | None) -> None:
        """Remove all that are done was pressed."""
        _, error = told(lambda: remove_done(self._place_of(token)))
        if error is not None:
            warn(error)

    def acting(self, action: Callable[[Place, str], Job | None]) -> Callable[..., None]:
        """A handler that does something with the chosen job, and tells why it can't."""

        def act(token: str | None, key: str | None) -> None:
            def do() -> None:
                if key is None:
                    raise BadSpec(words.NO_JOB)
                action(self._place_of(token), key)

            _, error = told(do)
            if error is not None:
                warn(error)

        return act


def build_jobs_tab(place_of: PlaceOf, visitor: gr.BrowserState) -> JobsTab:
    """Builds the tab's content where it is called."""
    page, key, seen = _JobsPage(place_of), gr.State(None), gr.State(None)
    with gr.Row():
        with gr.Column(min_width=320):
            jobs = gr.Radio(choices=[], label=words.JOBS, elem_id="jobs")
        with gr.Column(min_width=320):
            line = gr.HTML("", elem_id="job-status")
            buttons = build_buttons("job")
            with gr.Row():
                up = gr.Button(words.UP, interactive=False, min_width=90)
                down = gr.Button(words.DOWN, interactive=False, min_width=90)
                again = gr.Button(words.AGAIN, interactive=False, min_width=90, elem_id="job-again")
                remove = gr.Button(words.REMOVE, interactive=False, min_width=90)
            clear = gr.Button(words.REMOVE_DONE, size="sm", elem_id="clear-jobs")
            losses = gr.LinePlot(x=STEP, y=LOSS, color=STAGE, color_map=STAGE_COLORS, label=words.LOSS,
                                 buttons=[], visible=False)  # fmt: skip
            video = gr.Video(label=words.RESULT, interactive=False, autoplay=True, buttons=[], height=260,
                             elem_id="job-video")  # fmt: skip
            facts = gr.HTML("", elem_id="job-facts")
    bind_buttons(buttons, place_of, visitor, key)
    for button, action in (
        (up, lambda place, chosen: move_job(place, chosen, UP)),
        (down, lambda place, chosen: move_job(place, chosen, DOWN)),
        (remove, remove_job),
    ):
        button.click(page.acting(action), [visitor, key], None, queue=False, **QUIET)
    clear.click(page.clear, visitor, None, queue=False, **QUIET)
    shown = [seen, line, facts, jobs, key, *buttons.parts, up, down, again, remove]
    timer, pictured = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False), gr.State(None)
    asked: list[Component] = [visitor, key, seen]
    everything = [*asked, pictured], [*shown, losses, video, pictured]
    bind_looks(timer, page.look_at_all, everything, place_of)
    chosen = jobs.input(lambda one: one, jobs, key, queue=False, trigger_mode="always_last", **QUIET)
    chosen.then(page.look_at_all, *everything, queue=False, trigger_mode="always_last", **QUIET)
    return JobsTab(key=key, again=again, timer=timer, look=page.look, asked=asked, shown=shown)
