"""Two-stage motion tuning of one clip (Follow-Your-Motion, arXiv 2506.05207, sections 3.2 to 3.4).

The spatial stage learns the clip's look on single frames, in the spatial heads; the temporal stage, with the
spatial LoRA frozen in place, learns its motion on sparsely sampled frames, in the temporal heads. Only the
temporal LoRA is kept, so that the look stays behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motion_transfer.errors import BadSpec
from motion_transfer.lora.attach import add_group_adapter, read_adapter, solo
from motion_transfer.lora.heads import group_masks
from motion_transfer.model.base import VideoBase
from motion_transfer.model.flow import keyed_generator, mix, shifted
from motion_transfer.model.text import TextStates
from motion_transfer.types import Clip, HeadMap, Latents, LowRank, Progress, TuneSpec, Work

Preview = Callable[[], Clip]
MAX_GRADIENT_NORM = 1.0


def frame_motion_loss(predicted_BZFYX: Tensor, target_BZFYX: Tensor, eps: float = 1e-6) -> Tensor:
    """Mean over frames of 1 - cos between frame-to-frame differences of the velocities.

    Signed and per frame, as the paper's formula reads (arXiv 2506.05207, eq. 8); the released code takes absolute
    values and the cosine along time, which loses the direction: `vmc_motion_loss`.
    """
    d_hat, d = (v.float().diff(dim=2).transpose(1, 2).flatten(2) for v in (predicted_BZFYX, target_BZFYX))
    return (1 - F.cosine_similarity(d_hat, d, dim=2, eps=eps)).mean()


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


def _motion_loss(kind: str, predicted: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
    if kind == "frame":
        return frame_motion_loss(predicted, target)
    if kind == "vmc":
        return vmc_motion_loss(predicted, target)
    anchor = int(torch.randint(target.shape[2], (1,), generator=generator))
    return debiased_loss(predicted, target, anchor)


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Clean latents of one step, and their places in time."""

    z_BZFYX: Tensor
    times_F: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """What differs between the two stages."""

    name: str
    steps: int
    rate: float
    decay: float
    motion_loss: str
    draw: Callable[[torch.Generator], _Batch]


def sparse_latents(latents: Latents, num_sparse: int, offset: int = 0) -> Latents:
    """Every m-th latent frame of the full clip from `offset` on, each keeping its place in time."""
    stride = (latents.z_ZFYX.shape[1] - 1) // (num_sparse - 1)
    keep = list(range(offset, latents.z_ZFYX.shape[1], stride))
    return Latents(z_ZFYX=latents.z_ZFYX[:, keep], times_F=tuple(latents.times_F[i] for i in keep))


def _step_loss(base: VideoBase, batch: _Batch, text: TextStates, stage: _Stage, spec: TuneSpec, step: int) -> Tensor:
    """Denoising loss plus weighted motion loss at random noise levels, spread evenly over the batch."""
    rows = batch.z_BZFYX.shape[0]
    generator = keyed_generator(spec.seed, stage.name, step, "noise")
    uniform = (torch.arange(rows) + torch.rand(rows, generator=generator)) / rows
    sigma_B = shifted(uniform, spec.noise_shift)
    noise = torch.randn(batch.z_BZFYX.shape, generator=generator)
    target = (noise - batch.z_BZFYX).to(base.device)
    predicted = base.velocity(mix(batch.z_BZFYX, noise, sigma_B), sigma_B, text, batch.times_F)
    loss = F.mse_loss(predicted, target)
    if stage.motion_loss != "off":
        loss = loss + spec.motion_weight * _motion_loss(stage.motion_loss, predicted, target, generator)
    return loss


