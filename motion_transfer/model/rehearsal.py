"""What passes take of memory at full size, rehearsed with tensors that have shapes and types but no numbers.

Nothing is computed, so even a 14B transformer goes through in seconds, on any machine. It shows what the tensors of a
bfloat16 model take, not what an allocator wastes between them or a library's kernels ask for beside them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from motion_transfer.lora.attach import add_group_adapter
from motion_transfer.lora.heads import group_masks
from motion_transfer.model.attention import weigh_text
from motion_transfer.model.checkpointing import NONE, checkpointed
from motion_transfer.model.flow import TIMESTEPS
from motion_transfer.model.footprint import TEXT_TOKENS, TEXT_WIDTH
from motion_transfer.model.wan_shapes import LATENT_CHANNELS, WanShape, random_transformer

SPACE_SCALE, TIME_SCALE = 8, 4  # of Wan2.1's codec


class _Alive(TorchDispatchMode):
    """Counts the bytes of tensors that operations make while open, as long as these live."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        weights = [*model.parameters(), *model.buffers()]
        self._seen = {tensor.untyped_storage()._cdata for tensor in weights}

    def _gone(self, address: int, num_bytes: int) -> None:
        self.now -= num_bytes
        self._seen.discard(address)

    def __torch_dispatch__(
        self, operation: Any, kinds: Any, given: tuple[Any, ...] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        made = operation(*given, **(named or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._seen:
                    self._seen.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return made


def _without_numbers(model: nn.Module, float32: list[str] | None = None) -> None:
    """Gives a model on the meta device weights without numbers: bfloat16, but for names that hold one of `float32`."""
    for path, module in model.named_modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                full = float32 is None or weight.requires_grad or any(part in f"{path}.{name}" for part in float32)
                empty = torch.empty(weight.shape, dtype=torch.float32 if full else torch.bfloat16)
                module._parameters[name] = nn.Parameter(empty, requires_grad=weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


@contextmanager
def _transformer(shape: WanShape, rank: int = 0) -> Iterator[WanTransformer3DModel]:
    """A bfloat16 transformer without numbers, with a LoRA on all self-attention heads if a rank is given."""
    with torch.device("meta"):
        transformer = random_transformer(shape)
    if rank:
        heads_LN = torch.ones(shape.num_blocks, shape.num_heads, dtype=torch.bool)
        add_group_adapter(transformer, "temporal", group_masks(heads_LN, shape.head_width), rank=rank,
                          generator=torch.Generator())  # fmt: skip
    with FakeTensorMode():
        _without_numbers(transformer, transformer._keep_in_fp32_modules)
        weigh_text(transformer).bias_BM = torch.zeros(1, TEXT_TOKENS)
        yield transformer


def _run(transformer: WanTransformer3DModel, rows: int, latent: tuple[int, int, int]) -> Tensor:
    z = torch.empty(rows, LATENT_CHANNELS, *latent, dtype=torch.bfloat16)
    text = torch.empty(rows, TEXT_TOKENS, TEXT_WIDTH, dtype=torch.bfloat16)
    return transformer(z, torch.full((rows,), TIMESTEPS / 2), text, return_dict=False)[0]


def step_bytes(shape: WanShape, latent: tuple[int, int, int], *, rank: int, rung: str = NONE, rows: int = 1) -> int:
    """The most that a tuning step takes beside the weights, on frames, rows and columns of latent pixels.

    Args:
        shape: of the transformer.
        latent: frames, rows and columns.
        rank: of the LoRA.
        rung: of checkpointing.
        rows: clips at once.
    """
    with _transformer(shape, rank) as transformer, checkpointed(transformer, rung), _Alive(transformer) as alive:
        _run(transformer, rows, latent).float().square().mean().backward()
        return alive.peak


def pass_bytes(shape: WanShape, latent: tuple[int, int, int], *, rows: int = 2) -> int:
    """The most that one forward pass of a render takes beside the weights; two rows are what guidance compares."""
    with _transformer(shape) as transformer, torch.no_grad(), _Alive(transformer) as alive:
        _run(transformer, rows, latent)
        return alive.peak


def codec_bytes(num_frames: int, height: int, width: int) -> tuple[int, int]:
    """The most that Wan2.1's codec takes beside its weights, in float32: to encode a clip, and to decode it."""
    with torch.device("meta"):
        vae = AutoencoderKLWan().eval().requires_grad_(False)
    latent = ((num_frames - 1) // TIME_SCALE + 1, height // SPACE_SCALE, width // SPACE_SCALE)
    with FakeTensorMode(), torch.no_grad():
        _without_numbers(vae)
        with _Alive(vae) as encoding:
            vae.encode(torch.empty(1, 3, num_frames, height, width))
        vae.clear_cache()
        with _Alive(vae) as decoding:
            vae.decode(torch.empty(1, LATENT_CHANNELS, *latent))
    return encoding.peak, decoding.peak
