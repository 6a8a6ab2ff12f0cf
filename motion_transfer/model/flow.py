"""The flow-matching time axis: one place for noise levels, mixing and the factor 1000.

`sigma` lies in [0, 1] and 1 is noise; `x = (1 - sigma) z + sigma noise`; `velocity = noise - z`
(rectified flow, arXiv 2209.03003, in Wan's sign).
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

TIMESTEPS = 1000.0


def shifted(uniform: Tensor, shift: float) -> Tensor:
    """Noise levels from uniform draws; a shift above 1 favors noise (arXiv 2403.03206, eq. 23)."""
    return shift * uniform / (1 + (shift - 1) * uniform)


def mix(z: Tensor, noise: Tensor, sigma_B: Tensor) -> Tensor:
    """Noisy latents at noise level `sigma`, one per batch row."""
    sigma = sigma_B.view(-1, *[1] * (z.ndim - 1))
    return (1 - sigma) * z + sigma * noise


def keyed_generator(*key: object) -> torch.Generator:
    """A CPU generator that depends on its key alone, so that a resumed run draws the same numbers."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