def _train(
    base: VideoBase, stage: _Stage, parameters: list[nn.Parameter], spec: TuneSpec
) -> Iterator[tuple[int, float]]:
    """Runs one stage; yields step number and loss after each step."""
    if not parameters:  # no head in the group
        return
    text = base.text.encode([spec.caption])
    optimizer = torch.optim.AdamW(parameters, lr=stage.rate, weight_decay=stage.decay)
    for step in range(stage.steps):
        batch = stage.draw(keyed_generator(spec.seed, stage.name, step, "data"))
        loss = _step_loss(base, batch, text, stage, spec, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * min(1.0, (step + 1) / 10)
        optimizer.step()
        yield step + 1, loss.item()


def _masks(base: VideoBase, group_LN: Tensor, spec: TuneSpec) -> dict[str, Tensor]:
    """Channel masks of a head group, or of all heads without decoupling."""
    return group_masks(group_LN if spec.decoupled else torch.ones_like(group_LN), base.head_width)


def tune_spatial(base: VideoBase, frames_TZ1YX: Tensor, heads: HeadMap, spec: TuneSpec) -> Work[dict[str, LowRank]]:
    """Learns the clip's look on single frames, in the spatial heads; the adapter stays attached.

    Without decoupling, and with all latent frames and the debiased loss, the two stages are MotionDirector's
    (arXiv 2310.08465); without this stage and without a motion loss, a plain LoRA.

    Args:
        base: without adapters.
        frames_TZ1YX: each frame encoded alone.
        heads: labels of all heads.
        spec: settings.
    """
    masks = _masks(base, heads.spatial_LN, spec)
    init = keyed_generator(spec.seed, "spatial", "init")
    parameters = add_group_adapter(base.transformer, "spatial", masks, rank=spec.rank, generator=init)

    def draw(generator: torch.Generator) -> _Batch:
        picks = torch.randint(len(frames_TZ1YX), (spec.spatial_batch,), generator=generator)
        return _Batch(z_BZFYX=frames_TZ1YX[picks], times_F=None)

    stage = _Stage(name="spatial", steps=spec.spatial_steps, rate=spec.spatial_rate, decay=spec.spatial_decay,
                   motion_loss="off", draw=draw)  # fmt: skip
    for step, loss in _train(base, stage, parameters, spec):
        yield Progress(stage="spatial", step=step, total=stage.steps, loss=loss)
    return read_adapter(base.transformer, "spatial")


def tune_temporal(
    base: VideoBase,
    sparse: Latents,
    full: Latents,
    heads: HeadMap,
    spec: TuneSpec,
    preview: Preview | None = None,
    preview_every: int = 0,
) -> Work[dict[str, LowRank]]:
    """Learns the clip's motion on sparse frames, in the temporal heads; any attached spatial LoRA stays frozen.

    Args:
        base: with the spatial adapter attached, or bare.
        sparse: latents of evenly kept pixel frames, with their places on the full clip (sampling "pixel").
        full: latents of the whole clip, of which every m-th is kept (sampling "latent").
        heads: labels of all heads.
        spec: settings.
        preview: renders the motion learned so far; called with the temporal adapter alone active.
        preview_every: steps between previews; 0 for none.

    Raises:
        BadSpec: no head is temporal.
    """
    masks = _masks(base, heads.temporal_LN, spec)
    if not masks:
        raise BadSpec(f"motion is learned in temporal heads, but the head rule {spec.head_rule} finds none here; "
                      "choose the rule balanced.")  # fmt: skip
    init = keyed_generator(spec.seed, "temporal", "init")
    parameters = add_group_adapter(base.transformer, "temporal", masks, rank=spec.rank, generator=init)

    def draw(generator: torch.Generator) -> _Batch:
        chosen = sparse
        if spec.sampling == "latent":
            stride = (full.z_ZFYX.shape[1] - 1) // (spec.sparse_latents - 1)
            offset = int(torch.randint(stride, (1,), generator=generator))
            chosen = sparse_latents(full, spec.sparse_latents, offset)
        z = chosen.z_ZFYX.expand(spec.temporal_batch, -1, -1, -1, -1)
        return _Batch(z_BZFYX=z, times_F=chosen.times_F)

    stage = _Stage(name="temporal", steps=spec.temporal_steps, rate=spec.temporal_rate, decay=spec.temporal_decay,
                   motion_loss=spec.motion_loss, draw=draw)  # fmt: skip
    for step, loss in _train(base, stage, parameters, spec):
        shown = None
        if preview is not None and preview_every and step % preview_every == 0:
            with solo(base.transformer, "temporal", spec.inference_weight):
                shown = preview()
        yield Progress(stage="temporal", step=step, total=stage.steps, loss=loss, preview=shown)
    return read_adapter(base.transformer, "temporal")


def legal_sparse_latents(num_latents: int) -> tuple[int, ...]:
    """Lengths whose evenly spaced frames fall on whole latent frames of the full clip."""
    return tuple(n for n in range(2, num_latents + 1) if (num_latents - 1) % (n - 1) == 0)


def default_sparse_latents(num_latents: int) -> int:
    """The shortest legal length of at least five: 17 of Wan's 81 frames (arXiv 2506.05207, section 3.3)."""
    return next(n for n in legal_sparse_latents(num_latents) if n >= min(5, num_latents))
