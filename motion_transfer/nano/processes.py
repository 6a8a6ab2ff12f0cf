"""Several training processes as one: on small CPUs, two processes of one thread beat one of two.

Start with `torchrun --nproc-per-node 2 -m motion_transfer.nano ...`; alone, everything here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn


def process_rank() -> int:
    """This process's number; joins the group when `torchrun` started it."""
    if "RANK" not in os.environ:
        return 0
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank()


def average_gradients(module: nn.Module) -> None:
    """Replaces each gradient by its mean over all processes."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def num_processes() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(tensors: Sequence[torch.Tensor]) -> None:
    """Overwrites each tensor by that of the process that owns it: number `i` belongs to process `i` modulo all."""
    if not dist.is_initialized():
        return
    for owner in range(min(num_processes(), len(tensors))):
        owned = tensors[owner :: num_processes()]
        flat = torch.cat([t.flatten() for t in owned])
        dist.broadcast(flat, owner)
        for tensor, value in zip(owned, flat.split([t.numel() for t in owned]), strict=True):
            tensor.copy_(value.view_as(tensor))


def wait_for_all() -> None:
    """Returns once every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def first_ones(value: float) -> float:
    """The first process's value, in all processes: clocks differ, decisions must not."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor(value, dtype=torch.float64)
    dist.broadcast(shared, 0)
    return shared.item()
