"""`Studio`: one headless method per verb, for CLI and page alike.

Each verb has two forms: `tune_work(...)` is a generator of `Progress` that returns its result, for callers that
poll; `tune(..., on_progress=...)` drives it to the end.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from motion_transfer.errors import BadSpec, NotEnoughMemory, WrongBase
from motion_transfer.evaluate.report import judge
from motion_transfer.lora.algebra import scaled, stack
from motion_transfer.lora.attach import act, attached, remove_adapters
from motion_transfer.methods.fym_heads import map_heads
from motion_transfer.methods.fym_tune import (
    default_sparse_latents,
    legal_sparse_latents,
    tune_spatial,
    tune_temporal,
)
from motion_transfer.model.base import VideoBase, check_precision, open_base, open_vocabulary
from motion_transfer.model.catalog import BaseSpec, find_base
from motion_transfer.model.rope import sparse_positions
from motion_transfer.model.sampling import denoise
from motion_transfer.model.text import Vocabulary
from motion_transfer.types import Clip, HeadMap, Latents, Lora, Progress, RenderSpec, Report, TuneSpec, TuneState, Work
from motion_transfer.video.frames import fit_clip, sparse_indices
from motion_transfer.video.io import clip_comment, read_clip
from motion_transfer.video.strip import WHOLE, Crop, cropped
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import KINDS, Scene, sample_scene

T = TypeVar("T")
_CHECK_PX = 64
_COMPRESSION_LEVELS = 3.0  # of 255: examples are off by 1.5 at most, mirrored or reversed ones by 6.8 at least
SMALLEST_READ_PX = 256  # tracks are followed at this size
MOST_ENLARGED = 8.0  # of what is cropped
OnProgress = Callable[[Progress], None]


def drive(work: Work[T], on_progress: OnProgress | None = None) -> T:
    """Runs a generator of `Progress` to its end and returns its result."""
    with closing(work):  # whatever a callback raises, the base is bare again before anyone can catch it
        while True:
            try:
                progress = next(work)
            except StopIteration as end:
                return end.value
            if on_progress is not None:
                on_progress(progress)


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, stage: str):
        """Adds the block's duration to its stage."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begin


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """A learned motion: the LoRA, the heads it lives in, the fitted clip, and seconds by stage."""

    lora: Lora
    heads: HeadMap
    clip: Clip
    seconds: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Transferred:
    """The whole job's results."""

    tuned: Tuned
    render: Clip
    report: Report
    seconds: dict[str, float] = field(default_factory=dict)


def default_workspace() -> Path:
    """The user's data folder of this program."""
    root = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(root) / "motion_transfer"


def _comment(path: Path) -> dict[str, Any]:
    """What this program wrote into a video's comment tag; empty for any other video."""
    try:
        facts = json.loads(clip_comment(path) or "")
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def scene_of(path: Path) -> Scene | None:
    """The true scene of a clip that the procedural world rendered; None for any other clip.

    Also None for one that was cut, mirrored or otherwise changed since: tools copy the comment along.
    """
    match _comment(path).get("scene"):
        case {"name": str(name), "kind": str(kind)} if kind in KINDS:
            scene = sample_scene(name, kind=kind, effects=0.0)
            return scene if _shows(path, scene) else None
    return None


def _shows(path: Path, scene: Scene) -> bool:
    """Whether a video's frames are the scene's."""
    drawn = draw([scene], _CHECK_PX)[0].numpy()
    frames = read_clip(path, max_px=_CHECK_PX).frames_THWC
    return frames.shape == drawn.shape and np.abs(frames.astype(np.int16) - drawn).mean() < _COMPRESSION_LEVELS


def caption_of(path: Path) -> str:
    """The caption that an example clip carries; empty for any other clip."""
    return str(_comment(path).get("caption", ""))


def prompt_of(path: Path) -> str:
    """The prompt of a clip that this program rendered; empty for any other clip."""
    match _comment(path).get("render"):
        case {"prompt": str(prompt)}:
            return prompt
    return ""


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


