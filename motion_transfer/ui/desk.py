"""How a job looks on the page: its line of progress, and what changed since it was last looked at."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from motion_transfer.errors import MotionTransferError, StorageFailed
from motion_transfer.jobs.orders import RENDER
from motion_transfer.jobs.store import CANCEL, CANCELLED, DONE, FAILED, PAUSE, PAUSED, QUEUED, RUNNING, Job, NoSuchJob
from motion_transfer.ui import words
from motion_transfer.workspace import Workspace

T = TypeVar("T")
CURVE_S = 15.0  # between two drawings of a running job's curve: it changes little, and costs much


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a handler works: the workspace, whose part of it, the base, and whether workers do its jobs."""

    workspace: Workspace
    owner: str
    base: str = ""
    has_workers: bool = False


def clock(seconds: float) -> str:
    """Seconds as `42 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return words.CLOCK_S.format(s=whole)
    if whole < 3600:
        return words.CLOCK_MIN.format(min=whole // 60, s=whole % 60)
    return words.CLOCK_H.format(h=whole // 3600, min=whole % 3600 // 60)


class Fault(MotionTransferError):
    """A mistake of the program itself, in words for its user."""


def in_words(error: Exception) -> MotionTransferError:
    """What the page says of any error; an unforeseen one goes to the terminal too, with its traceback."""
    if isinstance(error, MotionTransferError):
        return error
    if isinstance(error, OSError):
        return StorageFailed(words.STORAGE.format(reason=error.strerror or error))
    logging.getLogger(__name__).error("unforeseen error", exc_info=error)
    return Fault(words.FAULT.format(kind=type(error).__name__))


def status(text: str, *, figures: str = "", done: float | None = None) -> str:
    """A line for the page, as HTML, with a progress bar if work is under way; screen readers leave out the figures."""
    bar = "" if done is None else f'<progress value="{done:.4f}" max="1" aria-label="{words.PROGRESS}"></progress>'
    shown = text if words.is_mark(text) else escape(text)
    return f'<div class="job">{bar}<p><span role="status">{shown}</span>{escape(figures)}</p></div>'


def capital(text: str) -> str:
    """A sentence, beginning with a capital."""
    return text[:1].upper() + text[1:]


def sentence(error: MotionTransferError) -> str:
    """An error's own sentence, beginning with a capital."""
    return capital(str(error))


def problem(error: MotionTransferError | str) -> str:
    """An error's sentence for the page, as HTML."""
    return f'<div class="job problem" role="alert"><p>{escape(capital(str(error)))}</p></div>'


def _running(job: Job) -> str:
    """Stage, step, rate, time left, loss, time gone, memory: whatever is known."""
    stage = words.STAGES.get(job.stage, job.stage) or words.OPENING
    parts = [words.STEP.format(step=job.step, total=job.total)] if job.total else []
    if job.rate:
        pace = words.RATE.format(rate=job.rate) if job.rate >= 1 else words.PACE.format(seconds=1 / job.rate)
        parts += [pace, words.LEFT.format(left=clock(job.left_s or 0))]
        in_all_s = (job.orders.get("expected") or {}).get("seconds", 0.0) - job.worked_s
        if in_all_s > (job.left_s or 0):
            parts.append(words.LEFT_IN_ALL.format(left=clock(in_all_s)))
    if job.loss is not None:
        parts.append(words.STEP_LOSS.format(loss=job.loss))
    parts.append(words.GONE.format(gone=clock(job.worked_s)))
    if job.peak_memory_mb:
        parts.append(words.MEMORY.format(gb=job.peak_memory_mb / 1000))
    if job.wish:
        parts.append({PAUSE: words.PAUSING, CANCEL: words.CANCELLING}[job.wish])
    if job.note:
        parts.append(capital(job.note))
    figures = "".join(f" · {part}" for part in parts)
    return status(stage, figures=figures, done=job.step / job.total if job.total else 0.0)


def job_line(job: Job, ahead: int | None, done: str) -> str:
    """How a job stands, as HTML.

    Args:
        job: the job.
        ahead: how many jobs are to be done before it; None if nobody is at them.
        done: what to say once it is done.
    """
    if job.state == RUNNING:
        return _running(job)
    if job.state == FAILED:
        return problem(job.note)
    if job.state == QUEUED and ahead is None:
        return status(words.NO_WORKER, done=0.0)
    if job.state == QUEUED:
        return status(words.WAITING.format(ahead=ahead) if ahead else words.NEXT, done=0.0)
    if job.state == PAUSED:
        paused = (words.PAUSED_RENDER if job.kind == RENDER else words.PAUSED).format(
            stage=words.STAGES.get(job.stage, job.stage), step=job.step
        )
        return status(f"{paused} {capital(job.note)}".strip())
    if job.state == CANCELLED:
        return status(words.CANCELLED_RENDER if job.kind == RENDER else words.CANCELLED)
    assert job.state == DONE
    return status(f"{done} {capital(job.note)}".strip())


def shown_job(place: Place, kind: str, key: str | None) -> Job | None:
    """The job to show: the one that is asked for, else the owner's latest of its kind."""
    jobs = place.workspace.jobs
    with suppress(NoSuchJob):
        if key is not None and (asked := jobs.job(key, place.owner)).kind == kind:
            return asked
    return jobs.newest(place.owner, kind)


def ahead_of(place: Place, job: Job) -> int | None:
    """How many jobs, of whomever, are to be done before a queued one; None if no worker is there to do them."""
    if job.state != QUEUED:
        return 0
    if place.has_workers and not place.workspace.jobs.workers.any():
        return None
    return place.workspace.jobs.num_before(job)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was shown of a job: equal looks show the same."""

    key: str
    state: str
    telling: tuple[Any, ...]
    curve: int
    files: tuple[int, ...]

    @classmethod
    def of(cls, job: Job, ahead: int | None, *files: Path) -> Seen:
        """Of a job as it stands, with the files that its worker renews, or folders that it adds to."""
        stamps = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in files)
        telling, curve = (job.wish, job.told_s, job.note, ahead), int((job.told_s or 0.0) // CURVE_S)
        return cls(key=job.key, state=job.state, telling=telling, curve=curve, files=stamps)

    def renewed(self, before: Seen | None, *names: str) -> frozenset[str]:
        """Which parts of the page are to be renewed: the line always, each file's part with its file.

        Args:
            before: the last look, if there was one.
            names: of the parts that show the files, in their order.
        """
        if before is None or before.key != self.key:
            return frozenset(["job", "curve", "result", *names])
        parts = {name for name, new, old in zip(names, self.files, before.files, strict=True) if new != old}
        if self.state != before.state:
            parts |= {"curve", "result"}
        return frozenset(parts | {"job"} | ({"curve"} if self.curve != before.curve else set()))


def told(action: Callable[[], T]) -> tuple[T | None, MotionTransferError | None]:
    """The result of an action, or what to say of its failure."""
    try:
        return action(), None
    except Exception as error:
        return None, in_words(error)
