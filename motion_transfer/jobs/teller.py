"""Drives a job's work, tells the store how it stands, and heeds its owner's wishes after every step."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from motion_transfer.errors import Cancelled, MotionTransferError
from motion_transfer.jobs.store import CANCEL, PAUSE, Job, JobStore
from motion_transfer.model.memory import peak_memory_mb
from motion_transfer.types import Progress, Work

T = TypeVar("T")
SECONDS_BETWEEN_TELLS = 0.25
SECONDS_BETWEEN_STATES = 2.0  # at least,
SHARE_OF_STATES = 0.05  # and so far apart that keeping them takes no more of the time


class Paused(MotionTransferError):
    """The owner laid the job aside."""


class Interrupted(MotionTransferError):
    """The worker itself is to end."""


class Teller:
    """Tells one job's progress.

    Args:
        store: where.
        job: which.
        leaving: set when the worker is to end.
    """

    def __init__(self, store: JobStore, job: Job, leaving: threading.Event) -> None:
        self._store, self._job, self._leaving = store, job, leaving
        self._losses: list[tuple[str, int, float]] = []
        self._told_s = time.monotonic()
        self._keep_at_s = self._told_s + SECONDS_BETWEEN_STATES
        self._stage, self._stage_s, self._first = "", 0.0, 0
        self._before_mb = job.peak_memory_mb or 0.0  # in earlier tries
        self.steps: Counter[str] = Counter()  # done here, by stage

    def stage(self, name: str) -> None:
        """Tells that a stage without steps has begun, such as reading the clip."""
        self._store.tell(self._job.key, stage=name, step=0, total=0, rate=None, loss=None)
        self.heed()

    def heed(self) -> None:
        """Ends the work if somebody wants it to end.

        Raises:
            Paused, Cancelled: the owner does.
            Interrupted: the worker is leaving.
        """
        wish = self._store.wish(self._job.key)
        if wish == CANCEL:
            raise Cancelled("cancelled by its owner.")
        if wish == PAUSE:
            raise Paused("paused by its owner.")
        if self._leaving.is_set():
            raise Interrupted("the worker is ending.")

    def run(self, work: Work[T], see: Callable[[Progress], None], keep: Callable[[Progress], None]) -> T:
        """Runs work to its end and returns its result.

        Args:
            work: a generator of progress, which is closed however this ends.
            see: gets every step, for previews and the like.
            keep: takes down the state after a step; called now and then, and before a pause or an interruption.
        """
        with closing(work):
            while True:
                try:
                    progress = next(work)
                except StopIteration as end:
                    self._tell(None)
                    return end.value
                see(progress)
                self._step(progress)
                try:
                    self.heed()
                except (Paused, Interrupted):
                    self._tell(progress)
                    keep(progress)
                    raise
                if time.monotonic() >= self._keep_at_s:
                    self._keep(progress, keep)

    def _keep(self, progress: Progress, keep: Callable[[Progress], None]) -> None:
        begin_s = time.monotonic()
        keep(progress)
        if progress.state is not None:
            self._store.tell(self._job.key, deaths=0)
        now_s = time.monotonic()
        self._keep_at_s = now_s + max(SECONDS_BETWEEN_STATES, (now_s - begin_s) / SHARE_OF_STATES)

    def _step(self, progress: Progress) -> None:
        if progress.note:
            self._store.tell(self._job.key, note=progress.note)
            return
        if progress.stage != self._stage:
            self._stage, self._stage_s, self._first = progress.stage, time.monotonic(), progress.step
        self.steps[progress.stage] += 1
        if progress.loss is not None:
            self._losses.append((progress.stage, progress.step, progress.loss))
        if time.monotonic() - self._told_s >= SECONDS_BETWEEN_TELLS:
            self._tell(progress)

    def _tell(self, progress: Progress | None) -> None:
        losses, self._losses = self._losses, []
        columns: dict[str, object] = {"peak_memory_mb": max(peak_memory_mb(), self._before_mb)}
        if progress is not None:
            seconds, steps = time.monotonic() - self._stage_s, progress.step - self._first
            rate = steps / seconds if steps and seconds > 0 else None
            columns |= {"stage": progress.stage, "step": progress.step, "total": progress.total, "rate": rate,
                        "loss": progress.loss}  # fmt: skip
        self._store.tell(self._job.key, losses, **columns)
        self._told_s = time.monotonic()
