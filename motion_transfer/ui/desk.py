"""Long work behind the page: one job at a time, told in steps, stopped on request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from html import escape
from typing import TypeVar

from motion_transfer.errors import Cancelled, MotionTransferError, StorageFailed
from motion_transfer.types import Progress, Work
from motion_transfer.ui import words

T = TypeVar("T")

SECONDS_BETWEEN_UPDATES = 0.25


class Busy(MotionTransferError):
    """Another job holds the base."""


class Desk:
    """Lets one job at a time use the base. Each job belongs to a page, and only that page can stop it."""

    def __init__(self) -> None:
        self._free = threading.Lock()
        self._owner: str | None = None
        self._stop = threading.Event()

    @contextmanager
    def taken(self, owner: str) -> Iterator[None]:
        """While open, the base belongs to `owner`.

        Raises:
            Busy: a job is running.
        """
        if not self._free.acquire(blocking=False):
            raise Busy(words.BUSY)
        self._stop.clear()
        self._owner = owner
        try:
            yield
        finally:
            self._owner = None
            self._free.release()

    def stop(self, owner: str) -> bool:
        """Asks the job of `owner` to end after its current step; False if it has none."""
        if self._owner != owner:
            return False
        self._stop.set()
        return True

    def told(self, work: Work[T]) -> Generator[list[Progress], None, T]:
        """Runs work and yields its steps in bundles, at most four a second; closes it however it ends.

        Raises:
            Cancelled: `stop` was called.
        """
        steps: list[Progress] = []
        told_s = 0.0
        with closing(work):
            while True:
                if self._stop.is_set():
                    raise Cancelled(words.STOPPED)
                try:
                    steps.append(next(work))
                except StopIteration as end:
                    if steps:
                        yield steps
                    return end.value
                if time.monotonic() - told_s >= SECONDS_BETWEEN_UPDATES:
                    yield steps
                    steps, told_s = [], time.monotonic()


class Meter:
    """Turns steps into a progress line: stage, step, rate, time left in the stage, loss."""

    def __init__(self) -> None:
        self._stage, self._begin_s, self._first = "", 0.0, 0

    def line(self, progress: Progress) -> str:
        """The line for the newest step, as HTML."""
        if progress.stage != self._stage:
            self._stage, self._begin_s, self._first = progress.stage, time.monotonic(), progress.step
        stage = words.STAGES.get(progress.stage, progress.stage)
        parts = [words.STEP.format(stage=stage, step=progress.step, total=progress.total), *self._pace(progress)]
        if progress.loss is not None:
            parts.append(words.STEP_LOSS.format(loss=progress.loss))
        return status(" · ".join(parts), done=progress.step / max(1, progress.total))

    def _pace(self, progress: Progress) -> list[str]:
        seconds, steps = time.monotonic() - self._begin_s, progress.step - self._first
        if steps < 1 or seconds <= 0:
            return []
        rate = steps / seconds
        left = words.LEFT.format(left=clock((progress.total - progress.step) / rate))
        return [words.RATE.format(rate=rate), left]


def clock(seconds: float) -> str:
    """Seconds as `42 s` or `3 min 05 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


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


def status(text: str, *, done: float | None = None) -> str:
    """A line for the page, as HTML, with a progress bar if work is under way."""
    bar = "" if done is None else f'<progress value="{done:.4f}" max="1" aria-label="{words.PROGRESS}"></progress>'
    return f'<div class="job" role="status">{bar}<p>{escape(text)}</p></div>'


def sentence(error: MotionTransferError) -> str:
    """An error's own sentence, beginning with a capital."""
    text = str(error)
    return text[:1].upper() + text[1:]


def problem(error: MotionTransferError) -> str:
    """An error's sentence for the page, as HTML."""
    return f'<div class="job problem" role="alert"><p>{escape(sentence(error))}</p></div>'
