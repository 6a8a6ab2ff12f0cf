"""Less memory for more arithmetic: blocks that keep nothing of a forward pass but what went in.

Gradient checkpointing (arXiv 1604.06174) runs a block forward once more in the backward pass. Nothing is
computed otherwise: on the CPU results stay the same to the bit, on a GPU as far as those of two equal runs do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from diffusers import WanTransformer3DModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from motion_transfer.model.attention import same_attention

NONE, ALTERNATE, ALL = RUNGS = ("none", "alternate", "all")  # by memory, the most first


def num_checkpointed(num_blocks: int, rung: str) -> int:
    """How many blocks a rung checkpoints. Never the last one, whose turn comes first: it would save nothing."""
    return {NONE: 0, ALTERNATE: num_blocks // 2, ALL: max(0, num_blocks - 1)}[rung]


def _chosen(transformer: WanTransformer3DModel, rung: str) -> set[nn.Module]:
    earlier = list(transformer.blocks)[:-1]
    return set(earlier[::-1][:: 2 if rung == ALTERNATE else 1]) if rung != NONE else set()


class _Checkpoints:
    """Runs blocks so that the chosen ones keep nothing but what went in.

    Args:
        chosen: of the transformer's blocks.
    """

    def __init__(self, chosen: set[nn.Module]) -> None:
        self.chosen = chosen

    def __call__(self, block: nn.Module, hidden: Tensor, *others: object) -> Tensor:
        if block not in self.chosen:
            return block(hidden, *others)
        # The second run must choose the same attention; by then nobody is there to say so but this.
        again = same_attention()
        return checkpoint(block, hidden, *others, use_reentrant=False, preserve_rng_state=False,
                          context_fn=lambda: (nullcontext(), again))  # fmt: skip


def now_checkpointed(transformer: WanTransformer3DModel) -> int:
    """How many blocks are checkpointed here and now."""
    run = transformer._gradient_checkpointing_func if transformer.is_gradient_checkpointing else None
    return len(run.chosen) if isinstance(run, _Checkpoints) else 0


@contextmanager
def checkpointed(transformer: WanTransformer3DModel, rung: str) -> Iterator[None]:
    """While open, passes with gradients checkpoint no block, every second one, or all.

    Args:
        transformer: without checkpointing of its own.
        rung: one of `RUNGS`.
    """
    chosen = _chosen(transformer, rung)
    if not chosen:
        yield
        return

    transformer.enable_gradient_checkpointing(gradient_checkpointing_func=_Checkpoints(chosen))
    try:
        yield
    finally:
        transformer.disable_gradient_checkpointing()
