"""Jobs in slices, where a GPU is lent for a minute at a time: a slice ends, its job waits, the next slice goes on.

On a Hugging Face Space with lent GPUs (ZeroGPU), a function gets one while it runs, in a process forked for it, and on
the quota of the visitor whose request it answers. So there is no worker process: a visitor's open page asks for slice
after slice. Between slices everything lies on disk, as it does when a worker is stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from motion_transfer.jobs.orders import RENDER
from motion_transfer.jobs.store import FAILED, QUEUED, Job
from motion_transfer.jobs.worker import KINDS, Worker
from motion_transfer.pipeline import Studio
from motion_transfer.workspace import Workspace

SLICE_S = 50.0
RENDER_SLICE_S = 110.0  # a render has no checkpoints: it has to fit
MOST_TRIES = 3
LEAVING_S = 8.0  # kept back for the last step and the checkpoint

Lend = Callable[..., Callable[..., Any]]  # `spaces.GPU`


def slice_seconds(root: str, base: str, precision: str, owner: str) -> float:
    """How long the owner's next slice is to be."""
    job = waiting(Workspace(Path(root), isolated=True), owner)
    return RENDER_SLICE_S if job is not None and job.kind == RENDER else SLICE_S


def work_a_slice(root: str, base: str, precision: str, owner: str) -> bool:
    """Works on the owner's first queued job for a slice; False if there was none.

    Args:
        root: folder of the workspace.
        base: name of the base.
        precision: of its weights.
        owner: whose job.
    """
    leaving = threading.Event()
    seconds = slice_seconds(root, base, precision, owner) - LEAVING_S
    clock = threading.Timer(seconds, leaving.set)
    clock.daemon = True
    clock.start()
    try:
        workspace = Workspace(Path(root), isolated=True)
        return Worker(workspace, Studio(base=base, precision=precision), leaving).work(owner)
    finally:
        clock.cancel()


def waiting(workspace: Workspace, owner: str) -> Job | None:
    """The owner's first queued job."""
    return next(iter(workspace.jobs.jobs(owner, states=(QUEUED,))), None)


class Slices:
    """Works on visitors' jobs while their pages ask for it.

    Args:
        workspace: of the jobs.
        base: that they use.
        precision: of its weights.
        lend: makes a function one that has a GPU while it runs; takes `duration`.
    """

    def __init__(self, workspace: Workspace, base: str, precision: str, lend: Lend) -> None:
        self._workspace, self._asked = workspace, (str(workspace.root), base, precision)
        self._work = lend(duration=slice_seconds)(work_a_slice)
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def work(self, owner: str) -> bool:
        """A slice for the owner's first queued job; False if there is none, or if one of theirs is under way."""
        with self._lock:
            if owner in self._busy or waiting(self._workspace, owner) is None:
                return False
            self._busy.add(owner)
        try:
            return self._gave_up(owner) or bool(self._work(*self._asked, owner))
        finally:
            self._workspace.jobs.queue_orphans(KINDS, owner)  # of a slice that was cut off
            with self._lock:
                self._busy.discard(owner)

    def _gave_up(self, owner: str) -> bool:
        """Ends a render that did not fit into several slices."""
        jobs, job = self._workspace.jobs, waiting(self._workspace, owner)
        if job is None or job.kind != RENDER or job.tries < MOST_TRIES:
            return False
        taken = jobs.take((RENDER,), owner)
        if taken is not None:
            note = (f"a render should fit into {RENDER_SLICE_S:.0f} s of the lent GPU, but this one does not; choose "
                    "fewer steps, or run the program on a GPU of your own.")  # fmt: skip
            jobs.end(taken.key, FAILED, note=note)
        return True
