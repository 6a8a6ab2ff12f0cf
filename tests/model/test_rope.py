"""Rotary positions: stock tables at whole places, shift invariance, sparse places of the full clip."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from motion_transfer.model.base import VideoBase
from motion_transfer.model.rope import _PlacedRope, rotate, sparse_positions, temporal_positions, temporal_table
from tests.conftest import Z_DIM

FRAMES = 5


def _latents() -> Tensor:
    return torch.randn(1, Z_DIM, FRAMES, 4, 6, generator=torch.Generator().manual_seed(0))


def _velocity(base: VideoBase, times_F: tuple[float, ...] | None) -> Tensor:
    with torch.no_grad():
        return base.velocity(_latents(), torch.tensor([0.5]), base.text.encode(["a red circle"]), times_F)


@pytest.mark.parametrize("width", [4, 8, 44])
def test_whole_positions_are_the_stock_table(tiny_base: VideoBase, width: int) -> None:
    from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed

    stock = WanRotaryPosEmbed(3 * width, (1, 2, 2), 64)
    cos, sin = temporal_table(range(21), stock.t_dim)
    assert (cos - stock.freqs_cos[:21, : stock.t_dim]).abs().max() < 1e-6
    assert (sin - stock.freqs_sin[:21, : stock.t_dim]).abs().max() < 1e-6


def test_placed_tables_pick_the_stock_rows(tiny_base: VideoBase) -> None:
    """Frames at 2, 5, 11 get the stock tables of frames 2, 5, 11; rows and columns are as ever."""
    rope = tiny_base.transformer.rope
    long = [part.view(12, 2, 3, -1)[[2, 5, 11]].flatten(0, 2) for part in rope(torch.zeros(1, 1, 12, 4, 6))]
    with temporal_positions(tiny_base.transformer, (2.0, 5.0, 11.0)):
        placed = tiny_base.transformer.rope(torch.zeros(1, 1, 3, 4, 6))
    assert tiny_base.transformer.rope is rope
    for ours, stock in zip(placed, long, strict=True):
        assert ours.shape == (1, 18, 1, 16)
        assert (ours[0, :, 0] - stock).abs().max() < 1e-6


def test_consecutive_places_leave_the_output_alone(tiny_base: VideoBase) -> None:
    """Untouched, and the tables that are computed for other places agree with the stock ones here."""
    assert torch.equal(_velocity(tiny_base, None), _velocity(tiny_base, (0.0, 1.0, 2.0, 3.0, 4.0)))
    rope = tiny_base.transformer.rope
    for ours, stock in zip(_PlacedRope(rope, range(FRAMES))(_latents()), rope(_latents()), strict=True):
        assert (ours - stock).abs().max() < 1e-6


@pytest.mark.parametrize("shift", [1.0, 3.5, 16.0])
def test_a_constant_shift_changes_nothing(tiny_base: VideoBase, shift: float) -> None:
    """Attention hangs on differences of positions only."""
    shifted = _velocity(tiny_base, tuple(shift + f for f in range(FRAMES)))
    assert (shifted - _velocity(tiny_base, None)).abs().max() < 1e-5


def test_spacing_does_change_the_output(tiny_base: VideoBase) -> None:
    spread = _velocity(tiny_base, (0.0, 5.0, 10.0, 15.0, 20.0))
    assert (spread - _velocity(tiny_base, None)).abs().max() > 1e-2


def test_places_are_restored_after_an_error(tiny_base: VideoBase) -> None:
    rope = tiny_base.transformer.rope
    with pytest.raises(KeyError), temporal_positions(tiny_base.transformer, (0.0, 2.0)):
        raise KeyError
    assert tiny_base.transformer.rope is rope


def test_rotation_by_hand() -> None:
    """A pair (1, 0) turned by the angle a is (cos a, sin a); the second pair turns more slowly."""
    cos, sin = (t[None, :, None] for t in temporal_table((0.0, 2.5), 4))
    x_BSNK = torch.tensor([1.0, 0.0, 1.0, 0.0]).expand(1, 2, 1, 4)
    turned = rotate(x_BSNK, cos, sin)[0, :, 0]
    fast, slow = torch.tensor(2.5), torch.tensor(2.5 / 10000**0.5)
    expected = torch.stack([fast.cos(), fast.sin(), slow.cos(), slow.sin()])
    assert torch.equal(turned[0], x_BSNK[0, 0, 0])
    assert (turned[1] - expected).abs().max() < 1e-6


def test_aligned_sparse_positions() -> None:
    """The last pixel frame of sparse latent j is that of dense latent m j."""
    assert sparse_positions(21, 5) == (0, 5, 10, 15, 20)
    assert sparse_positions(13, 4) == (0, 4, 8, 12)
    assert sparse_positions(13, 7) == (0, 2, 4, 6, 8, 10, 12)
    assert sparse_positions(13, 1) == (0.0,)
    assert sparse_positions(13, 13) == tuple(range(13))


def test_other_rules_of_sparse_positions() -> None:
    """The paper's leaves the spacing short of the true one; on all frames every rule is the identity."""
    assert sparse_positions(21, 5, "paper") == pytest.approx((0, 4.2, 8.4, 12.6, 16.8))
    assert sparse_positions(21, 5, "none") == (0, 1, 2, 3, 4)
    assert {sparse_positions(13, 13, rule) for rule in ("aligned", "paper", "none")} == {tuple(range(13))}


def test_positions_never_leave_the_trained_range() -> None:
    for full in range(2, 30):
        for sparse in range(1, full + 1):
            assert max(sparse_positions(full, sparse)) <= full - 1
