"""Guidance smoothed in time: what it does to a difference, and when it acts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from motion_transfer.model.base import VideoBase
from motion_transfer.model.sampling import denoise, smoothed_in_time
from motion_transfer.types import RenderSpec
from motion_transfer.work import drive


def test_each_frame_is_averaged_with_its_neighbors() -> None:
    x_1ZFYX = torch.tensor([0.0, 4.0, 8.0, 0.0]).reshape(1, 1, 4, 1, 1)
    assert smoothed_in_time(x_1ZFYX, 1).flatten().tolist() == [1.0, 4.0, 5.0, 2.0]


@pytest.mark.parametrize("frames", [1, 2, 13])
def test_what_does_not_change_stays(frames: int) -> None:
    still = torch.randn(2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(0)).expand(-1, -1, frames, -1, -1)
    assert torch.allclose(smoothed_in_time(still, 3), still, atol=1e-6)


def test_no_pass_changes_nothing_and_more_passes_leave_less_change() -> None:
    x = torch.randn(1, 2, 9, 3, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(smoothed_in_time(x, 0), x)
    changes = [smoothed_in_time(x, passes).diff(dim=2).norm().item() for passes in range(6)]
    assert all(before > after for before, after in itertools.pairwise(changes))


def _frames(base: VideoBase, **changes: float) -> np.ndarray:
    spec = RenderSpec(prompt="a red circle", steps=3, seed=2, **changes)
    return drive(denoise(base, spec)).frames_THWC.astype(int)


def test_it_acts_only_where_guidance_acts_and_while_noise_is_high(tiny_base: VideoBase) -> None:
    plain, smooth = (_frames(tiny_base, motion_until=0.0, guidance_smoothing=n) for n in (0, 4))
    assert abs(plain - smooth).max() > 2
    late = [_frames(tiny_base, motion_until=1.0, guidance_smoothing=n) for n in (0, 4)]
    assert np.array_equal(*late)
    unguided = [_frames(tiny_base, early_guidance=1.0, guidance=1.0, guidance_smoothing=n) for n in (0, 4)]
    assert np.array_equal(*unguided)
    level = [_frames(tiny_base, early_guidance=1.0, guidance=5.0, guidance_smoothing=n) for n in (0, 4)]
    assert abs(level[0] - level[1]).max() <= 1
