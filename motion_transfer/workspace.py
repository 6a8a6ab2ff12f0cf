"""The folder that holds everything: one list of jobs, and a library for each owner."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from motion_transfer.errors import MotionTransferError
from motion_transfer.jobs.store import JobStore
from motion_transfer.library import Library

EVERYBODY = ""  # owns all there is where visitors are not told apart
SHORTEST_TOKEN = 32


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

    def library(self, owner: str) -> Library:
        """An owner's motions and renders."""
        return Library(self.root / "visitors" / owner if owner else self.root, uploads=self.uploads)
