"""Pause, Continue and Cancel below a job, and the timer that looks at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from motion_transfer.errors import BadSpec
from motion_transfer.jobs.orders import TUNE
from motion_transfer.jobs.store import CANCELLED, FAILED, PAUSED, QUEUED, RUNNING, Job, NoSuchJob
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place, told
from motion_transfer.ui.toasts import warn

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BESIDE_LEARNING = 4.0  # each look takes 40 ms of a core that tuning needs, for a minute at least
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


def act_on(place: Place, verb: str, keys: Sequence[str]) -> None:
    """Pauses, continues or cancels jobs; the last one first, that none begins because the one before it has ended.

    Of several, those are passed over whose state doesn't allow it.

    Raises:
        NoSuchJob: there is no such job, or the only one's state doesn't allow it.
        BadSpec: a visitor has no room for more.
    """
    jobs = place.workspace.jobs
    for key in keys if verb == "go_on" else reversed(keys):
        with suppress(NoSuchJob) if len(keys) > 1 else nullcontext():
            if verb == "go_on":
                place.workspace.check_room(place.owner, 0 if jobs.job(key, place.owner).state == PAUSED else 1)
            getattr(jobs, verb)(key, place.owner)


def _pace(place: Place) -> float:
    """Seconds between looks: more of them while a motion is being learned."""
    running = place.workspace.jobs.jobs(states=(RUNNING,))
    return SECONDS_BESIDE_LEARNING if any(job.kind == TUNE for job in running) else SECONDS_BETWEEN_LOOKS


def bind_looks(
    timer: gr.Timer, look: Callable[..., tuple[Any, ...]], parts: tuple[list[Any], list[Any]], place_of: PlaceOf
) -> None:
    """Looks again and again while the timer is active, seldom beside a motion that is being learned.

    Args:
        timer: at `SECONDS_BETWEEN_LOOKS`.
        look: what is done at each tick, with the values of the first parts; what it returns goes into the others.
        parts: what it reads, the visitor first, and what it shows.
        place_of: where visitors work.
    """
    pace, (read, shown) = gr.State(SECONDS_BETWEEN_LOOKS), parts

    def paced(before: float, token: str | None, *others: Any) -> tuple[Any, ...]:
        now = told(lambda: _pace(place_of(token)))[0] or before
        changed = (gr.skip(), gr.skip()) if now == before else (gr.Timer(now), now)
        return *changed, *look(token, *others)

    timer.tick(paced, [pace, *read], [timer, pace, *shown], queue=False, **QUIET)


def bind_buttons(
    buttons: JobButtons, place_of: PlaceOf, visitor: gr.BrowserState, key: gr.State,
    all_of: Callable[[Place, str], Sequence[str]] = lambda _, key: [key],
) -> None:  # fmt: skip
    """Lets the buttons act on the job whose key the state holds; the timer shows what comes of it.

    Args:
        buttons: the buttons.
        place_of: where they act.
        visitor: whose jobs.
        key: of the job.
        all_of: the jobs that are meant with it.
    """
    for button, verb in ((buttons.pause, "pause"), (buttons.go_on, "go_on"), (buttons.cancel, "cancel")):

        def act(token: str | None, shown: str | None, verb: str = verb) -> None:
            def do() -> None:
                if shown is None:
                    raise BadSpec(words.NO_JOB)
                place = place_of(token)
                act_on(place, verb, all_of(place, shown))

            _, error = told(do)
            if error is not None:
                warn(error)

        button.click(act, [visitor, key], None, queue=False, **QUIET)
