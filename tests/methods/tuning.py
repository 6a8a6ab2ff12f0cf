"""A tiny clip to tune on, and what tests ask of tuned bases."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from motion_transfer.lora.attach import LoraLayer, remove_adapters
from motion_transfer.methods.fym_tune import tune_spatial, tune_temporal
from motion_transfer.model.base import VideoBase
from motion_transfer.types import HeadMap, Latents, LowRank, Progress, TuneSpec, TuneState
from motion_transfer.work import drive
from tests.conftest import BLOCKS, HEAD_WIDTH, HEADS, Z_DIM

SPEC = TuneSpec(caption="a red square", spatial_steps=3, temporal_steps=3, rank=2, spatial_batch=2, temporal_batch=2,
                sparse_latents=3, gradient_draws=0)  # fmt: skip
SPATIAL_LN = torch.tensor([[True, False, True, False], [False, False, False, True]])


def heads(spatial_LN: Tensor = SPATIAL_LN) -> HeadMap:
    return HeadMap(mass_LN2=torch.ones(BLOCKS, HEADS, 2), spatial_LN=spatial_LN, base_hash="")


def full_latents() -> Latents:
    generator = torch.Generator().manual_seed(1)
    return Latents(z_ZFYX=torch.randn(Z_DIM, 5, 4, 4, generator=generator), times_F=(0.0, 1.0, 2.0, 3.0, 4.0))


def single_frames() -> Tensor:
    return torch.randn(6, Z_DIM, 1, 4, 4, generator=torch.Generator().manual_seed(2))


def weights(base: VideoBase) -> dict[str, Tensor]:
    """Copies of all base weights, under the names they have without adapters."""
    named = base.transformer.state_dict().items()
    return {n.replace(".base_layer", ""): t.clone() for n, t in named if ".lora_" not in n}


def velocity(base: VideoBase) -> Tensor:
    with torch.no_grad():
        return base.velocity(full_latents().z_ZFYX[None], torch.tensor([0.6]), base.text.encode(["a red square"]))


def touched_heads(layers: dict[str, LowRank]) -> Tensor:
    """Which heads a LoRA reads or writes, `(L, N)`; all four modules of a block must agree."""
    touched = torch.zeros(BLOCKS, HEADS, dtype=torch.bool)
    for path, x in layers.items():
        block = int(path.split(".")[1])
        channels = x.down_RI.ne(0).any(0) if path.endswith("to_out.0") else x.up_OR.ne(0).any(1)
        heads_N = channels.view(HEADS, HEAD_WIDTH)
        assert torch.equal(heads_N.any(1), heads_N.all(1)), path
        assert not touched[block].any() or torch.equal(touched[block], heads_N.all(1)), path
        touched[block] = heads_N.all(1)
    return touched


def is_bare(base: VideoBase) -> bool:
    return not any(isinstance(m, LoraLayer) for m in base.transformer.modules())


def tuned_layers(
    base: VideoBase, spec: TuneSpec = SPEC, resume: TuneState | None = None
) -> Generator[Progress, None, dict[str, LowRank]]:
    """Both stages on a bare base."""
    remove_adapters(base.transformer)
    yield from tune_spatial(base, single_frames(), heads(), spec, resume)
    return (yield from tune_temporal(base, full_latents(), full_latents(), heads(), spec, resume=resume))


def retuned(base: VideoBase, spec: TuneSpec) -> dict[str, LowRank]:
    remove_adapters(base.transformer)
    return drive(tune_spatial(base, single_frames(), heads(), spec))
