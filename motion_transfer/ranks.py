"""Several processes that share one piece of work, as `accelerate launch` or `torchrun` starts them.

On one machine or on many that see the same files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

Item = TypeVar("Item")
LONGEST_WAIT = timedelta(days=30)  # for the slowest process; where one fails, its launcher ends them all


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """One of `count` processes; the first has rank 0.

    Attributes:
        rank: of this process.
        count: of all.
        device: where this one computes; None for the usual one.
        wait: returns when all have called it.
    """

    rank: int = 0
    count: int = 1
    device: str | None = None
    wait: Callable[[], None] = _nothing

    @property
    def is_first(self) -> bool:
        """Whether this one does what is done once."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This process's part: one item of every `count`."""
        return list(items[self.rank :: self.count])


ALONE = Ranks()


def ranks_here() -> Ranks:
    """As the launcher has set the environment; one process alone without a launcher."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return ALONE
    if not distributed.is_initialized():  # gloo, for all that is exchanged is that somebody is done
        distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else None
    return Ranks(rank=distributed.get_rank(), count=distributed.get_world_size(), device=device,
                 wait=distributed.barrier)  # fmt: skip
