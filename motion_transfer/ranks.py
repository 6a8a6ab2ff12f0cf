"""Several processes that share one piece of work, as `accelerate launch` or `torchrun` starts them.

On one machine or on many that see the same files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import PartialState

Item = TypeVar("Item")


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
    has_gpu = torch.cuda.is_available()
    state = PartialState(cpu=not has_gpu)
    return Ranks(rank=state.process_index, count=state.num_processes, device=str(state.device) if has_gpu else None,
                 wait=state.wait_for_everyone)  # fmt: skip
