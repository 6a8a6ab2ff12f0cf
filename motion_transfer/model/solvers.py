"""From one noise level to the next: in many steps that learn from those before, or in the few of a distilled base."""

from __future__ import annotations

from typing import Protocol

import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from motion_transfer.model.distilled import Distilled
from motion_transfer.model.flow import TIMESTEPS, keyed_generator
from motion_transfer.types import RenderSpec


class Solver(Protocol):
    """What `denoise` asks of one; `sigmas` are the noise levels of its steps, falling."""

    sigmas: list[float]

    def begin_anew(self) -> None:
        """What came before says nothing about what comes."""

    def take_as_given(self) -> None:
        """The latents of the next step are not to be corrected: somebody has changed them."""

    def step(self, number: int, velocity: Tensor, z: Tensor) -> Tensor:
        """The latents at the next noise level; the last step's have none."""


class MultiStep:
    """UniPC (arXiv 2302.04867), which continues what it saw at the last steps, as stock `WanPipeline` uses it.

    Args:
        scheduler: of the base.
        spec: with steps and flow shift.
    """

    def __init__(self, scheduler: UniPCMultistepScheduler, spec: RenderSpec) -> None:
        self._scheduler = UniPCMultistepScheduler.from_config(scheduler.config, flow_shift=spec.flow_shift)
        self._scheduler.set_timesteps(spec.steps)
        self.sigmas = [float(timestep) / TIMESTEPS for timestep in self._scheduler.timesteps]

    def begin_anew(self) -> None:
        """Forgets the steps before."""
        self._scheduler.lower_order_nums, self._scheduler.last_sample = 0, None

    def take_as_given(self) -> None:
        """Forgets the sample that it would correct."""
        self._scheduler.last_sample = None

    def step(self, number: int, velocity: Tensor, z: Tensor) -> Tensor:
        """See `Solver`."""
        return self._scheduler.step(velocity, self._scheduler.timesteps[number], z, return_dict=False)[0]


class FewSteps:
    """Each step guesses the clean clip, which gets noise of the next level: `(1 - sigma') z0 + sigma' noise`.

    The noise is what the step saw, `z + (1 - sigma) velocity`, which makes it Euler's rule; or is drawn anew.

    Args:
        distilled: of the base.
        spec: with steps, flow shift and seed.
    """

    def __init__(self, distilled: Distilled, spec: RenderSpec) -> None:
        self.sigmas = distilled.sigmas(spec)
        self._next = [*self.sigmas[1:], 0.0]
        self._fresh_noise, self._seed = distilled.fresh_noise, spec.seed

    def begin_anew(self) -> None:
        """Steps know nothing of each other."""

    def take_as_given(self) -> None:
        """Nothing is ever corrected."""

    def step(self, number: int, velocity: Tensor, z: Tensor) -> Tensor:
        """See `Solver`."""
        sigma, following = self.sigmas[number], self._next[number]
        clean = z - sigma * velocity
        if not self._fresh_noise:
            return clean + following * velocity
        noise = torch.randn(z.shape, generator=keyed_generator(self._seed, "few steps", number)).to(z.device)
        return (1 - following) * clean + following * noise
