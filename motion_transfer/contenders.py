"""A method of the benchmark: how it learns a clip's motion, if at all, and shows it on other content."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from motion_transfer.evaluate.clip_folder import FolderCase
from motion_transfer.evaluate.motionbench import SIZE_PX, BenchCase
from motion_transfer.methods.ditflow import FlowGuidance, follow_attention_flow
from motion_transfer.model.base import VideoBase
from motion_transfer.model.sampling import denoise, starting_noise
from motion_transfer.transfer import fit, render_work, tune_work
from motion_transfer.types import Clip, Lora, RenderSpec, TuneSpec, Work
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, Scene

Case = BenchCase | FolderCase


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to show a reference's motion on new content.

    Attributes:
        name: short, for tables and files.
        learns: settings of its tuning; None if it learns nothing.
        dense: learns on all latent frames, however many the base has.
        guides: settings of its guidance while rendering; None if it does not guide.
        renders: settings in which its renders differ from what is asked of all.
        true: not a method, but the procedural world's own render of the motion with the asked content.
        led_by_truth: not a method either: that render's latents, noised, take the place of the base's own as long as
            the motion acts, and the base finishes. So well could this base show a motion that was learned perfectly.
        variant_of: in a search, the method whose settings these are.
    """

    name: str
    learns: TuneSpec | None = None
    dense: bool = False
    guides: FlowGuidance | None = None
    renders: Mapping[str, float] = field(default_factory=dict)
    true: bool = False
    led_by_truth: bool = False
    variant_of: str = ""

    @property
    def needs_truth(self) -> bool:
        """Whether it is no method, but shows what only who knows the truth can show."""
        return self.true or self.led_by_truth

    def settings(self) -> dict[str, Any]:
        """Everything its renders follow from, beside the base."""
        return asdict(self)

    def tune_spec(self, base: VideoBase, caption: str = "") -> TuneSpec:
        """Settings of its tuning on a base; of one that learns."""
        assert self.learns is not None, f"{self.name} learns nothing"
        spec = replace(self.learns, caption=caption)
        return replace(spec, sparse_latents=base.num_latents) if self.dense else spec


def seed_of(seed: int, *names: object) -> int:
    """A seed for a clip, or a prompt of it: the same for all methods, another for each, so that luck averages out."""
    return (seed + zlib.crc32("/".join(map(str, names)).encode())) % 2**31


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """Renders of one case, one per spec, and how long they took."""

    clips: tuple[Clip, ...]
    tuning_s: float
    rendering_s: float


def _learned(base: VideoBase, contender: Contender, case: Case) -> Work[Lora | None]:
    if contender.learns is None:
        return None
    reference = case.reference()
    spec = contender.tune_spec(base, reference.caption)
    return (yield from tune_work(base, reference, replace(spec, seed=seed_of(spec.seed, case.name)))).lora


def true_scene(case: Case, prompt: str) -> Scene:
    """What a prompt of the benchmark asks for, moving as the reference does; its caption says what it shows.

    That differs from the prompt where this names another figure than the reference's, which keeps its own gait.
    """
    assert isinstance(case, BenchCase)
    return next(target for target in case.targets if target.prompt == prompt).scene(case)


def _true_render(case: Case, prompt: str) -> Clip:
    scene = true_scene(case, prompt)
    return Clip(frames_THWC=draw([scene], SIZE_PX)[0].numpy(), fps=FPS, caption=scene.caption)


def _led_by_truth(base: VideoBase, case: Case, spec: RenderSpec) -> Work[Clip]:
    render = _true_render(case, spec.prompt)
    true, spec = (
        base.codec.encode(fit(base.spec, render)).z_ZFYX[None].to(base.device),
        replace(spec, prompt=render.caption),
    )
    noise = starting_noise(base, spec.seed).to(base.device)

    def lead(z_BZFYX: Tensor, sigma: float, _: int) -> Tensor:
        return (1 - sigma) * true + sigma * noise if sigma >= spec.motion_until else z_BZFYX

    return (yield from denoise(base, spec, lead))


def _renderer(
    base: VideoBase, contender: Contender, case: Case, lora: Lora | None
) -> Callable[[RenderSpec], Work[Clip]]:
    guides = contender.guides
    if contender.led_by_truth:
        return lambda spec: _led_by_truth(base, case, spec)
    if guides is None:
        return lambda spec: render_work(base, lora, spec)
    latents = base.codec.encode(fit(base.spec, case.reference()))
    return lambda spec: follow_attention_flow(base, latents, spec, guides)


def show(base: VideoBase, contender: Contender, case: Case, specs: Sequence[RenderSpec]) -> Work[Shown]:
    """Shows a case's motion as each spec asks; what is learned is learned once."""
    if contender.true:
        clips = tuple(_true_render(case, spec.prompt) for spec in specs)
        return Shown(clips=clips, tuning_s=0.0, rendering_s=0.0)
    begin = time.monotonic()
    lora = yield from _learned(base, contender, case)
    tuned = time.monotonic()
    render, clips_so_far = _renderer(base, contender, case, lora), []
    for spec in specs:
        clips_so_far.append((yield from render(replace(spec, **contender.renders))))
    return Shown(clips=tuple(clips_so_far), tuning_s=tuned - begin, rendering_s=time.monotonic() - tuned)
