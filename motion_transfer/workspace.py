"""The folder that holds everything: one list of jobs, and a library for each owner."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from motion_transfer.errors import BadSpec, MotionTransferError
from motion_transfer.jobs.store import ENDED, OPEN, PAUSED, QUEUED, Job, JobStore, NoSuchJob
from motion_transfer.library import Library
from motion_transfer.library_files import size_mb
from motion_transfer.transfer import CHECK_RENDERS, CHECK_STEPS
from motion_transfer.types import TuneSpec

EVERYBODY = ""  # owns all there is where visitors are not told apart
SHORTEST_TOKEN = 32


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one owner, or all of them together, may take up of a shared machine.

    Attributes:
        open_jobs: that wait or run.
        kept_mb: of motions, renders and presets, and of the jobs' own files, which hold copies of the clips.
    """

    open_jobs: int
    kept_mb: float


MOST_DRAWS = 4000  # noisy clips that a visitor's job may learn from, ten times as many as by default
FOR_A_VISITOR = Limits(open_jobs=8, kept_mb=500.0)
FOR_ALL_VISITORS = Limits(open_jobs=64, kept_mb=20_000.0)  # tokens cost nothing: whoever makes many stays within this
ENDED_JOB_SECONDS = 24 * 3600.0  # for which a visitor's ended job is kept
IDLE_JOB_SECONDS = 3 * 24 * 3600.0  # for which one is kept that waits or is paused, and at which nobody works
VISITOR_SECONDS = 7 * 24 * 3600.0  # for which the library of a visitor is kept who does not open the page


class UnknownVisitor(MotionTransferError):
    """Whose things these are can't be told."""


