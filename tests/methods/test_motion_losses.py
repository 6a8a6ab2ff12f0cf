"""The losses of motion tuning by hand: signs, scales, what they are blind to, and the space in which they compare."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from motion_transfer.methods import fym_tune
from motion_transfer.model.motion_losses import debiased_loss, frame_motion_loss, vmc_motion_loss


def _pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.randn(2, 4, 5, 3, 3, generator=generator) for _ in range(2))  # type: ignore[return-value]


def test_motion_loss_by_hand() -> None:
    """Against loops over clips and frames."""
    predicted, target = _pair()
    terms = []
    for b in range(2):
        for i in range(1, 5):
            d_hat = (predicted[b, :, i] - predicted[b, :, i - 1]).flatten().double()
            d = (target[b, :, i] - target[b, :, i - 1]).flatten().double()
            terms.append(1 - float(d_hat @ d) / float(d_hat.norm() * d.norm()))
    assert frame_motion_loss(predicted, target).item() == pytest.approx(sum(terms) / 8, abs=1e-6)


@pytest.mark.parametrize(("factor", "loss"), [(1.0, 0.0), (3.7, 0.0), (0.01, 0.0), (-1.0, 2.0), (-5.0, 2.0)])
def test_motion_loss_of_multiples(factor: float, loss: float) -> None:
    """U6: 0 for any positive multiple of the target, 2 for any negative one."""
    _, target = _pair()
    assert frame_motion_loss(factor * target, target).item() == pytest.approx(loss, abs=1e-5)


def test_motion_loss_ignores_what_does_not_move() -> None:
    """U6: a constant added to all frames of a clip changes nothing."""
    predicted, target = _pair()
    still = torch.randn(2, 4, 1, 3, 3, generator=torch.Generator().manual_seed(4))
    assert frame_motion_loss(predicted + still, target).item() == pytest.approx(
        frame_motion_loss(predicted, target).item(), abs=1e-5
    )


def test_a_motion_loss_in_x0_is_that_of_the_clip_that_the_velocity_leads_to() -> None:
    """Right for the true velocity at any noise level; noise, which both clips share, does not count."""
    clean, other = _pair()
    noise, sigma = torch.randn(clean.shape, generator=torch.Generator().manual_seed(5)), torch.tensor([0.9, 0.3])
    level = sigma.view(-1, 1, 1, 1, 1)
    noisy = (1 - level) * clean + level * noise

    def loss(predicted: Tensor) -> float:
        guess = fym_tune._Guess(clean=clean, noisy=noisy, sigma_B=sigma, velocity=noise - clean, predicted=predicted)
        return fym_tune._motion_loss("frame", "x0", guess, torch.Generator()).item()

    assert loss(noise - clean) == pytest.approx(0.0, abs=1e-5)
    backward = (noisy + clean) / level  # leads to the negative of the clip
    assert loss(backward) == pytest.approx(2.0, abs=1e-5)
    elsewhere = (noisy - other) / level
    assert loss(elsewhere) == pytest.approx(frame_motion_loss(other, clean).item(), abs=1e-4)


def test_vmc_motion_loss_is_blind_to_direction() -> None:
    target = torch.randn(2, 3, 5, 4, 4, generator=torch.Generator().manual_seed(2))
    assert vmc_motion_loss(-3 * target, target).item() == pytest.approx(0.0, abs=1e-5)
    assert frame_motion_loss(-3 * target, target).item() == pytest.approx(2.0, abs=1e-5)
    assert vmc_motion_loss(target.flip(2), target).item() > 0.05


@pytest.mark.parametrize("anchor", [0, 3])
def test_debiased_loss_by_hand(anchor: int) -> None:
    """What all frames share counts (sqrt(2) - 1)^2, what the frames other than the anchor show counts 2."""
    target = torch.randn(1, 2, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    assert debiased_loss(target, target, anchor).item() == 0.0
    assert debiased_loss(target + 1, target, anchor).item() == pytest.approx((2**0.5 - 1) ** 2, rel=1e-4)
    one_frame = torch.zeros_like(target)
    one_frame[:, :, 1] = 1
    assert debiased_loss(target + one_frame, target, anchor).item() == pytest.approx(2 / 4, rel=1e-4)


def test_motion_loss_of_a_still_target_is_finite() -> None:
    predicted, _ = _pair()
    predicted.requires_grad_(True)
    frame_motion_loss(predicted, torch.zeros_like(predicted)).backward()
    assert torch.isfinite(predicted.grad).all()
