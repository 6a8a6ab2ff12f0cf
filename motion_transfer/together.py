"""What several processes agree on when they learn or render one clip together: the base, its passes, their memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from motion_transfer.errors import BadSpec
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.memory import free_memory_bytes
from motion_transfer.ranks import Ranks


def check_sharding(ranks: Ranks, shard_weights: bool) -> None:
    """Refuses to divide weights among one.

    Raises:
        BadSpec: they are to be divided, and there is one process.
    """
    if shard_weights and ranks.count == 1:
        raise BadSpec("weights are divided among several processes, but there is one; start them by torchrun, or "
                      "leave --shard-weights out.")  # fmt: skip


def open_together(
    ranks: Ranks, name: str, *, precision: str, device: str | None, shard_weights: bool = False
) -> VideoBase:
    """Opens a base, which all ranks do at the same moment; see `open_base` and `open_sharded`.

    Args:
        ranks: that will share its passes.
        name: catalog name or folder of the base.
        precision: of its weights.
        device: of this process, where the launcher leaves that open.
        shard_weights: each process holds its part of the transformer's weights.
    """
    if ranks.count == 1:
        return open_base(name, precision=precision, device=device)
    from motion_transfer.model.sharded import by_first_rank, open_sharded  # which takes a while

    place = torch.device(ranks.device or device or "cpu")
    if shard_weights:
        return open_sharded(name, precision=precision, device=place, mesh=ranks.mesh, same=ranks.same)
    base = ranks.in_turn(lambda: open_base(name, precision=precision, device=str(place)))
    return by_first_rank(base, place, ranks.same)


def passes_shared(ranks: Ranks, base: VideoBase) -> AbstractContextManager[None]:
    """While open, the ranks share every pass through the base's network; nothing for one alone."""
    if ranks.count == 1:
        return nullcontext()
    from motion_transfer.model.context_parallel import shared_tokens  # which takes a while

    return shared_tokens(base.transformer, ranks.mesh)


def least_free_bytes(ranks: Ranks, base: VideoBase) -> int | None:
    """The memory that every rank's device has free, so that all choose alike; None for one alone."""
    return None if ranks.count == 1 else min(ranks.of_all(free_memory_bytes(base.device)))
