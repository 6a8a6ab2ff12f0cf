"""Two-stage motion tuning of one clip (Follow-Your-Motion, arXiv 2506.05207, sections 3.2 to 3.4).

The spatial stage learns the clip's look on single frames, in the spatial heads; the temporal stage, with the
spatial LoRA frozen in place, learns its motion on sparsely sampled frames (on all of them where clips are short), in
the temporal heads. Only the temporal LoRA is kept, so that the look stays behind. A share of the temporal steps is
learned without the spatial LoRA, as MotionDirector's released code does (arXiv 2310.08465), for that is how the
temporal one will render.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from motion_transfer.errors import BadSpec, Diverged
from motion_transfer.lora.attach import adapter_matrices, add_group_adapter, per_row, read_adapter, solo
from motion_transfer.lora.gradient_start import start_along_gradients
from motion_transfer.lora.heads import MODULES, ROW_MODULES, group_masks
from motion_transfer.methods.fym_asides import Check, Preview, State, check_work, preview_work
from motion_transfer.methods.fym_course import Course
from motion_transfer.methods.fym_frames import sparse_latents
from motion_transfer.model.base import VideoBase
from motion_transfer.model.flow import bell_weight, keyed_generator, mix, shifted, unshifted
from motion_transfer.model.motion_losses import debiased_loss, frame_motion_loss, vmc_motion_loss
from motion_transfer.model.rope import sparse_positions
from motion_transfer.model.text import TextStates
from motion_transfer.model.tune_state import Matrices, restore_matrices, restore_optimizer, take_state
from motion_transfer.types import HeadMap, Latents, LowRank, Progress, TuneSpec, TuneState, Work

MAX_GRADIENT_NORM = 1.0
TOKENS_AT_ONCE = 4096  # as many fill a GPU
SLOWER = (0.0, 0.25, 0.5, 0.75)  # paces at which a clip is learned beside its own
WHOLE = torch.ones(1)  # strength
NO_SLOWER: Mapping[float, Latents] = {}


@dataclass(frozen=True, kw_only=True)
class _Guess:
    """What the network was given, `(B, Z, F, Y, X)` at noise levels `(B,)`, and what it made of it."""

    clean: Tensor
    noisy: Tensor
    sigma_B: Tensor
    velocity: Tensor
    predicted: Tensor

    def seen_in(self, space: str) -> tuple[Tensor, Tensor]:
        """What was found and what is true: velocities, or the clean latents `x - sigma v` that they lead to.

        Differences of velocities are mostly differences of noise, which the network is given; between clean latents
        only motion counts.
        """
        if space == "velocity":
            return self.predicted, self.velocity
        return self.noisy.float() - self.sigma_B.view(-1, 1, 1, 1, 1) * self.predicted.float(), self.clean


def _motion_loss(kind: str, space: str, guess: _Guess, anchor: int) -> Tensor:
    found, true = guess.seen_in(space)
    if kind == "frame":
        return frame_motion_loss(found, true)
    if kind == "vmc":
        return vmc_motion_loss(found, true)
    return debiased_loss(found, true, anchor)


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Clean latents of one step, their places in time, and how strong their motion is."""

    z_BZFYX: Tensor
    times_F: tuple[float, ...] | None
    strength_B: Tensor


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """What differs between the two stages.

    `alone_share` of the steps see no adapter but the stage's own; `groups` are its heads' channels by module path;
    `feel` is told how strong the motion of each row is, which those of `spans` of ranks are given alike.
    """

    name: str
    course: Course
    rate: float
    decay: float
    motion_loss: str
    alone_share: float
    groups: Mapping[str, Tensor]
    draw: Callable[[torch.Generator], _Batch]
    feel: Callable[[Tensor], None] = lambda _: None
    spans: tuple[slice, ...] = (slice(None),)


