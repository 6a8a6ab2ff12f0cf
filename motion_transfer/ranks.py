"""Several processes that share one piece of work, as `accelerate launch` or `torchrun` starts them.

On one machine or on many. Those of a benchmark see the same files; those that share one motion are told what the first
one reads.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TypeVar

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from motion_transfer.errors import BadSpec, MotionTransferError

Item = TypeVar("Item")
LONGEST_WAIT = timedelta(days=30)  # for the slowest process; where one fails, its launcher ends them all
LONGEST_STEP = timedelta(minutes=20)  # that one process does alone while the others wait: a codec or text encoder
_FAILURES = "motion_transfer/failures"
# What libraries say where another process is gone: gloo, NCCL and the store behind them.
_LOST = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "Timed out", "TCPStore")


class LostRank(MotionTransferError):
    """Another process of those that share the work is gone, or does not answer."""


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

    def same(self, compute: Callable[[], Item]) -> Item:
        """What the first process computes, which all get; it travels pickled, so no tensor of it may be on a GPU."""
        if self.count == 1:
            return compute()
        found: list[Item | None] = [compute() if self.is_first else None]
        distributed.broadcast_object_list(found, src=0, device=torch.device("cpu"))
        return found[0]  # type: ignore[return-value]

    def of_all(self, value: Item) -> list[Item]:
        """Every process's value, by rank."""
        if self.count == 1:
            return [value]
        found: list[Item] = [value] * self.count
        distributed.all_gather_object(found, value)
        return found

    def in_turn(self, work: Callable[[], Item]) -> Item:
        """The processes of each machine do it one after another: what it takes of the memory is taken once."""
        found: list[Item] = []
        turns = int(os.environ.get("LOCAL_WORLD_SIZE", self.count))
        for turn in range(max(self.of_all(turns))):
            if turn == int(os.environ.get("LOCAL_RANK", self.rank)):
                found.append(work())
            self.wait()
        return found[0]

    @cached_property
    def mesh(self) -> DeviceMesh:
        """All processes with their devices, for tensors that are shared."""
        return init_device_mesh("cuda" if self.device else "cpu", (self.count,))


ALONE = Ranks()


def _is_launched() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def ranks_here() -> Ranks:
    """As the launcher has set the environment; one process alone without a launcher."""
    if not _is_launched():
        return ALONE
    if not distributed.is_initialized():  # gloo, for all that is exchanged is that somebody is done
        distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else None
    return Ranks(rank=distributed.get_rank(), count=distributed.get_world_size(), device=device,
                 wait=distributed.barrier)  # fmt: skip


def speaks() -> bool:
    """Whether this process tells a person of an error: the one that meets it; the first of all that start alike."""
    return distributed.is_initialized() or os.environ.get("RANK", "0") == "0"


@contextmanager
def joined() -> Iterator[Ranks]:
    """While open, the launcher's processes work on one thing together; one process alone without a launcher.

    An error in one ends all: the first that meets one says so, and those that then miss it end in silence.

    Raises:
        BadSpec: there are fewer GPUs than processes, or unequal ones.
        LostRank: another process is gone without a word.
    """
    if not _is_launched():
        yield ALONE
        return
    store = _meet()
    try:
        yield _placed(distributed.get_rank(), distributed.get_world_size())
    except Exception as error:
        if _is_told(store):
            raise SystemExit(2) from None
        if isinstance(error, RuntimeError) and any(words in str(error) for words in _LOST):
            minutes = LONGEST_STEP.seconds // 60
            raise LostRank(f"several processes share this, but one of them is gone or has not answered for {minutes} "
                           "minutes; see what it said, and start them all again.") from error  # fmt: skip
        raise
    distributed.destroy_process_group()


def _leave() -> None:
    """Ends gloo's threads: a process that exits while they are at work may abort. NCCL's would wait for the others."""
    if distributed.is_initialized() and not torch.cuda.is_available():
        with suppress(RuntimeError):
            distributed.destroy_process_group()


def _meet() -> distributed.Store:
    """Waits until all processes are there; gives the store that all of them see.

    Raises:
        LostRank: they don't find each other.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, rank, count = next(distributed.rendezvous("env://", timeout=LONGEST_STEP))
        distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=LONGEST_STEP)
        atexit.register(_leave)
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise LostRank(f"{os.environ['WORLD_SIZE']} processes are to share this, but they don't find each other "
                       f"({reason}); start all of them by torchrun or accelerate launch.") from error  # fmt: skip
    return store


def _is_told(store: distributed.Store) -> bool:
    """Whether another process has told of an error before; from now on, one has."""
    try:
        return store.add(_FAILURES, 1) > 1
    except RuntimeError:  # it went down with the process that kept it
        return False


def _placed(rank: int, count: int) -> Ranks:
    """This process on its own GPU, or on the CPU where there is none."""

    def wait() -> None:
        distributed.all_gather_object([None] * count, None)  # over gloo; a barrier would be one of GPUs

    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else None
    ranks = Ranks(rank=rank, count=count, device=device, wait=wait)
    if device is not None:
        here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
        if here > gpus:
            raise BadSpec(f"every process needs a GPU of its own, but {here} processes were started beside {gpus}; "
                          "start fewer by --nproc-per-node.")  # fmt: skip
        torch.cuda.set_device(device)
    names = ranks.of_all(torch.cuda.get_device_name(device) if device else "CPU")
    if len(set(names)) > 1:  # whose last bits differ, and so in time what each has learned
        raise BadSpec(f"one motion is shared by equal devices, but these are {', '.join(sorted(set(names)))}; start "
                      "the processes on equal ones.")  # fmt: skip
    return ranks
