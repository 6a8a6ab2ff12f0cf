"""The folder that holds everything: one list of jobs, and a library for each owner."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from motion_transfer.errors import BadSpec, MotionTransferError
from motion_transfer.jobs.store import ENDED, OPEN, JobStore
from motion_transfer.library import Library, size_mb

EVERYBODY = ""  # owns all there is where visitors are not told apart
SHORTEST_TOKEN = 32


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one owner may take up of a shared machine.

    Attributes:
        open_jobs: that wait or run.
        kept_mb: of motions, renders and presets, and of the jobs' own files, which hold copies of the clips.
        job_seconds: for which an ended job is kept.
    """

    open_jobs: int
    kept_mb: float
    job_seconds: float


FOR_VISITORS = Limits(open_jobs=8, kept_mb=500.0, job_seconds=24 * 3600.0)


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
        limits, waiting = FOR_VISITORS, len(self.jobs.jobs(owner, states=OPEN))
        if waiting + num_jobs > limits.open_jobs:
            raise BadSpec(f"a visitor may have {limits.open_jobs} open jobs, but with this there would be "
                          f"{waiting + num_jobs}; wait, or remove some.")  # fmt: skip
        self._forget_old_jobs(owner, limits.job_seconds)
        jobs_mb = sum(size_mb(self.jobs.folder / job.key) for job in self.jobs.jobs(owner, limit=-1))
        kept_mb = self.library(owner).size_mb() + jobs_mb
        if kept_mb > limits.kept_mb:
            raise BadSpec(f"a visitor may keep {limits.kept_mb:.0f} MB, but {kept_mb:.0f} MB are kept; download and "
                          "delete some motions or renders, and remove some jobs.")  # fmt: skip

    def _forget_old_jobs(self, owner: str, seconds: float) -> None:
        for job in self.jobs.jobs(owner, states=ENDED, limit=-1):
            if time.time() - (job.ended_s or 0.0) > seconds:
                self.remove_job(job.key, owner)

    def remove_job(self, key: str, owner: str) -> None:
        """Forgets an ended job, with its copy of the clip and its checkpoints. Motions and renders stay.

        Raises:
            NoSuchJob: it has not ended.
        """
        self.jobs.remove(key, owner)
        shutil.rmtree(self.jobs.folder / key, ignore_errors=True)

    def library(self, owner: str) -> Library:
        """An owner's motions and renders."""
        return Library(self.root / "visitors" / owner if owner else self.root, uploads=self.uploads)
