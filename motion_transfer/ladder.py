"""Work that fits into memory: begins where the shapes say that it fits, and steps down where it does not after all.

Each rung takes less memory and more time than the one before, and none changes the result beyond what two equal runs
differ by: on the CPU nothing but, where guidance's rows go apart, the order of sums; on a GPU that. Tuning has those of
`model.checkpointing`, and goes on from its last step with the next one; a render begins anew. On a GPU, the last rung
of both lets weights visit it (`model.offload`). Only where a check has no room even so, none are made any more, and a
long tuning goes on to its last step.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import torch

from motion_transfer.errors import NotEnoughMemory
from motion_transfer.model.base import VideoBase
from motion_transfer.model.checkpointing import ALL, RUNGS, checkpointed
from motion_transfer.model.memory import free_memory_bytes
from motion_transfer.model.offload import VISITING, bring_home, can_visit, weights_visiting
from motion_transfer.model.rows_apart import rows_apart
from motion_transfer.planner import (
    APART,
    LEARNING_RUNGS,
    MARGIN,
    RENDERING_RUNGS,
    TOGETHER,
    checkpointing,
    learning_bytes,
    rendering_bytes,
    size_of,
    tuning_bytes,
)
from motion_transfer.transfer import Tuned, render_work, tune_work
from motion_transfer.types import Clip, Lora, Progress, RenderSpec, TuneSpec, TuneState, Work

ENCODE, PREVIEW, CHECK = "encode", "preview", "check"
LEARNING = ("spatial", "temporal", PREVIEW, CHECK)
_HOW = {
    "alternate": "every second block is computed twice from here on, which takes less memory and more time",
    "all": "all blocks but the last are computed twice from here on, which takes the least memory, and half more time",
    APART: "what guidance compares is computed one after the other from here on, which takes less memory",
    VISITING: "the base's weights visit the GPU block by block from here on, which takes the least memory, and longer",
}
_VISITING = "memory has no room for the base and this work at once, so its weights visit the GPU block by block."
_NO_PREVIEWS, _NO_CHECKS = "it goes on without previews", "it goes on without checks, to its last step"


@dataclass(frozen=True, kw_only=True)
class _Try:
    """One way to do with less; `said` tells the person."""

    rung: str
    previews: bool = True
    checks: bool = True
    said: str = ""


def first_rung(base: VideoBase, spec: TuneSpec, free_bytes: int, rungs: Sequence[str] = RUNGS) -> str:
    """The fastest rung that fits into the free memory with some margin; the last one if none does."""
    size, itemsize = size_of(base), base.dtype.itemsize
    if rungs[-1] == VISITING and MARGIN * tuning_bytes(size, spec, ALL, itemsize=itemsize) > free_bytes:
        return VISITING
    fitting = (r for r in RUNGS if MARGIN * learning_bytes(size, spec, r, itemsize=itemsize) <= free_bytes)
    return next(fitting, ALL)


def first_rendering_rung(base: VideoBase, free_bytes: int, rungs: Sequence[str]) -> str:
    """Likewise of a render. On a CPU always the first, for short of memory it rather ends the program than says so."""
    if base.device.type == "cpu":
        return rungs[0]
    size, itemsize = size_of(base), base.dtype.itemsize
    fitting = (r for r in rungs if MARGIN * rendering_bytes(size, r, itemsize=itemsize) <= free_bytes)
    return next(fitting, rungs[-1])


def _rungs(base: VideoBase, rungs: Sequence[str], is_shared: bool) -> tuple[str, ...]:
    """Those of some rungs that this base's device has a use for; of processes that share work, no weights visit."""
    visits = not is_shared and can_visit(base.transformer, base.device)
    return tuple(rung for rung in rungs if rung != VISITING or visits)


def _following(last: _Try, failed: Progress, rungs: Sequence[str]) -> _Try | None:
    """What to try next.

    Checkpointing is of no use to renders, nor to what comes before the first step. So where a preview fails, no more
    are made; all else lets weights visit first, and where a check fails even so, no more are made.
    """
    if failed.stage == PREVIEW:
        return replace(last, previews=False, said=_NO_PREVIEWS)
    learns = failed.heads is not None or (failed.stage in LEARNING and failed.stage != CHECK)
    rest = rungs[rungs.index(last.rung) + 1 :]
    rung = next((one for one in rest if learns or one == VISITING), None)
    if rung is not None:
        return replace(last, rung=rung, said=_HOW[rung])
    return replace(last, checks=False, said=_NO_CHECKS) if failed.stage == CHECK else None


@contextmanager
def _learning_on(base: VideoBase, rung: str) -> Iterator[None]:
    with ExitStack() as stack:
        if rung == VISITING:
            stack.enter_context(weights_visiting(base.transformer, base.device))
        stack.enter_context(checkpointed(base.transformer, checkpointing(rung)))
        yield


@contextmanager
def _rendering_on(base: VideoBase, rung: str) -> Iterator[None]:
    with ExitStack() as stack:
        if rung == VISITING:
            stack.enter_context(weights_visiting(base.transformer, base.device))
        if rung != TOGETHER:
            stack.enter_context(rows_apart(base))
        yield


