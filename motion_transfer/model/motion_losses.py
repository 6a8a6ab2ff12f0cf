"""Losses that compare motion: of two velocities, or of the two clips that they lead to."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def frame_motion_loss(predicted_BZFYX: Tensor, target_BZFYX: Tensor, eps: float = 1e-6) -> Tensor:
    """Mean over frames of 1 - cos between frame-to-frame differences of two velocities, or of two clips.

    Signed and per frame, as the paper's formula reads (arXiv 2506.05207, eq. 8); the released code takes absolute
    values and the cosine along time, which loses the direction: `vmc_motion_loss`.
    """
    d_hat, d = (v.float().diff(dim=2).transpose(1, 2).flatten(2) for v in (predicted_BZFYX, target_BZFYX))
    return (1 - F.cosine_similarity(d_hat, d, dim=2, eps=eps)).mean()


def relative_motion_loss(predicted_BZFYX: Tensor, target_BZFYX: Tensor, least: float = 1e-3) -> Tensor:
    """Squared error of frame-to-frame differences of two clips, over what the target's are on average in the batch.

    Unlike the cosine it says how far things should move, and that things at rest should rest. A batch in which hardly
    anything moves counts as if its differences had the mean square `least`.
    """
    d_hat, d = (v.float().diff(dim=2) for v in (predicted_BZFYX, target_BZFYX))
    return (d_hat - d).square().mean() / d.square().mean().clamp_min(least)


def vmc_motion_loss(predicted_BZFYX: Tensor, target_BZFYX: Tensor, eps: float = 1e-6) -> Tensor:
    """Mean over places of 1 - cos, along time, between the sizes of frame-to-frame differences (arXiv 2312.00845)."""
    d_hat, d = (v.float().diff(dim=2).abs() for v in (predicted_BZFYX, target_BZFYX))
    return (1 - F.cosine_similarity(d_hat, d, dim=2, eps=eps)).mean()


def debiased_loss(predicted_BZFYX: Tensor, target_BZFYX: Tensor, anchor: int) -> Tensor:
    """MotionDirector's appearance-debiased loss with beta 1 (arXiv 2310.08465).

    The mean squared error of `sqrt(2) v - v[anchor]`, which takes away much of what all frames share.
    """
    v_hat, v = (2**0.5 * v.float() - v.float()[:, :, anchor : anchor + 1] for v in (predicted_BZFYX, target_BZFYX))
    return F.mse_loss(v_hat, v)
