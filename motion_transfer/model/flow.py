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


def unshifted(sigma: float, shift: float) -> float:
    """The uniform draw that `shifted` makes a noise level of."""
    return sigma / (shift - (shift - 1) * sigma)


def bell_weight(sigma_B: Tensor, shift: float, lowest: float = 0.0) -> Tensor:
    """Weights `(B,)` of noise levels, most in the middle: a bell less its least value, 1 on average.

    The average is over a schedule of a thousand levels with this shift, as Wan's public trainers take it, or over its
    part from the `lowest` level on, where no others are learned from.
    """

    def bell(sigma: Tensor) -> Tensor:
        return torch.exp(-2 * (sigma - 0.5).square())

    schedule = shifted(torch.linspace(1, 1 / TIMESTEPS, int(TIMESTEPS)), shift)
    least = bell(schedule).min()
    return (bell(sigma_B) - least).clamp_min(0) / (bell(schedule[schedule >= lowest]) - least).mean()


def mix(z: Tensor, noise: Tensor, sigma_B: Tensor) -> Tensor:
    """Noisy latents at noise level `sigma`, one per batch row."""
    sigma = sigma_B.view(-1, *[1] * (z.ndim - 1))
    return (1 - sigma) * z + sigma * noise


def keyed_generator(*key: object) -> torch.Generator:
    """A CPU generator that depends on its key alone, so that a resumed run draws the same numbers."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