class Workspace:
    """One folder on disk.

    Args:
        root: the folder; made when something is first written.
        isolated: whether every visitor has a library of their own, and sees no one else's jobs.
    """

    def __init__(self, root: Path, *, isolated: bool = False) -> None:
        self.root, self.isolated = Path(root).expanduser().resolve(), isolated

    @cached_property
    def jobs(self) -> JobStore:
        """The list of jobs, opened at first use.

        Raises:
            StorageFailed: the folder can't hold it.
        """
        return JobStore(self.root / "jobs")

    @property
    def uploads(self) -> Path:
        """Where uploads and copies for looking at are kept for a while."""
        return self.root / "uploads"

    def owner(self, token: str | None) -> str:
        """The owner that a browser's secret token stands for; the token itself is written nowhere.

        Raises:
            UnknownVisitor: visitors are told apart, and this one has no token yet.
        """
        if not self.isolated:
            return EVERYBODY
        if not token or len(token) < SHORTEST_TOKEN:
            raise UnknownVisitor("a page that knows its visitor is expected, but this one does not yet; reload it.")
        return hashlib.sha256(f"visitor {token}".encode()).hexdigest()[:32]

    def check_room(self, owner: str, num_jobs: int = 1) -> None:
        """Sees that an owner may order so many jobs more; where visitors are not told apart, there is no limit.

        Raises:
            BadSpec: too many jobs are open, or too much is kept.
        """
        if not self.isolated:
            return
        self._forget_old(owner)
        waiting = len(self.jobs.jobs(owner, states=OPEN))
        if waiting + num_jobs > FOR_A_VISITOR.open_jobs:
            raise BadSpec(f"a visitor may have {FOR_A_VISITOR.open_jobs} open jobs, but with this there would be "
                          f"{waiting + num_jobs}; wait, or remove some.")  # fmt: skip
        of_all = len(self._visitors_jobs(OPEN))
        if num_jobs and of_all + num_jobs > FOR_ALL_VISITORS.open_jobs:
            raise BadSpec(f"all visitors together may have {FOR_ALL_VISITORS.open_jobs} open jobs, but with this there "
                          f"would be {of_all + num_jobs}; try again later.")  # fmt: skip
        jobs_mb = sum(size_mb(self.jobs.folder / job.key) for job in self.jobs.jobs(owner, limit=-1))
        library = self.library(owner)
        kept_mb = library.size_mb() - size_mb(library.bin) + jobs_mb
        if kept_mb <= FOR_A_VISITOR.kept_mb < library.size_mb() + jobs_mb:
            library.empty_bin(0.0)  # what was deleted makes room
        if kept_mb > FOR_A_VISITOR.kept_mb:
            raise BadSpec(f"a visitor may keep {FOR_A_VISITOR.kept_mb:.0f} MB, but {kept_mb:.0f} MB are kept; download "
                          "and delete some motions or renders, and remove some jobs.")  # fmt: skip
        all_mb = sum(map(size_mb, (self._visitors, self.jobs.folder, self.uploads)))
        if all_mb > FOR_ALL_VISITORS.kept_mb:
            raise BadSpec(f"all visitors together may keep {FOR_ALL_VISITORS.kept_mb:.0f} MB, but {all_mb:.0f} MB are "
                          "kept; try again in some days.")  # fmt: skip

    def check_steps(self, spec: TuneSpec) -> None:
        """Sees that a job does not learn for longer than others can wait; where visitors are not told apart, any may.

        Raises:
            BadSpec: it does.
        """
        draws = spec.spatial_steps * spec.spatial_batch + spec.temporal_steps * spec.temporal_batch
        checks = spec.temporal_steps // spec.check_every if spec.check_every else 0
        draws += checks * CHECK_RENDERS * CHECK_STEPS
        if self.isolated and draws > MOST_DRAWS:
            raise BadSpec(f"a visitor's job may take {MOST_DRAWS} steps times batch, checks included, but this would "
                          f"be {draws}; choose fewer steps, smaller batches or rarer checks.")  # fmt: skip

    def greet(self, owner: str) -> None:
        """Notes that an owner has opened the page, whose library is therefore kept on."""
        if owner != EVERYBODY:
            with suppress(OSError):  # most have none yet
                os.utime(self._visitors / owner)

    def _visitors_jobs(self, states: Iterable[str]) -> list[Job]:
        """Jobs of all visitors; what was ordered before they were told apart is not theirs."""
        return [job for job in self.jobs.jobs(states=states, limit=-1) if job.owner != EVERYBODY]

    def _forget_old(self, owner: str) -> None:
        """Removes visitors' jobs and libraries that were left alone for long; the library of who asks stays.

        Other requests may be at the same.
        """
        now_s = time.time()
        for job in self._visitors_jobs((QUEUED, PAUSED)):
            if now_s - max(job.made_s, job.told_s or 0.0) > IDLE_JOB_SECONDS:
                with suppress(NoSuchJob):
                    self.jobs.cancel(job.key)
                    self.remove_job(job.key, job.owner)
        for job in self._visitors_jobs(ENDED):
            if now_s - (job.ended_s or 0.0) > ENDED_JOB_SECONDS:
                with suppress(NoSuchJob):
                    self.remove_job(job.key, job.owner)
        staying = {owner, *(job.owner for job in self._visitors_jobs(OPEN))}
        for folder in self._visitors.glob("*"):
            with suppress(FileNotFoundError):
                used_s = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
                if folder.name not in staying and now_s - used_s > VISITOR_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)

    def remove_job(self, key: str, owner: str) -> None:
        """Forgets an ended job, with its copy of the clip and its checkpoints. Motions and renders stay.

        Raises:
            NoSuchJob: it has not ended.
        """
        self.jobs.remove(key, owner)
        shutil.rmtree(self.jobs.folder / key, ignore_errors=True)

    def library(self, owner: str) -> Library:
        """An owner's motions and renders."""
        return Library(self._visitors / owner if owner else self.root, uploads=self.uploads)

    @property
    def _visitors(self) -> Path:
        """The folder of visitors' libraries."""
        return self.root / "visitors"
