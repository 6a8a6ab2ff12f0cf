"""One pass through blocks of Wan's shape with random weights, forward and back: bytes, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from motion_transfer.lora.attach import add_group_adapter
from motion_transfer.lora.heads import group_masks
from motion_transfer.model.attention import weigh_text
from motion_transfer.model.flow import TIMESTEPS
from motion_transfer.model.footprint import PATCH_PX, TEXT_TOKENS
from motion_transfer.model.quantize import quantize
from motion_transfer.model.wan_shapes import LATENT_CHANNELS, WanShape, random_transformer

NOISE_LEVEL = 0.8
UP_SIZE = 0.1  # of the LoRA's `up` matrices, that both sides get a gradient


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockRun:
    """What a run took, and what came of it.

    Attributes:
        tokens: of the clip.
        itemsize: bytes of the numbers that were computed with.
        weight_bytes: of all weights but the LoRA's, as they are stored.
        saved_bytes: kept for the backward pass by everything but the weights.
        changes: what each block added to the tokens it was given, `(L, S, D)` float32.
        gradients: of the LoRA's matrices, by name.
    """

    tokens: int
    itemsize: int
    weight_bytes: int
    saved_bytes: int
    changes: Tensor
    gradients: dict[str, Tensor]


@contextmanager
def _counting_saved(transformer: torch.nn.Module) -> Iterator[dict[int, int]]:
    """While open, bytes of the storages that autograd keeps, by address; those of weights are left out."""
    own = {tensor.data_ptr() for module in transformer.modules() for tensor in vars(module).values()
           if isinstance(tensor, Tensor)} | {p.data_ptr() for p in transformer.parameters()}  # fmt: skip
    own |= {buffer.untyped_storage().data_ptr() for buffer in transformer.buffers()}
    seen: dict[int, int] = {}
    alive: list[Tensor] = []  # that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield seen


def _stored_bytes(parameter: Tensor) -> int:
    """Bytes of a weight, with the scales that bitsandbytes keeps beside it."""
    state, scales = getattr(parameter, "quant_state", None), getattr(parameter, "SCB", None)
    beside = [scales] if scales is not None else []
    if state is not None:
        beside += [state.absmax, *([state.state2.absmax] if state.nested else [])]
    return sum(tensor.nbytes for tensor in (parameter.data, *beside))


def as_opened(transformer: WanTransformer3DModel, precision: str, dtype: torch.dtype, device: torch.device) -> None:
    """Brings weights into the types that they are opened in, and quantizes the blocks, as those of a large model.

    Args:
        transformer: with float32 weights on the CPU.
        precision: one of `PRECISIONS`.
        dtype: of the numbers that are computed with.
        device: where to compute.
    """
    for name, parameter in transformer.named_parameters():
        if not any(kept in name for kept in transformer._keep_in_fp32_modules):
            parameter.data = parameter.data.to(dtype)
    if precision in ("nf4", "int8"):
        quantize(transformer, precision, device, dtype)
        for module in transformer.modules():
            if hasattr(module, "unpacked_OI"):  # which only small models have room for
                module.unpacked_OI = None
    transformer.to(device)


def run_blocks(
    shape: WanShape, precision: str, *, num_frames: int, side: int, rank: int, text_width: int, seed: int = 0
) -> BlockRun:
    """Runs random blocks forward and back on the CPU, with a LoRA on every second self-attention head.

    The same seed gives the same weights, latents and prompt in every precision.

    Args:
        shape: of the transformer, with as many blocks as shall be run.
        precision: one of `PRECISIONS`; all but fp32 compute in bfloat16, as a GPU does.
        num_frames: latent frames.
        side: latent pixels on each side.
        rank: of the LoRA.
        text_width: channels of the text states.
        seed: of everything.
    """
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    transformer = random_transformer(shape, text_width=text_width, seed=seed)
    as_opened(transformer, precision, dtype, torch.device("cpu"))
    stored = sum(map(_stored_bytes, transformer.parameters()))
    draw = torch.Generator().manual_seed(seed)
    latents = torch.randn(1, LATENT_CHANNELS, num_frames, side, side, generator=draw)
    text = torch.randn(1, TEXT_TOKENS, text_width, generator=draw)
    wanted = torch.randn(latents.shape, generator=draw)
    temporal_LN = (torch.arange(shape.num_heads) % 2 == 0)[None].expand(shape.num_blocks, -1)
    matrices = add_group_adapter(transformer, "temporal", group_masks(temporal_LN, shape.head_width),
                                 rank=rank, generator=draw)  # fmt: skip
    with torch.no_grad():
        for name, matrix in matrices.items():
            if name.endswith(".up"):
                matrix.copy_(UP_SIZE * torch.randn(matrix.shape, generator=draw) / rank**0.5)
    weigh_text(transformer).bias_BM = torch.zeros(1, TEXT_TOKENS)
    changes: list[Tensor] = []
    for block in transformer.blocks:
        block.register_forward_hook(lambda _, given, out: changes.append((out - given[0]).detach()[0].float()))
    with _counting_saved(transformer) as saved:
        velocity = transformer(latents.to(dtype), torch.tensor([NOISE_LEVEL * TIMESTEPS]), text.to(dtype),
                               return_dict=False)[0]  # fmt: skip
    torch.nn.functional.mse_loss(velocity.float(), wanted).backward()
    return BlockRun(
        tokens=num_frames * side * side // PATCH_PX,
        itemsize=dtype.itemsize,
        weight_bytes=stored,
        saved_bytes=sum(saved.values()),
        changes=torch.stack(changes),
        gradients={name: matrix.grad.clone() for name, matrix in matrices.items() if matrix.grad is not None},
    )


def relative_error(found: Tensor, true: Tensor) -> float:
    """Size of the difference beside the true size."""
    return float((found - true).norm() / true.norm())
