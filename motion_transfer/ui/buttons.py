"""Pause, Continue and Cancel below a job, and the timer that looks at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from motion_transfer.errors import BadSpec
from motion_transfer.jobs.store import CANCELLED, FAILED, PAUSED, QUEUED, RUNNING, Job
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place, told
from motion_transfer.ui.toasts import warn

SECONDS_BETWEEN_LOOKS = 1.0
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
PlaceOf = Callable[[str | None], Place]


@dataclass(frozen=True, kw_only=True)
class JobButtons:
    """The buttons of the job that a tab shows."""

    pause: gr.Button
    go_on: gr.Button
    cancel: gr.Button

    @property
    def parts(self) -> list[gr.Button]:
        """All of them, in the order of `usable`."""
        return [self.pause, self.go_on, self.cancel]


def build_buttons(name: str) -> JobButtons:
    """Places the buttons where it is called; `name` makes their ids unique."""
    with gr.Row():
        return JobButtons(
            pause=gr.Button(words.PAUSE_JOB, interactive=False, min_width=90, elem_id=f"{name}-pause"),
            go_on=gr.Button(words.CONTINUE_JOB, interactive=False, min_width=90, elem_id=f"{name}-continue"),
            cancel=gr.Button(words.CANCEL_JOB, variant="stop", interactive=False, min_width=90,
                             elem_id=f"{name}-cancel"),
        )  # fmt: skip


def usable(job: Job | None) -> list[gr.Button]:
    """Pause, Continue and Cancel as the job's state allows."""
    state = job.state if job and not job.wish else ""
    allowed = ((QUEUED, RUNNING), (PAUSED, FAILED, CANCELLED), (QUEUED, RUNNING, PAUSED))
    return [gr.Button(interactive=state in states) for states in allowed]


def changed(asked: str | None, shown: str | None) -> Any:
    """The key of the job that a look found, if it is another one than was asked for.

    Else it is left alone, for another one may have been chosen or ordered while the look was under way.
    """
    return gr.skip() if shown == asked else shown


def bind_buttons(buttons: JobButtons, place_of: PlaceOf, visitor: gr.BrowserState, key: gr.State) -> None:
    """Lets the buttons act on the job whose key the state holds; the timer shows what comes of it."""
    for button, verb in ((buttons.pause, "pause"), (buttons.go_on, "go_on"), (buttons.cancel, "cancel")):

        def act(token: str | None, shown: str | None, verb: str = verb) -> None:
            def do() -> Job:
                place = place_of(token)
                if shown is None:
                    raise BadSpec(words.NO_JOB)
                if verb == "go_on":
                    is_open = place.workspace.jobs.job(shown, place.owner).state == PAUSED
                    place.workspace.check_room(place.owner, 0 if is_open else 1)
                return getattr(place.workspace.jobs, verb)(shown, place.owner)

            _, error = told(do)
            if error is not None:
                warn(error)

        button.click(act, [visitor, key], None, queue=False, **QUIET)
