"""From noise to a clip: guidance smoothed in time, latents that are led, and a course that changes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from motion_transfer.model.base import VideoBase
from motion_transfer.model.flow import TIMESTEPS
from motion_transfer.model.sampling import denoise, smoothed_in_time, starting_noise
from motion_transfer.types import Clip, RenderSpec
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


def _steps(base: VideoBase, z: Tensor, first: int, last: int, guidance: float, num_steps: int = 9) -> Tensor:
    """Some of the steps by the stock solver, which knows nothing of those before."""
    scheduler = UniPCMultistepScheduler.from_config(base.scheduler.config, flow_shift=3.0)
    scheduler.set_timesteps(num_steps)
    scheduler.set_begin_index(first)
    texts = base.text.encode(["a red circle", ""])
    for timestep in scheduler.timesteps[first:last]:
        sigma = torch.full((2,), float(timestep) / TIMESTEPS)
        with torch.no_grad():
            wanted, unwanted = base.velocity(z.expand(2, -1, -1, -1, -1), sigma, texts).chunk(2)
        velocity = unwanted + guidance * (wanted - unwanted)
        z = scheduler.step(velocity, timestep, z, return_dict=False)[0]
    return z


def _agrees(base: VideoBase, clip: Clip, z: Tensor) -> bool:
    return bool(abs(clip.frames_THWC.astype(int) - base.codec.decode(z[0]).astype(int)).max() <= 1)


def test_the_solver_begins_anew_where_the_course_changes(tiny_base: VideoBase) -> None:
    spec = RenderSpec(prompt="a red circle", steps=9, early_guidance=9.0, guidance=2.0, guidance_smoothing=0)
    scheduler = UniPCMultistepScheduler.from_config(tiny_base.scheduler.config, flow_shift=3.0)
    scheduler.set_timesteps(9)
    early = sum(float(timestep) / TIMESTEPS >= spec.motion_until for timestep in scheduler.timesteps)
    assert 1 < early < 8
    noise = starting_noise(tiny_base, 0)
    z = _steps(tiny_base, _steps(tiny_base, noise, 0, early, 9.0), early, 9, 2.0)
    assert _agrees(tiny_base, drive(denoise(tiny_base, spec)), z)
    level = replace(spec, guidance=9.0)
    whole = _steps(tiny_base, noise, 0, 9, 9.0)
    assert _agrees(tiny_base, drive(denoise(tiny_base, level)), whole)
    anew = _steps(tiny_base, _steps(tiny_base, noise, 0, early, 9.0), early, 9, 9.0)
    assert _agrees(tiny_base, drive(denoise(tiny_base, level, turns=[level.motion_until])), anew)


def test_latents_that_are_led_stand(tiny_base: VideoBase) -> None:
    """What the last step is given counts alone, whatever the solver saw before."""
    spec = RenderSpec(prompt="a red circle", steps=6, early_guidance=3.0, guidance=3.0, guidance_smoothing=0)
    there = torch.randn(starting_noise(tiny_base, 0).shape, generator=torch.Generator().manual_seed(9))
    led = drive(denoise(tiny_base, spec, lambda z, sigma, step: there if step == 5 else z))
    assert _agrees(tiny_base, led, _steps(tiny_base, there, 5, 6, 3.0, 6))