def rows_at_once(rows: int, row_tokens: int) -> int:
    """How many clips of a batch go through the network together: fewer of long ones, for their memory."""
    return min(rows, max(1, TOKENS_AT_ONCE // row_tokens))


def _step_losses(
    base: VideoBase, batch: _Batch, text: TextStates, stage: _Stage, spec: TuneSpec, step: int
) -> Iterator[Tensor]:
    """Denoising loss plus weighted motion loss at random noise levels, spread evenly over the batch.

    Yields what each part of the batch adds to the mean over it, that one part's graph is gone before the next begins.
    Departs from the paper: levels at which no render lets the motion act are left out.
    """
    rows = batch.z_BZFYX.shape[0]
    generator = keyed_generator(spec.seed, stage.name, step, "noise")
    uniform = (torch.arange(rows) + torch.rand(rows, generator=generator)) / rows
    lowest = unshifted(spec.lowest_noise, spec.noise_shift)
    sigma_B = shifted(lowest + (1 - lowest) * uniform, spec.noise_shift)
    noise = torch.randn(batch.z_BZFYX.shape, generator=generator)
    num_frames = batch.z_BZFYX.shape[2]
    anchor = int(torch.randint(num_frames, (1,), generator=generator)) if stage.motion_loss == "debiased" else 0
    size = rows_at_once(rows, num_frames * base.frame_tokens)
    for part in (slice(first, first + size) for first in range(0, rows, size)):
        stage.feel(batch.strength_B[part])
        guess = _guess(base, batch.z_BZFYX[part], noise[part], sigma_B[part], text, batch.times_F)
        error_B = (guess.predicted - guess.velocity).square().flatten(1).mean(1)
        if spec.loss_weighting == "bell":
            error_B = error_B * bell_weight(guess.sigma_B, spec.noise_shift, spec.lowest_noise)
        loss = error_B.mean()
        if stage.motion_loss != "off":
            loss = loss + spec.motion_weight * _motion_loss(stage.motion_loss, spec.motion_space, guess, anchor)
        yield loss * (len(error_B) / rows)


def _guess(
    base: VideoBase, clean: Tensor, noise: Tensor, sigma_B: Tensor, text: TextStates, times_F: tuple[float, ...] | None
) -> _Guess:
    noisy = mix(clean, noise, sigma_B)
    predicted = base.velocity(noisy, sigma_B, text, times_F)
    clean, noisy, sigma_B, velocity = (x.to(base.device) for x in (clean, noisy, sigma_B, noise - clean))
    return _Guess(clean=clean, noisy=noisy, sigma_B=sigma_B, velocity=velocity, predicted=predicted)


def _optimizer(matrices: Matrices, stage: _Stage, spec: TuneSpec) -> torch.optim.AdamW:
    """AdamW whose `up` matrices learn faster than the `down` ones (LoRA+, arXiv 2402.12354)."""
    sides = {".down": stage.rate, ".up": stage.rate * spec.up_rate_ratio}
    groups = [
        {"params": [matrix for name, matrix in matrices.items() if name.endswith(side)], "lr": rate, "whole_rate": rate}
        for side, rate in sides.items()
    ]
    return torch.optim.AdamW(groups, weight_decay=stage.decay, fused=True)


def _train(
    base: VideoBase, stage: _Stage, adapters: Mapping[str, Matrices], spec: TuneSpec, resume: TuneState | None
) -> Iterator[tuple[int, float | None, State | None]]:
    """Runs one stage on the adapter of its name; yields steps done, loss, and the means to take down the state.

    There are neither loss nor state yet while it looks where to begin.

    Raises:
        Diverged: the loss is no number any more.
    """
    matrices = adapters[stage.name]
    if not matrices:  # no head in the group
        return
    captioned, uncaptioned = (base.text.encode([caption]) for caption in (spec.caption, ""))

    def pull(step: int) -> float:
        """The loss at a step; its gradients are left in the matrices."""
        data = keyed_generator(spec.seed, stage.name, step, "data")
        batch = stage.draw(data)
        dropped = torch.rand((), generator=data).item() < spec.caption_drop
        alone = torch.rand((), generator=data).item() < stage.alone_share
        for matrix in matrices.values():
            matrix.grad = None
        with solo(base.transformer, stage.name, 1.0) if alone else nullcontext():
            losses = []
            for loss in _step_losses(base, batch, uncaptioned if dropped else captioned, stage, spec, step):
                loss.backward()
                losses.append(loss.detach())
        stage.feel(WHOLE)
        if not math.isfinite(value := float(sum(losses))):
            raise Diverged(f"a finite loss is expected, but step {max(1, step + 1)} of the {stage.name} stage gave "
                           f"{value}; choose a smaller learning rate.")  # fmt: skip
        return value

    optimizer = _optimizer(matrices, stage, spec)
    if resume is not None:
        restore_optimizer(matrices, optimizer, resume)
    elif spec.gradient_draws:
        generator = keyed_generator(spec.seed, stage.name, "start")
        for _ in start_along_gradients(matrices, stage.groups, pull, spec.gradient_draws, generator, stage.spans):
            yield 0, None, None
    course, step = stage.course, resume.step if resume else 0
    while step < course.steps:
        value = pull(step)
        nn.utils.clip_grad_norm_(list(matrices.values()), MAX_GRADIENT_NORM)
        for group in optimizer.param_groups:
            group["lr"] = group["whole_rate"] * course.rate_share(step)
        optimizer.step()
        step += 1
        yield step, value, functools.partial(take_state, stage.name, step, adapters, optimizer, course.checks)


def _groups(base: VideoBase, group_LN: Tensor, spec: TuneSpec) -> dict[str, Tensor]:
    """Channels of a stage's head group, or of all heads without decoupling, by module path."""
    modules = MODULES if spec.include_output else ROW_MODULES
    return group_masks(group_LN if spec.decoupled else torch.ones_like(group_LN), base.head_width, modules)


def always_rank(spec: TuneSpec) -> int:
    """So many of the temporal adapter's first ranks act whatever the motion's strength."""
    return spec.rank // 2 if spec.slow_share else 0


def _spans(spec: TuneSpec) -> tuple[slice, ...]:
    """Ranks that act always, if any, and those that act by strength."""
    always = always_rank(spec)
    return (slice(0, always), slice(always, None)) if always else (slice(None),)


def _adapter(
    base: VideoBase, name: str, groups: Mapping[str, Tensor], spec: TuneSpec, resume: TuneState | None
) -> dict[str, nn.Parameter]:
    """Attaches a stage's adapter to its head group."""
    init = keyed_generator(spec.seed, name, "init")
    matrices = add_group_adapter(base.transformer, name, groups, rank=spec.rank, generator=init)
    if resume is not None:
        restore_matrices(name, matrices, resume)
    return matrices


def tune_spatial(
    base: VideoBase, frames_TZ1YX: Tensor, heads: HeadMap, spec: TuneSpec, resume: TuneState | None = None
) -> Work[dict[str, LowRank]]:
    """Learns the clip's look on single frames, in the spatial heads; its adapter, if any, stays attached.

    Without decoupling, and with all latent frames and the debiased loss, the two stages are MotionDirector's
    (arXiv 2310.08465); without this stage and without a motion loss, a plain LoRA.

    Args:
        base: without adapters.
        frames_TZ1YX: each frame encoded alone.
        heads: labels of all heads.
        spec: settings.
        resume: where an earlier run stood, in this stage or in the next.
    """
    if not spec.spatial_steps:
        return {}
    groups = _groups(base, heads.spatial_LN, spec)
    adapters = {"spatial": _adapter(base, "spatial", groups, spec, resume)}

    def draw(generator: torch.Generator) -> _Batch:
        picks = torch.randint(len(frames_TZ1YX), (spec.spatial_batch,), generator=generator)
        return _Batch(z_BZFYX=frames_TZ1YX[picks], times_F=None, strength_B=torch.ones(len(picks)))

    stage = _Stage(name="spatial", course=Course(spec.spatial_steps), rate=spec.spatial_rate, decay=spec.spatial_decay,
                   motion_loss="off", alone_share=0.0, groups=groups, draw=draw)  # fmt: skip
    if resume is None or resume.stage == stage.name:
        for step, loss, state in _train(base, stage, adapters, spec, resume):
            yield Progress(stage=stage.name, step=step, total=spec.spatial_steps, loss=loss, state=state)
    return read_adapter(base.transformer, "spatial")


def tune_temporal(
    base: VideoBase,
    sparse: Latents,
    full: Latents,
    heads: HeadMap,
    spec: TuneSpec,
    preview: Preview | None = None,
    preview_every: int = 0,
    check: Check | None = None,
    resume: TuneState | None = None,
    slower: Mapping[float, Latents] = NO_SLOWER,
) -> Work[dict[str, LowRank]]:
    """Learns the clip's motion on sparse frames, in the temporal heads; any attached spatial LoRA stays frozen.

    Args:
        base: with the spatial adapter attached, or bare.
        sparse: latents of evenly kept pixel frames, with their places on the full clip (sampling "pixel").
        full: latents of the whole clip, of which every m-th is kept (sampling "latent").
        heads: labels of all heads.
        spec: settings.
        preview: how to render the motion learned so far, with whatever adapter is active.
        preview_every: steps between previews; 0 for none.
        check: how to measure the motion learned so far, likewise; without, all steps are done.
        resume: where an earlier run stood; it counts if it stood in this stage.
        slower: latents like the ones that are learned from, by the pace at which the clip plays, 0 to less than 1. A
            share of the examples shows them, to an adapter of which half the ranks act so much less.

    Raises:
        BadSpec: no head is temporal.
    """
    resume = resume if resume is not None and resume.stage == "temporal" else None
    groups = _groups(base, heads.temporal_LN, spec)
    adapters = {"spatial": adapter_matrices(base.transformer, "spatial")}
    adapters["temporal"] = _adapter(base, "temporal", groups, spec, resume)
    if not adapters["temporal"]:
        raise BadSpec(f"motion is learned in temporal heads, but the head rule {spec.head_rule} finds none here; "
                      "choose the rule balanced.")  # fmt: skip

    num_sparse = spec.sparse_latents if spec.sampling == "latent" else sparse.z_ZFYX.shape[1]
    places_F = sparse_positions(full.z_ZFYX.shape[1], num_sparse, spec.positions)
    at_pace = {1.0: full if spec.sampling == "latent" else sparse, **slower}
    paces = sorted(slower)

    def draw(generator: torch.Generator) -> _Batch:
        offset = 0
        if spec.sampling == "latent":
            stride = (full.z_ZFYX.shape[1] - 1) // (spec.sparse_latents - 1)
            offset = int(torch.randint(stride, (1,), generator=generator))
        drawn = [1.0] * spec.temporal_batch
        for row in range(spec.temporal_batch if paces else 0):
            if torch.rand((), generator=generator).item() < spec.slow_share:
                drawn[row] = paces[int(torch.randint(len(paces), (), generator=generator))]
        rows = [at_pace[pace] for pace in drawn]
        if spec.sampling == "latent":
            rows = [sparse_latents(one, spec.sparse_latents, offset) for one in rows]
        first, length = rows[0].times_F[0], len(rows[0].times_F)
        times_F = tuple(first + place for place in places_F[:length])
        z_BZFYX = torch.stack([one.z_ZFYX for one in rows])
        return _Batch(z_BZFYX=z_BZFYX, times_F=times_F, strength_B=torch.tensor(drawn))

    before, done = (resume.checks, resume.step) if resume is not None else ((), 0)
    course = Course(spec.temporal_steps, spec.check_every, before, done)
    by_strength = per_row(base.transformer, "temporal", always_rank(spec)) if slower else nullcontext(lambda _: None)
    with by_strength as feel:
        stage = _Stage(name="temporal", course=course, rate=spec.temporal_rate, decay=spec.temporal_decay,
                       motion_loss=spec.motion_loss, alone_share=spec.spatial_drop, groups=groups, draw=draw,
                       feel=feel, spans=_spans(spec))  # fmt: skip
        if check is not None and resume is not None and course.is_check_due(resume.step):
            yield from check_work(base, check, spec.inference_weight, lambda: resume, course)
        for step, loss, state in _train(base, stage, adapters, spec, resume):
            yield Progress(stage=stage.name, step=step, total=course.steps, loss=loss, state=state)
            if check is not None and course.is_check_due(step):
                yield from check_work(base, check, spec.inference_weight, state, course)
            if preview is not None and preview_every and step and step % preview_every == 0:
                yield from preview_work(base, preview, spec.inference_weight, state)
    return read_adapter(base.transformer, "temporal")
