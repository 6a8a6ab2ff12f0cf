"""From noise to a clip."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from motion_transfer.model.base import VideoBase
from motion_transfer.model.flow import TIMESTEPS
from motion_transfer.model.text import TextStates
from motion_transfer.types import Clip, Progress, RenderSpec, Work

Lead = Callable[[Tensor, float, int], Tensor]


def starting_noise(base: VideoBase, seed: int) -> Tensor:
    """The noise `(1, Z, F, Y, X)` that stock `WanPipeline` draws from a CPU generator with this seed."""
    return torch.randn((1, *base.latent_shape), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def _guided(base: VideoBase, z: Tensor, sigma: float, texts: TextStates, guidance: float) -> Tensor:
    """Classifier-free guidance (arXiv 2207.12598): away from the negative prompt by `guidance`."""
    rows = texts.states_BMD.shape[0]
    velocity = base.velocity(z.expand(rows, -1, -1, -1, -1), torch.full((rows,), sigma), texts)
    if rows == 1:
        return velocity
    wanted, unwanted = velocity.chunk(2)
    return unwanted + guidance * (wanted - unwanted)


def denoise(base: VideoBase, spec: RenderSpec, lead: Lead | None = None) -> Work[Clip]:
    """Renders a clip with whatever adapters the base carries; yields a `Progress` per step.

    Args:
        base: the base.
        spec: settings.
        lead: changes the noisy latents before each step, given their noise level and the step's number.
    """
    scheduler = UniPCMultistepScheduler.from_config(base.scheduler.config, flow_shift=spec.flow_shift)
    scheduler.set_timesteps(spec.steps)
    sigmas = [float(timestep) / TIMESTEPS for timestep in scheduler.timesteps]
    guidances = [spec.early_guidance if sigma >= spec.motion_until else spec.guidance for sigma in sigmas]
    texts = base.text.encode([spec.prompt, spec.negative_prompt])
    if max(guidances) <= 1.0:
        texts = TextStates(states_BMD=texts.states_BMD[:1], bias_BM=texts.bias_BM[:1])
    z = starting_noise(base, spec.seed).to(base.device)
    for i, timestep in enumerate(scheduler.timesteps):
        if lead is not None:
            z = lead(z, sigmas[i], i)
        velocity = _guided(base, z, sigmas[i], texts, guidances[i])
        z = scheduler.step(velocity, timestep, z, return_dict=False)[0]
        yield Progress(stage="render", step=i + 1, total=spec.steps)
    return Clip(frames_THWC=base.codec.decode(z[0]), fps=base.spec.fps, caption=spec.prompt)
