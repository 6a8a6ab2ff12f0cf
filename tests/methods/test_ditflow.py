"""Attention motion flow: known matches give known displacements, and guidance brings the flow nearer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from motion_transfer.methods.ditflow import FlowGuidance, _queries_and_keys, attention_flow, follow_attention_flow
from motion_transfer.model.base import VideoBase
from motion_transfer.model.codec import Codec
from motion_transfer.types import Latents, RenderSpec
from motion_transfer.work import drive
from tests.conftest import Z_DIM

GRID = (3, 4, 4)


def _moving_patches(shift: int) -> Tensor:
    """Every patch carries its own code; each frame shows them `shift` columns further right, around the edge."""
    codes = torch.eye(16).view(4, 4, 16) * 40
    frames = [codes.roll(shift * f, dims=1) for f in range(3)]
    return torch.stack(frames).view(48, 1, 16)


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("shift", [0, 1])
def test_known_matches_give_known_displacements(shift: int, hard: bool) -> None:
    q = _moving_patches(shift)
    flow = attention_flow(q, q, GRID, temperature=2.0, hard=hard)
    assert flow.shape == (3, 3, 16, 2)
    assert flow[..., 0].abs().max() < 1e-3
    inner = flow[0, 1].view(4, 4, 2)[:, :3, 1]  # the last column goes around the edge
    assert torch.allclose(inner, torch.full_like(inner, float(shift)), atol=1e-3)
    back = flow[1, 0].view(4, 4, 2)[:, 1:, 1]
    assert torch.allclose(back, torch.full_like(back, -float(shift)), atol=1e-3)


def test_uniform_attention_points_to_the_middle() -> None:
    flow = attention_flow(torch.zeros(48, 2, 8), torch.zeros(48, 2, 8), GRID, temperature=2.0, hard=False)
    place = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij"), -1).view(16, 2)
    assert torch.allclose(flow, (1.5 - place).expand(3, 3, 16, 2), atol=1e-5)


def test_guidance_brings_the_flow_nearer(tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attention of what is rendered matches the reference's better with guidance than without."""
    z, frames, rows, columns = tiny_base.latent_shape
    generator = torch.Generator().manual_seed(0)
    reference = Latents(z_ZFYX=torch.randn(z, frames, rows, columns, generator=generator),
                        times_F=tuple(float(f) for f in range(frames)))  # fmt: skip
    assert z == Z_DIM
    spec, ends = RenderSpec(prompt="a blue circle", steps=4, seed=1), []
    text, grid = tiny_base.text.encode([""]), (frames, rows // 2, columns // 2)

    def flow(latents: Tensor, hard: bool) -> Tensor:
        with torch.no_grad():
            return attention_flow(
                *_queries_and_keys(tiny_base, latents, 0.0, text, 1), grid, temperature=2.0, hard=hard
            )

    decode = Codec.decode
    monkeypatch.setattr(Codec, "decode", lambda codec, z: (ends.append(z[None]), decode(codec, z))[1])
    for rate in (0.0, 0.1):
        guidance = FlowGuidance(guided_share=1.0, first_rate=rate, last_rate=rate, block=1)
        drive(follow_attention_flow(tiny_base, reference, spec, guidance))
    wanted = flow(reference.z_ZFYX[None], True)
    bare, led = ((flow(x, False) - wanted).square().sum(-1).mean().item() for x in ends)
    assert led < bare
    assert not any(p.grad is not None for p in tiny_base.transformer.parameters())
