"""Jobs in slices, where a GPU is lent for a minute at a time: a slice ends, its job waits, the next slice goes on.

On a Hugging Face Space with lent GPUs (ZeroGPU), a function gets one while it runs, in a process forked for it, and on
the quota of the visitor whose request it answers. So there is no worker process: a visitor's open page asks for slice
after slice. Between slices everything lies on disk, as it does when a worker is stopped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from motion_transfer.jobs.estimates import estimate_rendering, estimate_tuning
from motion_transfer.jobs.orders import RENDER, RenderOrder, TuneOrder, from_json
from motion_transfer.jobs.store import FAILED, QUEUED, Job
from motion_transfer.jobs.worker import KINDS, Worker
from motion_transfer.model.catalog import find_base
from motion_transfer.pipeline import Studio
from motion_transfer.workspace import Workspace

SLICE_S = 50.0
RENDER_SLICE_S = 110.0  # a render has no checkpoints: it has to fit
SHORTEST_SLICE_S = 20.0
RESERVE = 1.3  # times the estimate: a slice that is a little short costs a whole new one
MOST_TRIES = 3
MOST_LETTERS = 300  # of what the lender says
NOT_LENT = "a GPU should be lent for this, but is not now ({reason}); continue the job later."
LEAVING_S = 8.0  # kept back for the last step and the checkpoint

Lend = Callable[..., Callable[..., Any]]  # `spaces.GPU`


def slice_seconds(root: str, base: str, precision: str, owner: str) -> float:
    """How long the owner's next slice is to be: as long as the job will take, for asking for more costs a longer wait.

    A render that did not fit gets the longest; so does a job of which nothing is known.
    """
    workspace = Workspace(Path(root), isolated=True)
    job = waiting(workspace, owner)
    if job is None:
        return SHORTEST_SLICE_S
    longest = RENDER_SLICE_S if job.kind == RENDER else SLICE_S
    expected = None if job.tries and job.kind == RENDER else _expected(workspace.jobs.jobs(), job, base, precision)
    if expected is None:
        return longest
    return min(longest, max(SHORTEST_SLICE_S, expected * RESERVE + LEAVING_S))


def _expected(past: Sequence[Job], job: Job, base: str, precision: str) -> float | None:
    """Seconds that a queued job will take, by those before it; None where they can't tell."""
    found = find_base(base)
    if job.kind == RENDER:
        return estimate_rendering(past, found, precision, from_json(RenderOrder, job.orders).spec).seconds
    return estimate_tuning(past, found, precision, from_json(TuneOrder, job.orders).spec).seconds


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
        studio = Studio(base=base, precision=precision, workspace=workspace.root)
        return Worker(workspace, studio, leaving).work(owner)
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
        workspace.jobs.queue_orphans(KINDS)  # of a server that was ended; no slice outlives it

    def work(self, owner: str) -> bool:
        """A slice for the owner's first queued job; False if there is none, or if one of theirs is under way.

        Where no GPU is lent, as when a quota is used up, the owner's jobs are laid aside and say why.
        """
        with self._lock:
            if owner in self._busy or waiting(self._workspace, owner) is None:
                return False
            self._busy.add(owner)
        jobs = self._workspace.jobs
        try:
            return self._gave_up(owner) or bool(self._work(*self._asked, owner))
        except Exception as error:
            logging.getLogger(__name__).warning("no slice for a job", exc_info=error)
            if jobs.queue_orphans(KINDS, owner):  # it was lent, and taken back early
                return True
            for job in jobs.jobs(owner, states=(QUEUED,)):
                jobs.pause(job.key, owner, NOT_LENT.format(reason=str(error)[:MOST_LETTERS] or type(error).__name__))
            return False
        finally:
            jobs.queue_orphans(KINDS, owner)  # of a slice that was cut off
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
