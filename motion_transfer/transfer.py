"""Learning a clip's motion on a base, and rendering it onto new content: no files, no measures."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from motion_transfer.errors import BadSpec, NotEnoughMemory, WrongBase
from motion_transfer.evaluate.motion import motion_fidelity
from motion_transfer.lora.algebra import ALWAYS_RANK, at_strength, stack
from motion_transfer.lora.attach import acting, attached, remove_adapters
from motion_transfer.methods.fym_frames import default_sparse_latents, legal_sparse_latents
from motion_transfer.methods.fym_heads import map_heads
from motion_transfer.methods.fym_tune import SLOWER, always_rank, tune_spatial, tune_temporal
from motion_transfer.model.base import VideoBase
from motion_transfer.model.catalog import BaseSpec
from motion_transfer.model.distilled import suited
from motion_transfer.model.rope import sparse_positions
from motion_transfer.model.sampling import denoise
from motion_transfer.model.strength import Acting, letting_through, tokens_at_work
from motion_transfer.types import SHAPES_FORM, Clip, HeadMap, Latents, Lora, RenderSpec, TuneSpec, TuneState, Work
from motion_transfer.video.frames import fit_clip, slowed, sparse_indices
from motion_transfer.work import Stopwatch

T = TypeVar("T")
CHECK_RENDERS, CHECK_STEPS = 2, 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """A learned motion: the LoRA, the heads it lives in, the fitted clip, and seconds by stage."""

    lora: Lora
    heads: HeadMap
    clip: Clip
    seconds: dict[str, float]


# What libraries say where they raise a plain RuntimeError: PyTorch on the CPU, the system, NVIDIA's libraries.
_ALLOCATION_FAILED = ("not enough memory", "allocate memory", "out of memory", "ALLOC_FAILED")


def _within_memory(work: Callable[..., Work[T]]) -> Callable[..., Work[T]]:
    """Says in one sentence that memory ran out, however the libraries put it."""

    @functools.wraps(work)
    def guarded(*args: Any, **kwargs: Any) -> Work[T]:
        try:
            return (yield from work(*args, **kwargs))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            short = isinstance(error, (torch.OutOfMemoryError, MemoryError))
            if not short and not any(words in str(error) for words in _ALLOCATION_FAILED):
                raise
            reason = str(error).partition("\n")[0][:120] or "allocation failed"
            raise NotEnoughMemory(f"this needs more memory than there is ({reason}); close other programs, or choose "
                                  "the precision nf4, a smaller rank or smaller batches.") from error  # fmt: skip

    return guarded


def fit(spec: BaseSpec, clip: Clip) -> Clip:
    """A clip of any size and rate as a base's own frames, evenly spread over its time."""
    return fit_clip(clip, num_frames=spec.num_frames, height=spec.height, width=spec.width)


@_within_memory
def heads_work(base: VideoBase, clip: Clip, spec: TuneSpec) -> Work[HeadMap]:
    """Labels the base's attention heads on a clip."""
    latents = base.codec.encode(fit(base.spec, clip))
    return (yield from map_heads(base, latents, spec.caption, rule=spec.head_rule))


def _sparse(base: VideoBase, clip: Clip, num_sparse: int) -> Latents:
    """Latents of evenly kept pixel frames, each at its place on the full clip."""
    indices = sparse_indices(clip.num_frames, (num_sparse - 1) * base.codec.frames_per_latent + 1)
    thin = Clip(frames_THWC=clip.frames_THWC[list(indices)], fps=clip.fps)
    return replace(base.codec.encode(thin), times_F=sparse_positions(base.num_latents, num_sparse))


def _settled(base: VideoBase, spec: TuneSpec) -> TuneSpec:
    """The spec with what was left to the base filled in."""
    if spec.slow_share and spec.keep == "both":
        raise BadSpec("slower examples are for the motion alone, but the look was to be kept too; choose a slow share "
                      "of 0, or keep the motion alone.")  # fmt: skip
    if spec.sparse_latents == 0:
        return replace(spec, sparse_latents=default_sparse_latents(base.num_latents, base.frame_tokens))
    legal = legal_sparse_latents(base.num_latents)
    if spec.sparse_latents not in legal:
        raise BadSpec(f"sparse latents must be 0 or one of {', '.join(map(str, legal))} for this base, "
                      f"but is {spec.sparse_latents}; pick one of them.")  # fmt: skip
    return spec


@_within_memory
def tune_work(
    base: VideoBase, clip: Clip, spec: TuneSpec, *, preview: RenderSpec | None = None, preview_every: int = 0,
    checks: bool = True, resume: TuneState | None = None,
) -> Work[Tuned]:  # fmt: skip
    """Learns a clip's motion: heads, spatial stage, temporal stage.

    Args:
        base: left bare, whatever happens.
        clip: the reference, of any size and rate.
        spec: settings.
        preview: how to render previews during the temporal stage.
        preview_every: steps between previews; 0 for none.
        checks: the checks of the settings are made; without, all steps are done.
        resume: where an earlier run of the same clip and spec stood.
    """
    watch, spec = Stopwatch(), _settled(base, spec)
    remove_adapters(base.transformer)
    with watch.timing("encode"):
        fitted = fit(base.spec, clip)
        full = base.codec.encode(fitted)
        frames = base.codec.encode_frames(fitted)
        sparse = _sparse(base, fitted, spec.sparse_latents) if spec.sampling == "pixel" else full
        slower = {}
        for pace in SLOWER if spec.slow_share else ():
            paced = fit(base.spec, slowed(clip, pace))
            pixel = spec.sampling == "pixel"
            slower[pace] = _sparse(base, paced, spec.sparse_latents) if pixel else base.codec.encode(paced)
    try:
        with watch.timing("heads"):
            heads = yield from map_heads(base, full, spec.caption, rule=spec.head_rule)
        with watch.timing("spatial"):
            look = yield from tune_spatial(base, frames, heads, spec, resume)
        show = (lambda: carried_work(base, preview)) if preview is not None else None
        with watch.timing("temporal"):
            check = functools.partial(_followed, base, fitted, spec) if checks else None
            layers = yield from tune_temporal(base, sparse, full, heads, spec, show, preview_every, check, resume,
                                                 slower)  # fmt: skip
    finally:
        remove_adapters(base.transformer)
    info = _recipe(base, clip, fitted, heads, spec)
    if rest := always_rank(spec):
        info[ALWAYS_RANK] = rest
    lora = Lora(layers=layers, info=info)
    if spec.keep == "both":
        lora = stack([(lora, 1.0), (Lora(layers=look, info=info), 1.0)])
    return Tuned(lora=at_strength(lora, spec.inference_weight), heads=heads, clip=fitted, seconds=watch.seconds)


