"""Which devices' workers are at a workspace's jobs: each holds a lock that the system gives back however it ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from motion_transfer.errors import StorageFailed

WAIT_ALONE_S = 10.0  # for the worker before to keep its state and leave


def _is_free(lock: Path) -> bool:
    """Whether no worker holds a lock."""
    with closing(sqlite3.connect(lock, timeout=0.0, isolation_level=None)) as db:
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
    return True


class Attendance:
    """The workers at the jobs of a folder.

    Args:
        folder: where their locks lie, one a device.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _lock(self, device: str) -> Path:
        return self.folder / (f"worker-{device.replace(':', '-')}.sqlite" if device else "worker.sqlite")

    @contextmanager
    def alone(self, device: str = "") -> Iterator[None]:
        """While open, no other worker of this device can enter; given up when the process ends, however it does.

        Raises:
            StorageFailed: another worker of this device is at these jobs.
        """
        lock = sqlite3.connect(self._lock(device), timeout=WAIT_ALONE_S, isolation_level=None)
        with closing(lock):
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                raise StorageFailed(
                    f"one worker of a device at a time works in {self.folder}, but another one is there; close the "
                    "other window of this program, or choose another --workspace."
                ) from error
            yield

    def is_free(self, device: str) -> bool:
        """Whether no worker of this device is at these jobs."""
        return _is_free(self._lock(device))

    def any(self) -> bool:
        """Whether any worker is at these jobs."""
        return not all(_is_free(lock) for lock in self.folder.glob("worker*.sqlite"))