def _let_go(base: VideoBase) -> None:
    """Gives back what a failed try had taken; by now nobody holds it."""
    gc.collect()
    if base.device.type == "cuda":
        torch.cuda.empty_cache()


def tune_within_memory(
    base: VideoBase,
    clip: Clip,
    spec: TuneSpec,
    *,
    preview: RenderSpec | None = None,
    preview_every: int = 0,
    resume: TuneState | None = None,
    shared_bytes: int | None = None,
) -> Work[Tuned]:
    """`transfer.tune_work` with as much checkpointing as memory asks for; a note says where it steps down.

    Args:
        base: see `tune_work`, as are the others.
        clip: the reference.
        spec: settings.
        preview: how to render previews.
        preview_every: steps between previews.
        resume: where an earlier run stood.
        shared_bytes: memory that each of several processes that share the work has free. They choose alike by it, no
            weights visit, and nothing steps down, for it would in one of them alone; None for a process alone.

    Raises:
        NotEnoughMemory: not even the last rung fits.
    """
    is_shared = shared_bytes is not None
    bring_home(base.transformer)
    rungs = _rungs(base, LEARNING_RUNGS, is_shared)
    free_bytes = free_memory_bytes(base.device) if shared_bytes is None else shared_bytes
    one = _Try(rung=first_rung(base, spec, free_bytes, rungs))
    if one.rung == VISITING:
        yield Progress(stage=ENCODE, step=0, total=0, note=_VISITING)
    lost_s: Counter[str] = Counter()  # in tries that ended early, by stage
    while True:
        last, stood = Progress(stage=ENCODE, step=0, total=0), None
        begin_s, took_s = time.monotonic(), Counter[str]()
        work = tune_work(base, clip, spec, preview=preview if one.previews else None, preview_every=preview_every,
                         checks=one.checks, resume=resume)  # fmt: skip
        try:
            with _learning_on(base, one.rung), closing(work):
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
            following = _following(one, last, rungs)
            if is_shared or following is None:
                raise
        gc.collect()  # before the state is taken down
        resume = stood() if stood is not None else resume
        lost_s += took_s
        when = f"after step {last.step} of the {last.stage} stage"
        when = f"in a {last.stage}" if last.stage in (PREVIEW, CHECK) else when
        when = when if last.heads is None else "in the first step"
        when = "before the first step" if last.stage == ENCODE else when
        stage, step, total = last.stage, last.step, last.total
        del last, stood
        _let_go(base)
        yield Progress(stage=stage, step=step, total=total, note=f"memory ran out {when}; {following.said}.")
        one = following


def _with_lost(tuned: Tuned, lost_s: Counter[str]) -> Tuned:
    """What was learned, with the time of the tries before counted in."""
    return replace(tuned, seconds={stage: seconds + lost_s[stage] for stage, seconds in tuned.seconds.items()})


def _rendering_rungs(base: VideoBase, spec: RenderSpec, is_shared: bool) -> tuple[str, ...]:
    is_guided = max(spec.guidance, spec.early_guidance) > 1
    return tuple(rung for rung in _rungs(base, RENDERING_RUNGS, is_shared) if rung != APART or is_guided)


def render_within_memory(
    base: VideoBase, lora: Lora | None, spec: RenderSpec, *, shared_bytes: int | None = None
) -> Work[Clip]:
    """`transfer.render_work` with as little at once as memory asks for; a note says where it begins again.

    Args:
        base: see `render_work`, as are the others.
        lora: a motion, or none.
        spec: settings; they stay what they are.
        shared_bytes: see `tune_within_memory`.

    Raises:
        WrongBase: the LoRA was made for another base, or another version of it.
        NotEnoughMemory: not even the last rung fits.
    """
    is_shared = shared_bytes is not None
    bring_home(base.transformer)
    rungs = _rendering_rungs(base, spec, is_shared)
    free_bytes = free_memory_bytes(base.device) if shared_bytes is None else shared_bytes
    rung = first_rendering_rung(base, free_bytes, rungs)
    if rung == VISITING:
        yield Progress(stage="render", step=0, total=spec.steps, note=_VISITING)
    while True:
        last, work = Progress(stage="render", step=0, total=spec.steps), render_work(base, lora, spec)
        try:
            with _rendering_on(base, rung), closing(work):
                while True:
                    try:
                        last = next(work)
                    except StopIteration as end:
                        return end.value
                    yield last
        except NotEnoughMemory:
            rest = rungs[rungs.index(rung) + 1 :]
            decodes = last.step == last.total  # guidance is over by then
            following = next((one for one in rest if one == VISITING or not decodes), None)
            if is_shared or following is None:
                raise
        _let_go(base)
        when = "while latents became pixels" if decodes else f"after step {last.step} of the render"
        note = f"memory ran out {when}; the render begins again, and {_HOW[following]}."
        yield Progress(stage="render", step=0, total=spec.steps, note=note)
        rung = following
