"""Rotary positions at any place on the time axis.

Stock Wan looks cosines and sines up in a table by integer frame number. Sparse clips need their frames'
true places, so the temporal part is computed here from a vector of positions (adaptive RoPE,
arXiv 2506.05207, section 3.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from torch import Tensor, nn

THETA = 10000.0


def rotate(x_BSNK: Tensor, cos_1S1K: Tensor, sin_1S1K: Tensor) -> Tensor:
    """Applies interleaved rotary embedding, as Wan's attention does."""
    even, odd = x_BSNK.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos_1S1K[..., 0::2], sin_1S1K[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).type_as(x_BSNK)


def temporal_table(positions_F: Sequence[float], t_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines `(F, t_dim)` of float positions, each value twice for interleaved pairs."""
    rates_K = THETA ** -(torch.arange(0, t_dim, 2, dtype=torch.float64) / t_dim)
    angles = torch.outer(torch.tensor(positions_F, dtype=torch.float64), rates_K)
    return tuple(f(angles).repeat_interleave(2, 1).float() for f in (torch.cos, torch.sin))  # type: ignore[return-value]


class _PlacedRope(nn.Module):
    """Stands in for `WanRotaryPosEmbed`, with given temporal positions."""

    def __init__(self, stock: WanRotaryPosEmbed, positions_F: Sequence[float]) -> None:
        super().__init__()
        self.stock = stock
        self.tables = temporal_table(positions_F, stock.t_dim)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        num_frames, height, width = hidden_states.shape[2:]
        _, p_h, p_w = self.stock.patch_size
        shape = (num_frames, height // p_h, width // p_w)
        spatial = (self.stock.h_dim, self.stock.w_dim)
        out = []
        for table, placed in zip((self.stock.freqs_cos, self.stock.freqs_sin), self.tables, strict=True):
            _, rows, columns = table.split([self.stock.t_dim, *spatial], 1)
            parts = [
                placed.to(table.device)[:, None, None].expand(*shape, -1),
                rows[: shape[1]][None, :, None].expand(*shape, -1),
                columns[: shape[2]][None, None].expand(*shape, -1),
            ]
            out.append(torch.cat(parts, -1).reshape(1, -1, 1, self.stock.attention_head_dim))
        return out[0], out[1]


@contextmanager
def temporal_positions(transformer: WanTransformer3DModel, positions_F: Sequence[float]) -> Iterator[None]:
    """While open, the transformer sees its latent frames at these places of the time axis."""
    stock = transformer.rope
    if list(positions_F) == list(range(len(positions_F))):
        yield
        return
    transformer.rope = _PlacedRope(stock, positions_F)
    try:
        yield
    finally:
        transformer.rope = stock


def sparse_positions(num_latents: int, num_sparse: int, rule: str = "aligned") -> tuple[float, ...]:
    """Places of evenly kept latent frames on the time axis of the full clip, from 0 on.

    Args:
        num_latents: of the full clip, F.
        num_sparse: kept, F_s.
        rule: "aligned" ends, `j * (F - 1) / (F_s - 1)`, which is where they are; "paper", `j * F / F_s` (section 3.3,
            in pixel frames), whose spacing is short of the true one and puts frames at fractions that the model never
            saw; "none", side by side.
    """
    spans = {"aligned": (num_latents - 1, max(1, num_sparse - 1)), "paper": (num_latents, num_sparse), "none": (1, 1)}
    span, gaps = spans[rule]
    return tuple(j * span / gaps for j in range(num_sparse))
