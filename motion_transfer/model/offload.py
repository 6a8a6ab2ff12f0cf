"""Weights that lie in the machine's memory and visit the device one block at a time.

All blocks share one place on the device, of the size of the largest: their parameters are views of it, so that
adapters, quantized layers and graphs always hold tensors of the right device, and what changes is only whose numbers
lie there. A block's own come before its forward pass, and once more before its backward pass. Adapters, and the scales
of quantized weights, stay on the device. Nothing is computed otherwise.

Diffusers' group offloading (`diffusers.hooks`) does not serve here: it gives parameters other storage after each
forward pass, which a graph would hold until the backward pass; with streams it knows only the parameters that it began
with, so an adapter attached later fails and one that learns goes back to how it was, and without them
bitsandbytes' scales stay behind in the machine's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from motion_transfer.errors import NotEnoughMemory
from motion_transfer.model.memory import free_memory_bytes

VISITING = "visiting"  # the rung that stands below all checkpointing
_ALIGNED_BYTES = 256
_ADAPTERS = "lora_"  # in the names of peft's matrices


def host_bytes(block_bytes: int) -> int:
    """What a block of so many bytes takes of the machine's memory, in whose locked part PyTorch takes powers of two."""
    return 1 << (block_bytes - 1).bit_length()


def can_visit(transformer: WanTransformer3DModel, device: torch.device) -> bool:
    """Whether weights can lie elsewhere: the device has a memory of its own, and the machine's has room for them."""
    if device.type == "cpu":
        return False
    needed = sum(host_bytes(_Layout(block).num_bytes) for block in transformer.blocks)
    return needed <= free_memory_bytes(torch.device("cpu"))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """A parameter of a block: where its bytes lie in what holds the whole block, and how they are read.

    `dtype` and `shape` are those it began with: bitsandbytes' layers give biases another type when they first run.
    """

    module: nn.Module
    parameter: nn.Parameter
    place: slice
    dtype: torch.dtype
    shape: torch.Size

    def view_in(self, whole: Tensor) -> Tensor:
        """The parameter's numbers, given the bytes of the whole block."""
        return whole[self.place].view(self.dtype).view(self.shape)

    def point_to(self, numbers: Tensor) -> None:
        """Makes the parameter, and what bitsandbytes' int8 layers hold of it beside, read these numbers."""
        self.parameter.data = numbers
        for holder in (self.parameter, self.module.state) if hasattr(self.parameter, "CB") else ():
            if holder.CB is not None:
                holder.CB = numbers


class _Layout:
    """The parameters of a block, one after the other in bytes."""

    def __init__(self, block: nn.Module) -> None:
        self.parts: list[_Part] = []
        self.num_bytes = 0
        for path, module in block.named_modules():
            for parameter in [] if _ADAPTERS in path else module.parameters(recurse=False):
                size = parameter.numel() * parameter.element_size()
                place = slice(self.num_bytes, self.num_bytes + size)
                self.parts.append(_Part(module=module, parameter=parameter, place=place, dtype=parameter.dtype,
                                        shape=parameter.shape))  # fmt: skip
                self.num_bytes += -(-size // _ALIGNED_BYTES) * _ALIGNED_BYTES

    def copied(self, device: torch.device) -> Tensor:
        """All numbers in the machine's memory, locked where they go to a GPU, for copies from there are faster."""
        whole = _in_memory(self.num_bytes, device)
        for part in self.parts:
            part.view_in(whole).copy_(part.parameter.data)
        return whole


def _in_memory(num_bytes: int, device: torch.device) -> Tensor:
    if device.type == "cuda":
        with suppress(RuntimeError):  # some systems let a program lock little memory; the rest does, only slower
            return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)
    return torch.empty(num_bytes, dtype=torch.uint8)


class _Visits:
    """Takes the weights of blocks off their device, and brings a block's whenever its turn comes.

    Args:
        blocks: with their weights on the device.
        device: that they compute on.

    Raises:
        torch.OutOfMemoryError, MemoryError, RuntimeError: neither memory has room; then nothing has changed.
    """

    def __init__(self, blocks: nn.ModuleList, device: torch.device) -> None:
        self._device = device
        self._layouts = [_Layout(block) for block in blocks]
        self._place = torch.empty(max(one.num_bytes for one in self._layouts), dtype=torch.uint8, device=device)
        self._kept = [layout.copied(device) for layout in self._layouts]
        self._present: int | None = None
        self._hooks = []
        for number, (block, layout) in enumerate(zip(blocks, self._layouts, strict=True)):
            for part in layout.parts:
                part.point_to(part.view_in(self._place))
            turn = _Turn(self, number)
            self._hooks += [block.register_forward_pre_hook(turn.before), block.register_forward_hook(turn.after)]

    def bring(self, number: int) -> None:
        """Copies a block's weights to the device, unless they are there."""
        if self._present != number:
            self._present = None
            self._place[: self._layouts[number].num_bytes].copy_(self._kept[number], non_blocking=True)
            self._present = number

    def end(self) -> None:
        """Puts all weights back on the device.

        Raises:
            torch.OutOfMemoryError: it has no room for them; then nothing has changed.
        """
        fresh = [[part.view_in(kept).to(self._device, copy=True) for part in layout.parts]
                 for layout, kept in zip(self._layouts, self._kept, strict=True)]  # fmt: skip
        for layout, numbers in zip(self._layouts, fresh, strict=True):
            for part, own in zip(layout.parts, numbers, strict=True):
                part.point_to(own)
        for hook in self._hooks:
            hook.remove()


@dataclass(frozen=True, eq=False)
class _Turn:
    """When a block's weights are needed."""

    visits: _Visits
    number: int

    def before(self, *_: Any) -> None:
        """The block is about to run forward."""
        self.visits.bring(self.number)

    def after(self, _module: nn.Module, _args: Any, hidden: Tensor) -> None:
        """The block has run: its backward pass begins with the gradient of what it gave."""
        if hidden.requires_grad:
            hidden.register_hook(self._again)

    def _again(self, _gradient: Tensor) -> None:
        self.visits.bring(self.number)


def _visits_of(transformer: WanTransformer3DModel) -> _Visits | None:
    hooks: list[Callable[..., Any]] = list(transformer.blocks[0]._forward_pre_hooks.values())
    turns = (getattr(hook, "__self__", None) for hook in hooks)
    return next((turn.visits for turn in turns if isinstance(turn, _Turn)), None)


def bring_home(transformer: WanTransformer3DModel) -> bool:
    """Ends the visits if there are any; False where the device has no room for all weights, which then go on."""
    visits = _visits_of(transformer)
    if visits is not None:
        try:
            visits.end()
        except torch.OutOfMemoryError:
            return False
    return True


@contextmanager
def weights_visiting(transformer: WanTransformer3DModel, device: torch.device) -> Iterator[None]:
    """While open, the blocks' weights lie in the machine's memory and visit the device one block at a time.

    Args:
        transformer: with its weights on the device; adapters may come and go meanwhile.
        device: that it computes on.

    Raises:
        NotEnoughMemory: the machine has no room for them.
    """
    if _visits_of(transformer) is None:
        try:
            _Visits(transformer.blocks, device)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error):
                raise
            raise NotEnoughMemory("weights that visit the GPU need room for all of them in the machine's memory, and "
                                  "there for one block, but there is less; close other programs, or choose the "
                                  "precision nf4.") from error  # fmt: skip
    try:
        yield
    finally:
        bring_home(transformer)
