"""`Studio`: one headless method per verb, for CLI and page alike.

Each verb has two forms: `tune_work(...)` is a generator of `Progress` that returns its result, for callers that
poll; `tune(..., on_progress=...)` drives it to the end.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from motion_transfer import transfer
from motion_transfer.effort import Effort
from motion_transfer.evaluate.report import judge
from motion_transfer.ladder import render_within_memory, tune_within_memory
from motion_transfer.machine import device_name
from motion_transfer.methods.lion_fusion import Meeting, meet
from motion_transfer.methods.split_clip import movement_of
from motion_transfer.model.attention_choice import (
    ATTENTION_FILE,
    NATIVE,
    AttentionShape,
    attending,
    fastest_attention,
    learning_shape,
    rendering_shape,
)
from motion_transfer.model.base import VideoBase, check_precision, open_vocabulary
from motion_transfer.model.catalog import BaseSpec, find_base
from motion_transfer.model.device_speed import SPEED_FILE, read_speed
from motion_transfer.model.distilled import misfits, suited
from motion_transfer.model.text import Vocabulary
from motion_transfer.planner import learning_tokens, size_of
from motion_transfer.ranks import ALONE, Ranks
from motion_transfer.together import check_sharding, least_free_bytes, open_together, passes_shared
from motion_transfer.transfer import Tuned
from motion_transfer.types import Clip, HeadMap, Lora, RenderSpec, Report, TuneSpec, TuneState, Work
from motion_transfer.video.frames import fit_clip
from motion_transfer.video.io import clip_comment, read_clip
from motion_transfer.video.strip import ALL, WHOLE, Crop, cropped
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import KINDS, Scene, sample_scene
from motion_transfer.work import OnProgress, Stopwatch, drive

_CHECK_PX = 64
_COMPRESSION_LEVELS = 3.0  # of 255: examples are off by 1.5 at most, mirrored or reversed ones by 6.8 at least
SMALLEST_READ_PX = 256  # tracks are followed at this size
MOST_ENLARGED = 8.0  # of what is cropped


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


class Studio:
    """Learns, renders and judges on one base.

    Args:
        base: catalog name or folder of the base.
        precision: of the base's weights, see `open_base`.
        device: default the first GPU, else the CPU.
        workspace: folder that keeps what was measured of the device; default the user's.
        ranks: processes that learn and render together, each on its own device; every one calls the same verbs.
        shard_weights: each of them holds its part of the transformer's weights.

    Raises:
        BadSpec: there is no such precision, or no other process to share the weights with.
    """

    def __init__(
        self, *, base: str = "nano", precision: str = "nf4", device: str | None = None, workspace: Path | None = None,
        ranks: Ranks = ALONE, shard_weights: bool = False,
    ) -> None:  # fmt: skip
        check_precision(precision)
        check_sharding(ranks, shard_weights)
        self._base_name, self._precision, self._device, self._workspace = base, precision, device, workspace
        self._ranks, self._shard_weights = ranks, shard_weights
        self._effort = Effort()
        self.attention: dict[str, str] = {}  # the backend that learning and rendering used

    def __reduce__(self) -> tuple[Callable[..., Studio], tuple[str, str, str | None, Path | None]]:
        """Travels to other processes as its settings; each opens the base once, for itself."""
        return _studio_here, (self._base_name, self._precision, self._device, self._workspace)

    @cached_property
    def base(self) -> VideoBase:
        """The opened base; opened at first use, which is the same moment for all ranks."""
        return open_together(self._ranks, self._base_name, precision=self._precision, device=self._device,
                             shard_weights=self._shard_weights)  # fmt: skip

    @cached_property
    def spec(self) -> BaseSpec:
        """What the base is called, and its format; known without opening its weights."""
        return find_base(self._base_name)

    def suited(self, render: RenderSpec | None = None, given: Collection[str] = ()) -> RenderSpec:
        """Settings of a render (default those of nobody's choice) as a distilled base asks for them.

        Those in `given`, by name, stay; on a base that isn't distilled, all do.
        """
        return suited(render or RenderSpec(), self.spec.distilled, given)

    def misfits(self, render: RenderSpec) -> dict[str, tuple[float, float]]:
        """Which settings don't suit the base, if it is distilled: what is set, and what would suit."""
        return misfits(render, self.spec.distilled)

    @property
    def device(self) -> str:
        """The device that was asked for; empty where that was left open."""
        return self._device or ""

    @property
    def precision(self) -> str:
        """Of the base's weights."""
        return self._precision

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return open_vocabulary(self.spec)

    @cached_property
    def rendering_attention(self) -> str:
        """The backend that self-attention is rendered with; on a GPU the fastest, which is measured where it is new."""
        return self._attention(rendering_shape(self.base))

    def _attention(self, shape: AttentionShape) -> str:
        """The backend for self-attention of a shape; several processes, which must use the same, keep the native."""
        if self._ranks.count > 1:
            return NATIVE
        device = self.base.device
        return fastest_attention(self._measured / ATTENTION_FILE, device_name(device), shape, device)

    @property
    def _measured(self) -> Path:
        """The folder of what was measured of the device."""
        return self._workspace or default_workspace()

    def shares(self, seconds: Mapping[str, float]) -> dict[str, float]:
        """How much of the device's measured rate of matrix products each stage of the latest work reached.

        Of several processes' devices together, where they share the work. Empty where `benchmark-device` has not
        measured the device.

        Args:
            seconds: by stage.
        """
        speed = read_speed(self._measured / SPEED_FILE, device_name(self.base.device))
        all_devices = speed and replace(speed, products=self._ranks.count * speed.products)
        return self._effort.shares(seconds, all_devices)

    def fit(self, clip: Clip) -> Clip:
        """A clip of any size and rate as the base's own frames, evenly spread over its time."""
        return transfer.fit(self.spec, clip)

    def read(
        self, path: Path, *, start_s: float = 0.0, end_s: float | None = None, caption: str = "", crop: Crop = WHOLE,
        movement: str = ALL,
    ) -> Clip:  # fmt: skip
        """Reads a span of a video file, or of a part of its picture, no larger than this base has use for.

        `movement` keeps the camera's motion alone, or that of things before a camera at rest.

        Raises:
            BadClip: see `read_clip`; or the background can't be followed, which tells camera and things apart.
            BadSpec: there is no such part or movement.
        """
        side_px = round(
            max(SMALLEST_READ_PX, self.spec.height, self.spec.width) * min(max(1.0, crop.zoom), MOST_ENLARGED)
        )
        clip = read_clip(path, start_s=start_s, end_s=end_s, caption=caption, max_px=side_px)
        if crop != WHOLE:
            height, width = clip.frames_THWC.shape[1:3]
            clip = cropped(clip, crop.box(width, height, self.spec.width / self.spec.height))
        return movement_of(clip, movement)

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of a prompt that the base never learned."""
        return self._vocabulary.unknown_words(prompt)

    def words(self) -> list[str]:
        """Words that a base of few words knows, sorted; empty if the base reads any text."""
        return self._vocabulary.words()

    def heads_work(self, clip: Clip, spec: TuneSpec) -> Work[HeadMap]:
        """Labels the base's attention heads on a clip."""
        return transfer.heads_work(self.base, clip, spec)

    def heads(self, clip: Clip, spec: TuneSpec, *, on_progress: OnProgress | None = None) -> HeadMap:
        """`heads_work`, driven to the end."""
        return drive(self.heads_work(clip, spec), on_progress)

    def tune_work(
        self, clip: Clip, spec: TuneSpec, *, preview: RenderSpec | None = None, preview_every: int = 0,
        resume: TuneState | None = None,
    ) -> Work[Tuned]:  # fmt: skip
        """Learns a clip's motion, see `ladder.tune_within_memory`."""
        base, ranks = self.base, self._ranks
        work = tune_within_memory(base, clip, spec, preview=preview, preview_every=preview_every, resume=resume,
                                  shared_bytes=least_free_bytes(ranks, base))  # fmt: skip
        self._effort.flops.clear()
        self.attention["learning"] = self._attention(learning_shape(base, learning_tokens(size_of(base), spec)))
        with attending(self.attention["learning"]), passes_shared(ranks, base):
            return (yield from self._effort.counting(work, base, spec))

    def tune(
        self, clip: Clip, spec: TuneSpec, *, preview: RenderSpec | None = None, preview_every: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Tuned:  # fmt: skip
        """`tune_work`, driven to the end."""
        return drive(self.tune_work(clip, spec, preview=preview, preview_every=preview_every), on_progress)

    def meetings(self, loras: Sequence[Lora]) -> list[tuple[int, int, Meeting]]:
        """How every two of some motions meet in the weights that both change; pairs that don't are left out."""
        pairs = combinations(range(len(loras)), 2)
        found = ((a, b, meet(loras[a], loras[b])) for a, b in pairs)
        return [(a, b, meeting) for a, b, meeting in found if meeting is not None]

    def render_work(self, lora: Lora | None, spec: RenderSpec) -> Work[Clip]:
        """Renders a prompt with a LoRA (or the bare base), see `ladder.render_within_memory`."""
        work = render_within_memory(self.base, lora, spec, shared_bytes=least_free_bytes(self._ranks, self.base))
        self._effort.flops.pop("render", None)
        self.attention["rendering"] = self.rendering_attention
        with attending(self.rendering_attention), passes_shared(self._ranks, self.base):
            return (yield from self._effort.counting(work, self.base))

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

        `on_tuned` gets the learned motion before the render begins, so that it can be kept whatever follows; of several
        ranks, the first one's.
        """
        watch = Stopwatch()
        tuned = yield from self.tune_work(clip, tune)
        if on_tuned is not None and self._ranks.is_first:
            on_tuned(tuned)
        with watch.timing("render"):
            video = yield from self.render_work(tuned.lora, render)
        with watch.timing("judge"):
            report = self._ranks.same(lambda: self.judge(clip, video, prompt=render.prompt, scene=scene))
        return Transferred(tuned=tuned, render=video, report=report, seconds=tuned.seconds | watch.seconds)

    def transfer(
        self, clip: Clip, tune: TuneSpec, render: RenderSpec, *, scene: Scene | None = None,
        on_tuned: Callable[[Tuned], None] | None = None, on_progress: OnProgress | None = None,
    ) -> Transferred:  # fmt: skip
        """`transfer_work`, driven to the end."""
        return drive(self.transfer_work(clip, tune, render, scene=scene, on_tuned=on_tuned), on_progress)


@functools.lru_cache(maxsize=1)
def _studio_here(base: str, precision: str, device: str | None, workspace: Path | None) -> Studio:
    return Studio(base=base, precision=precision, device=device, workspace=workspace)