def _followed(base: VideoBase, reference: Clip, spec: TuneSpec) -> Work[float | None]:
    """Mean Motion Fidelity of short renders with the adapters that the base carries; None if it can't be measured.

    They are asked for nothing, and so show the motion as it will be with other content: what the reference's own
    caption brings back is learned long before.
    """
    found = []
    for number in range(CHECK_RENDERS):
        asked = RenderSpec(
            prompt="", seed=(spec.seed + number) % 2**31, steps=CHECK_STEPS, guidance=1.0, early_guidance=1.0
        )
        shown = yield from carried_work(base, suited(asked, base.spec.distilled))
        found.append(motion_fidelity(reference, replace(shown, fps=reference.fps)))
    known = [one for one in found if one is not None]
    return sum(known) / len(known) if known else None


def _recipe(base: VideoBase, clip: Clip, fitted: Clip, heads: HeadMap, spec: TuneSpec) -> dict[str, Any]:
    labels = ["".join("s" if s else "t" for s in row) for row in heads.spatial_LN.tolist()]
    return {
        "base": base.spec.name,
        "base_hash": base.hash,
        "precision": base.precision,
        "kind": "motion",
        "method": "follow-your-motion",
        "caption": spec.caption,
        "clip": clip.source,
        "clip_fps": fitted.fps,
        "clip_seconds": round(fitted.seconds, 3),
        "clip_sha256": hashlib.sha256(fitted.frames_THWC.tobytes()).hexdigest(),
        "heads": labels,
        "head_masses": [[[round(m, 5) for m in pair] for pair in row] for row in heads.mass_LN2.tolist()],
        "head_facts": dict(heads.facts),
        "spec": asdict(spec),
    }


def motion_share(spec: RenderSpec, sigma: float) -> float:
    """Of its strength, with which a motion acts at a noise level."""
    if sigma < spec.motion_until:
        return 0.0
    return spec.late_strength if sigma < SHAPES_FORM else 1.0


def carried_work(
    base: VideoBase, spec: RenderSpec, *, tokens: Sequence[Acting] = (), late: Sequence[Acting] | None = None,
    turns: bool = True,
) -> Work[Clip]:  # fmt: skip
    """Renders with the adapters that the base carries and tokens, which act down to the noise level of the settings.

    Where things are is decided while noise is high; their shapes come next, and there adapters act less; the base alone
    draws them best.

    Args:
        base: with adapters.
        spec: settings.
        tokens: act beside the adapters.
        late: tokens beside the late adapter, which takes the others' place where shapes form; None for no such adapter.
        turns: whether there are any adapters.
    """
    swaps = late is not None
    levels = [spec.motion_until] * turns + [SHAPES_FORM] * swaps
    with (
        acting(base.transformer) as act,
        letting_through(tokens) as let_through,
        letting_through(late or ()) as let_late_through,
    ):

        def lead(z: Tensor, sigma: float, _: int) -> Tensor:
            share = motion_share(spec, sigma)
            early, of_late = (share, share) if not swaps else (share, 0.0) if sigma >= SHAPES_FORM else (0.0, share)
            act(early, of_late)
            let_through(early)
            let_late_through(of_late)
            return z

        return (yield from denoise(base, spec, lead, turns=levels))


@_within_memory
def render_work(base: VideoBase, lora: Lora | None, spec: RenderSpec) -> Work[Clip]:
    """Renders a prompt with a LoRA (or the bare base); it plays in the reference's own timing.

    Raises:
        WrongBase: the LoRA was made for another base, or another version of it.
    """
    made_for = lora.info.get("base_hash") if lora else None
    if lora is not None and made_for not in (None, base.hash):
        raise WrongBase(
            f"this LoRA was made for the base {lora.info.get('base')} {str(made_for)[:8]}, but the open base is "
            f"{base.spec.name} {base.hash[:8]}; tune the clip again on this base."
        )
    set_lora = at_strength(lora, spec.strength) if lora else None
    late = set_lora.late if set_lora else None
    with (
        attached(base.transformer, set_lora),
        tokens_at_work(base.transformer, set_lora.tokens if set_lora else ()) as tokens,
        tokens_at_work(base.transformer, late.tokens if late else ()) as late_tokens,
    ):
        beside = {"tokens": tokens, "late": late_tokens if late else None, "turns": lora is not None}
        clip = yield from carried_work(base, spec, **beside)
    return replace(clip, fps=float(lora.info.get("clip_fps", clip.fps))) if lora else clip
