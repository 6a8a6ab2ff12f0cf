"""Motion transfer without training: latents are moved until attention flows as in the reference (arXiv 2412.07776).

A baseline. The reference's attention motion flow says, for every patch of one frame, where in another frame its
best match lies; in the first denoising steps the noisy latents are optimized towards the same flow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from motion_transfer.model.attention import probed_self_attention
from motion_transfer.model.base import VideoBase
from motion_transfer.model.sampling import denoise
from motion_transfer.model.text import TextStates
from motion_transfer.types import Clip, Latents, RenderSpec, Work


@dataclass(frozen=True, kw_only=True)
class FlowGuidance:
    """Settings; block None is the base's middle one."""

    block: int | None = None
    guided_share: float = 0.2  # of the denoising steps
    inner_steps: int = 5
    first_rate: float = 2e-3
    last_rate: float = 1e-3
    temperature: float = 2.0


class _Seen(Exception):
    """The block of interest has shown its attention; the rest of the network is not needed."""


@contextmanager
def _stopping_at(base: VideoBase, block: int, seen: list[tuple[Tensor, Tensor]]) -> Iterator[None]:
    def probe(layer: int, q_BSNK: Tensor, k_BSNK: Tensor) -> None:
        if layer == block:
            seen.append((q_BSNK[0].float(), k_BSNK[0].float()))
            raise _Seen

    with probed_self_attention(base.transformer, probe):
        try:
            yield
        except _Seen:
            return


def _queries_and_keys(base: VideoBase, z_BZFYX: Tensor, sigma: float, text: TextStates, block: int) -> list[Tensor]:
    """Rotated queries and keys `(S, N, K)` of one block."""
    seen: list[tuple[Tensor, Tensor]] = []
    with _stopping_at(base, block, seen):
        base.velocity(z_BZFYX, torch.tensor([sigma]), text)
    return list(seen[0])


def attention_flow(
    q_SNK: Tensor, k_SNK: Tensor, grid: tuple[int, int, int], *, temperature: float, hard: bool
) -> Tensor:
    """Where each patch's best match lies in every other frame, as a displacement (the paper's attention motion flow).

    Args:
        q_SNK: rotated queries.
        k_SNK: rotated keys.
        grid: latent frames, rows and columns of patches.
        temperature: sharpens the attention.
        hard: take the best match itself, as for the reference; else the expected place, which has a gradient.

    Returns:
        `(F, F, P, 2)`: from frame, to frame, patch, rows and columns.
    """
    frames, rows, columns = grid
    q_FPD, k_FPD = (x.unflatten(0, (frames, rows * columns)) for x in (q_SNK, k_SNK))
    logits = torch.einsum("fpnk,gqnk->fgnpq", q_FPD, k_FPD) * temperature / q_SNK.shape[-1] ** 0.5
    attention_FGPP = logits.softmax(-1).mean(2)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    place_P2 = torch.stack([y, x], -1).reshape(-1, 2).to(attention_FGPP)
    match = place_P2[attention_FGPP.argmax(-1)] if hard else attention_FGPP @ place_P2
    return match - place_P2


def follow_attention_flow(base: VideoBase, reference: Latents, spec: RenderSpec, guidance: FlowGuidance) -> Work[Clip]:
    """Renders a prompt while its attention is led along the reference's flow.

    Args:
        base: without adapters.
        reference: latents of the whole reference clip.
        spec: of the render.
        guidance: settings.
    """
    block = len(base.transformer.blocks) // 2 if guidance.block is None else guidance.block
    frames, rows, columns = reference.z_ZFYX.shape[1:]
    grid = (frames, rows // 2, columns // 2)
    with torch.no_grad():
        seen = _queries_and_keys(base, reference.z_ZFYX[None], 0.0, base.text.encode([""]), block)
        wanted = attention_flow(*seen, grid, temperature=guidance.temperature, hard=True)
    text = base.text.encode([spec.prompt])
    guided_steps = round(guidance.guided_share * spec.steps)

    def lead(z_BZFYX: Tensor, sigma: float, step: int) -> Tensor:
        if step >= guided_steps:
            return z_BZFYX
        part = step / max(1, guided_steps - 1)
        rate = guidance.first_rate + part * (guidance.last_rate - guidance.first_rate)
        z = z_BZFYX.detach().clone().requires_grad_(True)
        optimizer = torch.optim.Adam([z], lr=rate)
        for _ in range(guidance.inner_steps):
            found = attention_flow(*_queries_and_keys(base, z, sigma, text, block), grid,
                                   temperature=guidance.temperature, hard=False)  # fmt: skip
            optimizer.zero_grad(set_to_none=True)
            (found - wanted).square().sum(-1).mean().backward()
            optimizer.step()
        return z.detach()

    return (yield from denoise(base, spec, lead))
