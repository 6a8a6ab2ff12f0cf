"""Where a LoRA begins: in the row space of the gradient, within its head group, changing nothing yet."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from motion_transfer.lora.gradient_start import start_along_gradients

ROWS, COLUMNS = "blocks.0.attn1.to_q", "blocks.0.attn1.to_out.0"
GROUP = torch.arange(12) < 5


def _started(path: str, gradient_OI: Tensor, rank: int, draws: int = 3) -> tuple[Tensor, Tensor, list[int]]:
    """Both matrices after a start on a loss whose gradient by the layer's weights is given, and the draws made."""
    down, up = nn.Parameter(torch.randn(rank, gradient_OI.shape[1])), nn.Parameter(torch.zeros(len(gradient_OI), rank))
    if path == COLUMNS:
        down.register_hook(lambda g: g * GROUP)
    pulled = []

    def pull(draw: int) -> float:
        pulled.append(draw)
        down.grad = up.grad = None
        loss = ((up @ down) * gradient_OI).sum()
        assert loss == 0  # the adapter changes nothing meanwhile
        loss.backward()
        return loss.item()

    matrices = {f"{path}.down": down, f"{path}.up": up}
    assert len(list(start_along_gradients(matrices, {path: GROUP}, pull, draws, torch.Generator()))) == draws
    assert down.grad is None and up.grad is None
    return down.detach(), up.detach(), pulled


def test_it_begins_in_the_row_space_of_the_gradient() -> None:
    gradient = torch.randn(12, 2) @ torch.randn(2, 20)
    down, up, pulled = _started(ROWS, gradient, rank=2)
    assert not up.any() and pulled == [-1, -2, -3]
    assert torch.allclose(down @ down.T, torch.eye(2), atol=1e-5)
    assert torch.allclose(gradient @ down.T @ down, gradient, atol=1e-4)


def test_only_the_groups_own_rows_count() -> None:
    inside, outside = torch.randn(20), torch.randn(20)
    gradient = torch.where(GROUP[:, None], torch.randn(12, 1) * inside, 100 * torch.randn(12, 1) * outside)
    down, _, _ = _started(ROWS, gradient, rank=1)
    assert torch.cosine_similarity(down[0], inside, dim=0).abs() == pytest.approx(1, abs=1e-5)


def test_only_the_groups_own_columns_are_read() -> None:
    down, _, _ = _started(COLUMNS, torch.randn(9, 12), rank=8)
    assert not down[:, ~GROUP].any() and down[:5, GROUP].any(1).all()


def test_a_rank_beyond_the_layers_width_adds_nothing() -> None:
    down, _, _ = _started(ROWS, torch.randn(12, 6), rank=8)
    assert down[:6].any(1).all() and not down[6:].any()