class Studio:
    """Learns, renders and judges on one base.

    Args:
        base: catalog name or folder of the base.
        precision: of the base's weights, see `open_base`.
        device: default the first GPU, else the CPU.

    Raises:
        BadSpec: there is no such precision.
    """

    def __init__(self, *, base: str = "nano", precision: str = "nf4", device: str | None = None) -> None:
        check_precision(precision)
        self._base_name, self._precision, self._device = base, precision, device

    def __reduce__(self) -> tuple[Callable[..., Studio], tuple[str, str, str | None]]:
        """Travels to other processes as its settings; each opens the base once."""
        return _studio_here, (self._base_name, self._precision, self._device)

    @cached_property
    def base(self) -> VideoBase:
        """The opened base; opened at first use."""
        return open_base(self._base_name, precision=self._precision, device=self._device)

    @cached_property
    def spec(self) -> BaseSpec:
        """What the base is called, and its format; known without opening its weights."""
        return find_base(self._base_name)

    @property
    def precision(self) -> str:
        """Of the base's weights."""
        return self._precision

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return open_vocabulary(self.spec)

    def fit(self, clip: Clip) -> Clip:
        """A clip of any size and rate as the base's own frames, evenly spread over its time."""
        spec = self.spec
        return fit_clip(clip, num_frames=spec.num_frames, height=spec.height, width=spec.width)

    def read(
        self, path: Path, *, start_s: float = 0.0, end_s: float | None = None, caption: str = "", crop: Crop = WHOLE
    ) -> Clip:
        """Reads a span of a video file, or of a part of its picture, no larger than this base has use for.

        Raises:
            BadClip: see `read_clip`.
            BadSpec: there is no such part.
        """
        side_px = round(
            max(SMALLEST_READ_PX, self.spec.height, self.spec.width) * min(max(1.0, crop.zoom), MOST_ENLARGED)
        )
        clip = read_clip(path, start_s=start_s, end_s=end_s, caption=caption, max_px=side_px)
        if crop == WHOLE:
            return clip
        height, width = clip.frames_THWC.shape[1:3]
        return cropped(clip, crop.box(width, height, self.spec.width / self.spec.height))

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of a prompt that the base never learned."""
        return self._vocabulary.unknown_words(prompt)

    def words(self) -> list[str]:
        """Words that a base of few words knows, sorted; empty if the base reads any text."""
        return self._vocabulary.words()

    @_within_memory
    def heads_work(self, clip: Clip, spec: TuneSpec) -> Work[HeadMap]:
        """Labels the base's attention heads on a clip."""
        latents = self.base.codec.encode(self.fit(clip))
        return (yield from map_heads(self.base, latents, spec.caption, rule=spec.head_rule))

    def heads(self, clip: Clip, spec: TuneSpec, *, on_progress: OnProgress | None = None) -> HeadMap:
        """`heads_work`, driven to the end."""
        return drive(self.heads_work(clip, spec), on_progress)

    def _sparse(self, clip: Clip, num_sparse: int) -> Latents:
        """Latents of evenly kept pixel frames, each at its place on the full clip."""
        codec = self.base.codec
        indices = sparse_indices(clip.num_frames, (num_sparse - 1) * codec.frames_per_latent + 1)
        thin = Clip(frames_THWC=clip.frames_THWC[list(indices)], fps=clip.fps)
        return replace(codec.encode(thin), times_F=sparse_positions(self.base.num_latents, num_sparse))

    def _settled(self, spec: TuneSpec) -> TuneSpec:
        """The spec with what was left to the base filled in."""
        num_latents = self.base.num_latents
        if spec.sparse_latents == 0:
            return replace(spec, sparse_latents=default_sparse_latents(num_latents, self.base.frame_tokens))
        legal = legal_sparse_latents(num_latents)
        if spec.sparse_latents not in legal:
            raise BadSpec(f"sparse latents must be 0 or one of {', '.join(map(str, legal))} for this base, "
                          f"but is {spec.sparse_latents}; pick one of them.")  # fmt: skip
        return spec

    @_within_memory
    def tune_work(
        self, clip: Clip, spec: TuneSpec, *, preview: RenderSpec | None = None, preview_every: int = 0,
        resume: TuneState | None = None,
    ) -> Work[Tuned]:  # fmt: skip
        """Learns a clip's motion: heads, spatial stage, temporal stage.

        Args:
            clip: the reference, of any size and rate.
            spec: settings.
            preview: how to render previews during the temporal stage.
            preview_every: steps between previews; 0 for none.
            resume: where an earlier run of the same clip and spec stood.
        """
        base, watch = self.base, Stopwatch()
        spec = self._settled(spec)
        remove_adapters(base.transformer)
        with watch.timing("encode"):
            fitted = self.fit(clip)
            full = base.codec.encode(fitted)
            frames = base.codec.encode_frames(fitted)
            sparse = self._sparse(fitted, spec.sparse_latents) if spec.sampling == "pixel" else full
        try:
            with watch.timing("heads"):
                heads = yield from map_heads(base, full, spec.caption, rule=spec.head_rule)
            with watch.timing("spatial"):
                look = yield from tune_spatial(base, frames, heads, spec, resume)
            show = (lambda: drive(self._moved(preview))) if preview is not None else None
            with watch.timing("temporal"):
                layers = yield from tune_temporal(base, sparse, full, heads, spec, show, preview_every, resume)
        finally:
            remove_adapters(base.transformer)
        info = self._recipe(clip, fitted, heads, spec)
        lora = Lora(layers=layers, info=info)
        if spec.keep == "both":
            lora = stack([(lora, 1.0), (Lora(layers=look, info=info), 1.0)])
        lora = scaled(lora, spec.inference_weight)
        return Tuned(lora=lora, heads=heads, clip=fitted, seconds=watch.seconds)

    def tune(
        self, clip: Clip, spec: TuneSpec, *, preview: RenderSpec | None = None, preview_every: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Tuned:  # fmt: skip
        """`tune_work`, driven to the end."""
        return drive(self.tune_work(clip, spec, preview=preview, preview_every=preview_every), on_progress)

    def _recipe(self, clip: Clip, fitted: Clip, heads: HeadMap, spec: TuneSpec) -> dict[str, Any]:
        labels = ["".join("s" if s else "t" for s in row) for row in heads.spatial_LN.tolist()]
        return {
            "base": self.base.spec.name,
            "base_hash": self.base.hash,
            "precision": self.base.precision,
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

    @_within_memory
    def _moved(self, spec: RenderSpec) -> Work[Clip]:
        """Renders with the adapters that the base carries, which act down to the noise level of the settings.

        Where things are is decided while noise is high; the base alone draws them best.
        """
        transformer = self.base.transformer

        def switch(z: Tensor, sigma: float, step: int) -> Tensor:
            act(transformer, sigma >= spec.motion_until)
            return z

        try:
            return (yield from denoise(self.base, spec, switch))
        finally:
            act(transformer, True)

    @_within_memory
    def render_work(self, lora: Lora | None, spec: RenderSpec) -> Work[Clip]:
        """Renders a prompt with a LoRA (or the bare base); it plays in the reference's own timing.

        Raises:
            WrongBase: the LoRA was made for another base, or another version of it.
        """
        base = self.base
        made_for = lora.info.get("base_hash") if lora else None
        if lora is not None and made_for not in (None, base.hash):
            raise WrongBase(
                f"this LoRA was made for the base {lora.info.get('base')} {str(made_for)[:8]}, but the open base is "
                f"{base.spec.name} {base.hash[:8]}; tune the clip again on this base."
            )
        with attached(base.transformer, scaled(lora, spec.strength) if lora else None):
            clip = yield from self._moved(spec)
        return replace(clip, fps=float(lora.info.get("clip_fps", clip.fps))) if lora else clip

    def render(self, lora: Lora | None, spec: RenderSpec, *, on_progress: OnProgress | None = None) -> Clip:
        """`render_work`, driven to the end."""
        return drive(self.render_work(lora, spec), on_progress)

    def judge(
        self, reference: Clip, generated: Clip, *, prompt: str = "", scene: Scene | None = None,
        looks: tuple[tuple[str, str], ...] | None = None,
    ) -> Report:  # fmt: skip
        """Measures a render against its reference; `scene` and `looks` are the truth, where it is known."""
        num_frames, height, width = generated.frames_THWC.shape[:3]
        fitted = fit_clip(reference, num_frames=num_frames, height=height, width=width)
        return judge(replace(fitted, caption=reference.caption), generated, prompt=prompt, scene=scene, looks=looks)

    def transfer_work(
        self, clip: Clip, tune: TuneSpec, render: RenderSpec, *, scene: Scene | None = None,
        on_tuned: Callable[[Tuned], None] | None = None,
    ) -> Work[Transferred]:  # fmt: skip
        """The whole job: learn the clip's motion, render it onto a prompt, report.

        `on_tuned` gets the learned motion before the render begins, so that it can be kept whatever follows.
        """
        watch = Stopwatch()
        tuned = yield from self.tune_work(clip, tune)
        if on_tuned is not None:
            on_tuned(tuned)
        with watch.timing("render"):
            video = yield from self.render_work(tuned.lora, render)
        with watch.timing("judge"):
            report = self.judge(clip, video, prompt=render.prompt, scene=scene)
        return Transferred(tuned=tuned, render=video, report=report, seconds=tuned.seconds | watch.seconds)

    def transfer(
        self, clip: Clip, tune: TuneSpec, render: RenderSpec, *, scene: Scene | None = None,
        on_tuned: Callable[[Tuned], None] | None = None, on_progress: OnProgress | None = None,
    ) -> Transferred:  # fmt: skip
        """`transfer_work`, driven to the end."""
        return drive(self.transfer_work(clip, tune, render, scene=scene, on_tuned=on_tuned), on_progress)


@functools.lru_cache(maxsize=1)
def _studio_here(base: str, precision: str, device: str | None) -> Studio:
    return Studio(base=base, precision=precision, device=device)
