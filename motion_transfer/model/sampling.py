"""From noise to a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from motion_transfer.model.base import VideoBase
from motion_transfer.model.solvers import FewSteps, MultiStep, Solver
from motion_transfer.model.text import TextStates
from motion_transfer.types import Clip, Progress, RenderSpec, Work

IN_TILES = (
    "memory ran out while latents became pixels; that was done in tiles, whose seams may show a little in flat areas."
)
Lead = Callable[[Tensor, float, int], Tensor]


def starting_noise(base: VideoBase, seed: int) -> Tensor:
    """The noise `(1, Z, F, Y, X)` that stock `WanPipeline` draws from a CPU generator with this seed."""
    return torch.randn((1, *base.latent_shape), generator=torch.Generator().manual_seed(seed))


def smoothed_in_time(x_BZFYX: Tensor, passes: int) -> Tensor:
    """Averages each latent frame with its two neighbors, weights 1/4, 1/2, 1/4, so many times; the ends repeat."""
    for _ in range(passes):
        before, after = x_BZFYX[:, :, :1], x_BZFYX[:, :, -1:]
        padded = torch.cat([before, x_BZFYX, after], dim=2)
        x_BZFYX = padded[:, :, :-2] / 4 + padded[:, :, 1:-1] / 2 + padded[:, :, 2:] / 4
    return x_BZFYX


@torch.no_grad()
def _guided(base: VideoBase, z: Tensor, sigma: float, texts: TextStates, guidance: float, smoothing: int) -> Tensor:
    """Classifier-free guidance (arXiv 2207.12598): away from the negative prompt by `guidance`.

    `smoothing` passes over time of the difference d between wanted and unwanted velocity give wanted +
    (guidance - 1) S(d): a prompt names content, which lasts, so little of what changes from frame to frame in d
    should be meant.
    """
    rows = texts.states_BMD.shape[0]
    velocity = base.velocity(z.expand(rows, -1, -1, -1, -1), torch.full((rows,), sigma), texts)
    if rows == 1:
        return velocity
    wanted, unwanted = velocity.chunk(2)
    if not smoothing:  # in the order of stock's arithmetic, to the last bit
        return unwanted + guidance * (wanted - unwanted)
    return wanted + (guidance - 1) * smoothed_in_time(wanted - unwanted, smoothing)


def denoise(base: VideoBase, spec: RenderSpec, lead: Lead | None = None, *, turns: Sequence[float] = ()) -> Work[Clip]:
    """Renders a clip with whatever adapters the base carries; yields a `Progress` per step.

    The solver (UniPC, arXiv 2302.04867) continues what it saw at the last steps, and corrects the latents that it is
    given by the last ones. So latents that were changed are taken as they are, and where guidance changes or adapters
    stop acting, it begins anew. A distilled base has a solver of its own (`solvers.FewSteps`).

    Args:
        base: the base.
        spec: settings.
        lead: changes the noisy latents before each step, given their noise level and the step's number; gives the
            same tensor back where it changes nothing.
        turns: noise levels below which other adapters act, or none.
    """
    distilled = base.spec.distilled
    solver: Solver = FewSteps(distilled, spec) if distilled else MultiStep(base.scheduler, spec)
    sigmas = solver.sigmas
    early = [sigma >= spec.motion_until for sigma in sigmas]
    guidances = [spec.early_guidance if is_early else spec.guidance for is_early in early]
    smoothings = [spec.guidance_smoothing if is_early else 0 for is_early in early]
    turned = [sum(sigma < turn for turn in turns) for sigma in sigmas]
    courses = list(zip(guidances, smoothings, turned, strict=True))
    texts = base.text.encode([spec.prompt, spec.negative_prompt])
    if max(guidances) <= 1.0:
        texts = TextStates(states_BMD=texts.states_BMD[:1], bias_BM=texts.bias_BM[:1])
    z = starting_noise(base, spec.seed).to(base.device)
    for i, sigma in enumerate(sigmas):
        if i and courses[i] != courses[i - 1]:
            solver.begin_anew()
        if lead is not None and (led := lead(z, sigma, i)) is not z:
            z = led
            solver.take_as_given()
        velocity = _guided(base, z, sigma, texts, guidances[i], smoothings[i])
        z = solver.step(i, velocity, z)
        yield Progress(stage="render", step=i + 1, total=spec.steps)
    frames = base.codec.decode(z[0])
    if base.codec.used_tiles:
        yield Progress(stage="render", step=spec.steps, total=spec.steps, note=IN_TILES)
    return Clip(frames_THWC=frames, fps=base.spec.fps, caption=spec.prompt)
