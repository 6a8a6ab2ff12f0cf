"""The parts of one module in a LoRA file, of whatever kind, as one low-rank change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from motion_transfer.lora.layouts import ALPHA, DOWN, UP
from motion_transfer.types import LowRank

NEGLIGIBLE = 1e-6  # a singular value, of the largest
MOST_NUMBERS = 2**27  # of a module's up or down: 5,120 inputs at rank 26,000


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What a file's change is multiplied with: alpha over its rank, or over the rank's root (arXiv 2312.03732).

    Without alpha it is 1, as every loader takes it.
    """

    alpha: float | None = None
    by_root: bool = False

    def factor(self, rank: int) -> float:
        """The number itself."""
        if self.alpha is None:
            return 1.0
        return self.alpha / (math.sqrt(rank) if self.by_root else rank)


def _check_size(*shapes: tuple[int, int]) -> None:
    """Sees that a product of matrices can be held, before it is formed.

    Raises:
        ValueError: it can't.
    """
    rows, columns = (math.prod(sizes) for sizes in zip(*shapes, strict=True))
    if rows * columns > MOST_NUMBERS:
        raise ValueError(f"a matrix of {rows} by {columns} is too large")


def _factored(full: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix as a product of two, no wider between them than it must be."""
    u, s_R, v = torch.linalg.svd(full, full_matrices=False)
    keep = s_R > NEGLIGIBLE * s_R[0]
    keep[0] = True
    return u[:, keep] * s_R[keep], v[keep]


def _pair(parts: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """A matrix of LyCORIS that may be written as itself or as a product."""
    if name in parts:
        return _factored(parts[name])
    return parts[f"{name}_a"], parts[f"{name}_b"]


def _kronecker(parts: Mapping[str, Tensor], scaling: Scaling) -> LowRank:
    """LoKr: the Kronecker product of two matrices, `(A1 B1) x (A2 B2) = (A1 x A2)(B1 x B2)` (arXiv 2309.14859).

    The rank that alpha goes by is the width of the matrix that is written as a product; without one there is no scale.
    """
    (up1, down1), (up2, down2) = (_pair(parts, f"lokr_w{i}") for i in (1, 2))
    ranks = [parts[name].shape[0] for name in ("lokr_w1_b", "lokr_w2_b") if name in parts]
    factor = scaling.factor(ranks[-1]) if ranks else 1.0
    _check_size(up1.shape, up2.shape)
    _check_size(down1.shape, down2.shape)
    return LowRank(down_RI=torch.kron(down1, down2), up_OR=factor * torch.kron(up1, up2))


def _hadamard(parts: Mapping[str, Tensor], scaling: Scaling) -> LowRank:
    """LoHa: the product, entry by entry, of two low-rank matrices, whose rank is the product of theirs."""
    up1, down1, up2, down2 = (parts[f"hada_w{i}_{side}"] for i in (1, 2) for side in ("a", "b"))
    _check_size((up1.shape[0], up1.shape[1]), (1, up2.shape[1]))
    _check_size((down1.shape[0], down1.shape[1]), (down2.shape[0], 1))
    up = (up1[:, :, None] * up2[:, None, :]).flatten(1)
    down = (down1[:, None, :] * down2[None, :, :]).flatten(0, 1)
    return LowRank(down_RI=down, up_OR=scaling.factor(down1.shape[0]) * up)


def combined(parts: Mapping[str, Tensor], scaling: Scaling) -> LowRank:
    """The change of one module.

    Args:
        parts: tensors by part, as `read_key` names them, float32.
        scaling: of the file; an alpha among the parts goes before its own.

    Raises:
        KeyError: a part is missing.
        ValueError, RuntimeError: shapes don't fit, or the rank is nought.
    """
    if ALPHA in parts:
        scaling = Scaling(alpha=parts[ALPHA].item(), by_root=scaling.by_root)
    if any(name.startswith("lokr") for name in parts):
        layer = _kronecker(parts, scaling)
    elif any(name.startswith("hada") for name in parts):
        layer = _hadamard(parts, scaling)
    else:
        down, up = parts[DOWN], parts[UP]
        if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1] or 0 in (*down.shape, *up.shape):
            raise ValueError(f"shapes {tuple(up.shape)} and {tuple(down.shape)} make no product")
        layer = LowRank(down_RI=down, up_OR=up * scaling.factor(down.shape[0]))
    return layer
