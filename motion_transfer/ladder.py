"""Tuning that fits into memory: begins where the shapes say that it fits, and steps down where it does not after all.

Each rung of `model.checkpointing` takes less memory and more time than the one before, and none changes the result
beyond what two equal runs differ by: on the CPU nothing, on a GPU the order of its sums. So a tuning that runs out of
memory goes on from its last step with the next rung. Only where a check has no room, none are made any more, and a long
tuning goes on to its last step.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace

import torch

from motion_transfer.errors import NotEnoughMemory
from motion_transfer.model.base import VideoBase
from motion_transfer.model.checkpointing import ALL, RUNGS, checkpointed
from motion_transfer.model.memory import free_memory_bytes
from motion_transfer.planner import MARGIN, learning_bytes, size_of
from motion_transfer.transfer import Tuned, tune_work
from motion_transfer.types import Clip, Progress, RenderSpec, TuneSpec, TuneState, Work

PREVIEW, CHECK = "preview", "check"
LEARNING = ("spatial", "temporal", PREVIEW, CHECK)
_HOW = {
    "alternate": "every second block is computed twice from here on, which takes less memory and more time",
    "all": "all blocks but the last are computed twice from here on, which takes the least memory, and half more time",
}
_NO_PREVIEWS, _NO_CHECKS = "it goes on without previews", "it goes on without checks, to its last step"


@dataclass(frozen=True, kw_only=True)
class _Try:
    """One way to do with less; `said` tells the person."""

    rung: str
    previews: bool = True
    checks: bool = True
    said: str = ""


def first_rung(base: VideoBase, spec: TuneSpec, free_bytes: int) -> str:
    """The fastest rung that fits into the free memory with some margin; the last one if none does."""
    size, itemsize = size_of(base), base.dtype.itemsize
    fitting = (r for r in RUNGS if MARGIN * learning_bytes(size, spec, r, itemsize=itemsize) <= free_bytes)
    return next(fitting, ALL)


def _following(last: _Try, failed_in: str) -> _Try | None:
    """What to try next: renders have no use for checkpointing, so where one fails, no more of its kind are made."""
    if failed_in == PREVIEW:
        return replace(last, previews=False, said=_NO_PREVIEWS)
    if failed_in == CHECK:
        return replace(last, checks=False, said=_NO_CHECKS)
    if last.rung == RUNGS[-1]:
        return None
    rung = RUNGS[RUNGS.index(last.rung) + 1]
    return replace(last, rung=rung, said=_HOW[rung])


def tune_within_memory(
    base: VideoBase,
    clip: Clip,
    spec: TuneSpec,
    *,
    preview: RenderSpec | None = None,
    preview_every: int = 0,
    resume: TuneState | None = None,
    rung: str | None = None,
) -> Work[Tuned]:
    """`transfer.tune_work` with as much checkpointing as memory asks for; a note says where it steps down.

    Args:
        base: see `tune_work`, as are the others.
        clip: the reference.
        spec: settings.
        preview: how to render previews.
        preview_every: steps between previews.
        resume: where an earlier run stood.
        rung: of checkpointing, where several processes that share the work must choose alike; then nothing steps down,
            for it would in one of them alone.

    Raises:
        NotEnoughMemory: not even the last rung fits, or what comes before the first step does not.
    """
    one = _Try(rung=rung or first_rung(base, spec, free_memory_bytes(base.device)))
    lost_s: Counter[str] = Counter()  # in tries that ended early, by stage
    while True:
        last, stood = Progress(stage="", step=0, total=0), None
        begin_s, took_s = time.monotonic(), Counter[str]()
        work = tune_work(base, clip, spec, preview=preview if one.previews else None, preview_every=preview_every,
                         checks=one.checks, resume=resume)  # fmt: skip
        try:
            with checkpointed(base.transformer, one.rung), closing(work):
                while True:
                    try:
                        last = next(work)
                    except StopIteration as end:
                        return _with_lost(end.value, lost_s)
                    now_s = time.monotonic()
                    took_s["temporal" if last.stage in (PREVIEW, CHECK) else last.stage] += now_s - begin_s
                    begin_s = now_s
                    stood = last.state or stood  # what a start along gradients tells of has none of its own
                    yield last
        except NotEnoughMemory:
            has_begun = last.heads is not None or last.stage in LEARNING
            following = _following(one, last.stage)
            if rung is not None or following is None or not has_begun:  # before the first step, no rung needs less
                raise
        gc.collect()  # by now nobody holds what the failed step had taken
        resume = stood() if stood is not None else resume
        lost_s += took_s
        when = f"after step {last.step} of the {last.stage} stage"
        when = f"in a {last.stage}" if last.stage in (PREVIEW, CHECK) else when
        when = when if last.heads is None else "in the first step"
        stage, step, total = last.stage, last.step, last.total
        del last, stood
        gc.collect()
        if base.device.type == "cuda":
            torch.cuda.empty_cache()
        yield Progress(stage=stage, step=step, total=total, note=f"memory ran out {when}; {following.said}.")
        one = following


def _with_lost(tuned: Tuned, lost_s: Counter[str]) -> Tuned:
    """What was learned, with the time of the tries before counted in."""
    return replace(tuned, seconds={stage: seconds + lost_s[stage] for stage, seconds in tuned.seconds.items()})
