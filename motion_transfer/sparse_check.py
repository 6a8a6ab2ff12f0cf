"""What sparse motion sampling saves on a block of Wan2.1-1.3B's shape.

Follow-Your-Motion, arXiv 2506.05207, section 3.3.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from motion_transfer.lora.attach import remove_adapters
from motion_transfer.methods.fym_tune import tune_temporal
from motion_transfer.model.attention import weigh_text
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.quantize import quantize
from motion_transfer.model.wan_shapes import LATENT_CHANNELS, WAN_SHAPES, random_transformer
from motion_transfer.types import HeadMap, Latents, TuneSpec

DENSE, SPARSE = 21, 5  # latent frames of 81 and of 17 frames
RANK = 16


def _one_block() -> VideoBase:
    """One NF4 block of Wan2.1-1.3B's shape between nano's codec and text encoder, whose work is not timed."""
    nano = open_base("nano")
    block = random_transformer(WAN_SHAPES["1.3b"], text_width=nano.transformer.config.text_dim, num_blocks=1)
    quantize(block, "nf4", nano.device, nano.dtype)
    return replace(nano, transformer=block.to(nano.device), text_attention=weigh_text(block))


def _latents(num_frames: int, side: int) -> Latents:
    """Noise, at places evenly spread over the dense clip."""
    z_ZFYX = torch.randn(LATENT_CHANNELS, num_frames, side, side, generator=torch.Generator().manual_seed(1))
    stride = (DENSE - 1) // (num_frames - 1)
    return Latents(z_ZFYX=z_ZFYX, times_F=tuple(float(stride * i) for i in range(num_frames)))


def _step_seconds(base: VideoBase, full: Latents, num_frames: int) -> float:
    """Of one temporal step on so many latent frames, every second head temporal."""
    remove_adapters(base.transformer)
    spatial_LN = (torch.arange(base.num_heads) % 2 == 0)[None]
    heads = HeadMap(mass_LN2=torch.zeros(1, base.num_heads, 2), spatial_LN=spatial_LN, base_hash="")
    spec = TuneSpec(caption="a red circle", rank=RANK, temporal_batch=1, temporal_steps=1, gradient_draws=0,
                    sampling="pixel", sparse_latents=num_frames)  # fmt: skip
    sparse = full if num_frames == DENSE else _latents(num_frames, full.z_ZFYX.shape[-1])
    begin = time.monotonic()
    next(tune_temporal(base, sparse, full, heads, spec))
    return time.monotonic() - begin


def timed_turns(turns: int, side: int) -> Iterator[dict[str, float]]:
    """Seconds of a step on all latent frames and on few, turn by turn.

    Args:
        turns: how many.
        side: latent pixels on each side.
    """
    base, full = _one_block(), _latents(DENSE, side)
    _step_seconds(base, _latents(DENSE, 8), DENSE)  # a process's first steps are slow
    for _ in range(turns):
        yield {f"{n}_latents_s": _step_seconds(base, full, n) for n in (DENSE, SPARSE)}
