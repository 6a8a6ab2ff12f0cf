"""Tuning that fits into memory: begins where the shapes say that it fits, and steps down where it does not after all.

Each rung of `model.checkpointing` takes less memory and more time than the one before, and none changes the result
beyond what two equal runs differ by: on the CPU nothing, on a GPU the order of its sums. So a tuning that runs out of
memory goes on from its last step with the next rung.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import torch

from motion_transfer.errors import NotEnoughMemory
from motion_transfer.methods.fym_tune import default_sparse_latents
from motion_transfer.model.base import VideoBase
from motion_transfer.model.checkpointing import ALL, RUNGS, checkpointed, num_checkpointed
from motion_transfer.model.footprint import lora_bytes, saved_bytes
from motion_transfer.model.memory import free_memory_bytes
from motion_transfer.model.wan_shapes import shape_of
from motion_transfer.transfer import Tuned, tune_work
from motion_transfer.types import Clip, Progress, RenderSpec, TuneSpec, TuneState, Work

MARGIN = 1.25  # of what the shapes say: allocators leave gaps, and the backward pass has numbers of its own
LEARNING = ("spatial", "temporal", "preview")
_HOW = {
    "alternate": "every second block is computed twice from here on, which takes less memory and more time",
    "all": "all blocks but the last are computed twice from here on, which takes the least memory, and half more time",
}
_NO_PREVIEWS = "it goes on without previews"


@dataclass(frozen=True, kw_only=True)
class _Try:
    """One way to do with less; `said` tells the person."""

    rung: str
    previews: bool
    said: str


def tuning_bytes(base: VideoBase, spec: TuneSpec, rung: str) -> int:
    """Memory that tuning needs beside the base's weights, by its shapes.

    Args:
        base: opened.
        spec: settings.
        rung: of checkpointing.
    """
    shape, itemsize = shape_of(base.transformer), base.dtype.itemsize
    num_again = num_checkpointed(shape.num_blocks, rung)
    sparse = spec.sparse_latents or default_sparse_latents(base.num_latents, base.frame_tokens)

    def kept(rows: int, frames: int) -> int:
        tokens = frames * base.frame_tokens
        whole = saved_bytes(shape, tokens, spec.rank, itemsize=itemsize)
        # When a checkpointed block is made anew, the last block, which never is one, has let go of what it kept.
        return rows * ((shape.num_blocks - num_again) * whole + num_again * tokens * shape.width * itemsize)

    stages = [kept(spec.temporal_batch, sparse)] + ([kept(spec.spatial_batch, 1)] if spec.spatial_steps else [])
    return max(stages) + 2 * lora_bytes(shape, spec.rank)


def first_rung(base: VideoBase, spec: TuneSpec, free_bytes: int) -> str:
    """The fastest rung that fits into the free memory with some margin; the last one if none does."""
    return next((rung for rung in RUNGS if MARGIN * tuning_bytes(base, spec, rung) <= free_bytes), ALL)


def _tries(first: str, has_previews: bool) -> Iterator[_Try]:
    for rung in RUNGS[RUNGS.index(first) :]:
        yield _Try(rung=rung, previews=has_previews, said=_HOW.get(rung, ""))
    if has_previews:
        yield _Try(rung=ALL, previews=False, said=_NO_PREVIEWS)


def tune_within_memory(
    base: VideoBase,
    clip: Clip,
    spec: TuneSpec,
    *,
    preview: RenderSpec | None = None,
    preview_every: int = 0,
    resume: TuneState | None = None,
    say: Callable[[str], None] | None = None,
) -> Work[Tuned]:
    """`transfer.tune_work` with as much checkpointing as memory asks for.

    Args:
        base: see `tune_work`, as are the others.
        clip: the reference.
        spec: settings.
        preview: how to render previews.
        preview_every: steps between previews.
        resume: where an earlier run stood.
        say: told in a sentence when it steps down.

    Raises:
        NotEnoughMemory: not even the last rung fits, or what comes before the first step does not.
    """
    has_previews = preview is not None and preview_every > 0
    tries = list(_tries(first_rung(base, spec, free_memory_bytes(base.device)), has_previews))
    for one, following in itertools.zip_longest(tries, tries[1:]):
        last, stood = Progress(stage="", step=0, total=0), None
        work = tune_work(base, clip, spec, preview=preview if one.previews else None, preview_every=preview_every,
                         resume=resume)  # fmt: skip
        try:
            with checkpointed(base.transformer, one.rung), closing(work):
                while True:
                    try:
                        last = next(work)
                    except StopIteration as end:
                        return end.value
                    stood = last.state or stood  # what a start along gradients tells of has none of its own
                    yield last
        except NotEnoughMemory:
            has_begun = last.heads is not None or last.stage in LEARNING
            if following is None or not has_begun:  # before the first step, no rung needs less
                raise
        gc.collect()  # by now nobody holds what the failed step had taken
        resume = stood() if stood is not None else resume
        if say is not None:
            when = f"after step {last.step} of the {last.stage} stage" if last.heads is None else "in the first step"
            say(f"memory ran out {when}; {following.said}.")
        del last, stood
        gc.collect()
        if base.device.type == "cuda":
            torch.cuda.empty_cache()
    raise AssertionError("the last try returns or raises")
