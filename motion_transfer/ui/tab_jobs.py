"""The Jobs tab: all jobs of a visitor, and what can be done with the chosen one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from motion_transfer.errors import BadSpec
from motion_transfer.jobs.store import Job
from motion_transfer.ui import words
from motion_transfer.ui.buttons import QUIET, SECONDS_BETWEEN_LOOKS, PlaceOf, bind_buttons, build_buttons, usable
from motion_transfer.ui.controls import trouble
from motion_transfer.ui.desk import Place, told
from motion_transfer.ui.jobs import DOWN, UP, JobsView, look_at_jobs, movable, move_job, removable, remove_job
from motion_transfer.ui.toasts import warn


@dataclass(frozen=True, kw_only=True)
class JobsTab:
    """What other parts of the page need: the chosen job, and the button that orders it again."""

    key: gr.State
    again: gr.Button


def _list_update(view: JobsView, listed: Any) -> Any:
    """The list, if it reads differently from what is on the page."""
    key = view.job.key if view.job else None
    now = (tuple(view.choices), key)
    return (gr.skip(), listed) if now == listed else (gr.Radio(choices=view.choices, value=key), now)


class _JobsPage:
    """Binds the tab's parts to the functions behind them."""

    def __init__(self, place_of: PlaceOf) -> None:
        self._place_of = place_of

    def look(self, token: str | None, key: str | None, listed: Any) -> tuple[Any, ...]:
        """The timer ticked: list, what is listed, line, facts, key, and the buttons."""
        view, error = told(lambda: look_at_jobs(self._place_of(token), key))
        if view is None:
            assert error is not None
            return *(gr.skip() for _ in range(2)), trouble(error), *(gr.skip() for _ in range(9))
        moves = [gr.Button(interactive=movable(view.job))] * 2
        ends = [gr.Button(interactive=view.job is not None), gr.Button(interactive=removable(view.job))]
        shown = view.job.key if view.job else None
        return *_list_update(view, listed), view.status, view.facts, shown, *usable(view.job), *moves, *ends

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
    page, key, listed = _JobsPage(place_of), gr.State(None), gr.State(None)
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
            facts = gr.HTML("")
    jobs.input(lambda chosen: chosen, jobs, key, queue=False, **QUIET)
    bind_buttons(buttons, place_of, visitor, key)
    for button, action in (
        (up, lambda place, chosen: move_job(place, chosen, UP)),
        (down, lambda place, chosen: move_job(place, chosen, DOWN)),
        (remove, remove_job),
    ):
        button.click(page.acting(action), [visitor, key], None, queue=False, **QUIET)
    shown = [jobs, listed, line, facts, key, *buttons.parts, up, down, again, remove]
    gr.Timer(SECONDS_BETWEEN_LOOKS).tick(page.look, [visitor, key, listed], shown, queue=False, **QUIET)
    return JobsTab(key=key, again=again)
