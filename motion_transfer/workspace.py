"""The folder that holds everything: one list of jobs, and a library for each owner."""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import suppress
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
    """What one owner, or all of them together, may take up of a shared machine.

    Attributes:
        open_jobs: that wait or run.
        kept_mb: of motions, renders and presets, and of the jobs' own files, which hold copies of the clips.
    """

    open_jobs: int
    kept_mb: float


FOR_A_VISITOR = Limits(open_jobs=8, kept_mb=500.0)
FOR_ALL_VISITORS = Limits(open_jobs=64, kept_mb=20_000.0)  # tokens cost nothing: whoever makes many stays within this
JOB_SECONDS = 24 * 3600.0  # for which a visitor's ended job is kept
VISITOR_SECONDS = 7 * 24 * 3600.0  # for which the library of a visitor is kept who changes nothing in it


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
        waiting = len(self.jobs.jobs(owner, states=OPEN))
        if waiting + num_jobs > FOR_A_VISITOR.open_jobs:
            raise BadSpec(f"a visitor may have {FOR_A_VISITOR.open_jobs} open jobs, but with this there would be "
                          f"{waiting + num_jobs}; wait, or remove some.")  # fmt: skip
        if num_jobs and len(self.jobs.jobs(states=OPEN, limit=-1)) + num_jobs > FOR_ALL_VISITORS.open_jobs:
            raise BadSpec(f"this machine takes {FOR_ALL_VISITORS.open_jobs} open jobs of all its visitors, but has as "
                          "many; try again later.")  # fmt: skip
        self._forget_old()
        jobs_mb = sum(size_mb(self.jobs.folder / job.key) for job in self.jobs.jobs(owner, limit=-1))
        kept_mb = self.library(owner).size_mb() + jobs_mb
        if kept_mb > FOR_A_VISITOR.kept_mb:
            raise BadSpec(f"a visitor may keep {FOR_A_VISITOR.kept_mb:.0f} MB, but {kept_mb:.0f} MB are kept; download "
                          "and delete some motions or renders, and remove some jobs.")  # fmt: skip
        all_mb = size_mb(self._visitors) + size_mb(self.jobs.folder)
        if all_mb > FOR_ALL_VISITORS.kept_mb:
            raise BadSpec(f"this machine keeps {FOR_ALL_VISITORS.kept_mb:.0f} MB of all its visitors, but has "
                          f"{all_mb:.0f} MB; try again in some days.")  # fmt: skip

    def _forget_old(self) -> None:
        """Removes visitors' jobs that ended long ago, and libraries in which nothing was changed for long."""
        now_s = time.time()
        for job in self.jobs.jobs(states=ENDED, limit=-1):
            if now_s - (job.ended_s or 0.0) > JOB_SECONDS:
                self.remove_job(job.key, job.owner)
        at_work = {job.owner for job in self.jobs.jobs(states=OPEN, limit=-1)}
        for folder in self._visitors.glob("*"):
            with suppress(FileNotFoundError):  # another request may be at it
                changed_s = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
                if folder.name not in at_work and now_s - changed_s > VISITOR_SECONDS:
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
