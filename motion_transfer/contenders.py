"""What the benchmark compares: ours, the bare base, published methods, and the truth as the ceiling."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from torch import Tensor

from motion_transfer.errors import BadSpec
from motion_transfer.evaluate.clip_folder import FolderCase
from motion_transfer.evaluate.motionbench import SIZE_PX, BenchCase
from motion_transfer.methods.ditflow import FlowGuidance, follow_attention_flow
from motion_transfer.model.base import VideoBase
from motion_transfer.model.sampling import denoise, starting_noise
from motion_transfer.transfer import fit, render_work, tune_work
from motion_transfer.types import Clip, Lora, RenderSpec, TuneSpec, Work
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS

Case = BenchCase | FolderCase
# Ranks and rates are those that the search of `docs/results/search.md` found best.
NAIVE = TuneSpec(decoupled=False, spatial_steps=0, motion_loss="off", inference_weight=1.0, rank=8, temporal_rate=1e-2)
MOTION_DIRECTOR = TuneSpec(decoupled=False, motion_loss="debiased", motion_weight=1.0, inference_weight=1.0, rank=16,
                           spatial_rate=4e-3, temporal_rate=4e-3)  # fmt: skip
SEARCHED_RANKS, SEARCHED_RATES = (8, 16), (4e-3, 1e-2, 2.5e-2)
SEARCHED_SHARES, SEARCHED_GUIDING_RATES = (0.2, 0.4), (2e-3, 1e-2, 5e-2)

# One thing each that ours could do otherwise. nano has 13 latent frames; 7 are every second one.
ABLATIONS: dict[str, dict[str, Any]] = {
    "no-decoupling": {"decoupled": False},
    "no-spatial-stage": {"spatial_steps": 0},
    "spatial-lora-always": {"spatial_drop": 0.0},
    "both-loras": {"keep": "both"},
    "no-output-projections": {"include_output": False},
    "rule-code": {"head_rule": "code"},
    "rule-paper": {"head_rule": "paper"},
    "no-motion-loss": {"motion_loss": "off"},
    "motion-loss-vmc": {"motion_loss": "vmc"},
    "motion-loss-debiased": {"motion_loss": "debiased"},
    "motion-loss-in-x0": {"motion_space": "x0"},
    "bell-weighting": {"loss_weighting": "bell"},
    "caption-always": {"caption_drop": 0.0},
    "weight-as-learned": {"inference_weight": 1.0},
    "noise-shift-12": {"noise_shift": 12.0},
    "sparse": {"sparse_latents": 7},
    "sparse-pixel": {"sparse_latents": 7, "sampling": "pixel"},
    "sparse-paper-positions": {"sparse_latents": 7, "positions": "paper"},
    "sparse-no-positions": {"sparse_latents": 7, "positions": "none"},
}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to show a reference's motion on new content.

    Attributes:
        name: short, for tables and files.
        learns: settings of its tuning; None if it learns nothing.
        dense: learns on all latent frames, however many the base has.
        guides: settings of its guidance while rendering; None if it does not guide.
        true: not a method, but the procedural world's own render of the motion with the asked content.
        led_by_truth: not a method either: that render's latents, noised, take the place of the base's own as long as
            the motion acts, and the base finishes. So well could this base show a motion that was learned perfectly.
        variant_of: in a search, the method whose settings these are.
    """

    name: str
    learns: TuneSpec | None = None
    dense: bool = False
    guides: FlowGuidance | None = None
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


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(name="ceiling", true=True),
        Contender(name="truth-led", led_by_truth=True),
        Contender(name="bare"),
        Contender(name="naive", learns=NAIVE, dense=True),
        Contender(name="motiondirector", learns=MOTION_DIRECTOR, dense=True),
        Contender(name="ditflow", guides=FlowGuidance()),
        Contender(name="ours", learns=TuneSpec()),
    )
}


def chosen(names: Sequence[str]) -> list[Contender]:
    """Contenders by name.

    Raises:
        BadSpec: one is unknown.
    """
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown:
        raise BadSpec(f"methods are {', '.join(CONTENDERS)}, but {unknown[0]!r} is asked for; choose among them.")
    return [CONTENDERS[name] for name in names]


def grid(contender: Contender) -> list[Contender]:
    """The contender at three rates and two sizes, the search that all methods get alike; itself if it has none.

    Of methods that learn, the rates are learning rates and the sizes ranks; of those that guide, the rates are their
    optimizer's and the sizes the share of the steps that they lead.
    """
    name, learns, guides = contender.name, contender.learns, contender.guides
    if learns is not None:
        return [
            replace(contender, name=f"{name}-rank{rank}-rate{rate:g}", variant_of=name,
                    learns=replace(learns, rank=rank, spatial_rate=rate, temporal_rate=rate))
            for rank in SEARCHED_RANKS for rate in SEARCHED_RATES
        ]  # fmt: skip
    if guides is not None:
        return [
            replace(contender, name=f"{name}-share{share:g}-rate{rate:g}", variant_of=name,
                    guides=replace(guides, guided_share=share, first_rate=rate, last_rate=rate / 2))
            for share in SEARCHED_SHARES for rate in SEARCHED_GUIDING_RATES
        ]  # fmt: skip
    return [contender]


def ablations(contender: Contender) -> list[Contender]:
    """The contender, and beside it every `ABLATIONS` of it; itself alone if it learns nothing."""
    learns = contender.learns
    if learns is None:
        return [contender]
    return [contender] + [
        replace(contender, name=f"{contender.name}-{name}", learns=replace(learns, **change))
        for name, change in ABLATIONS.items()
    ]


def variants(contender: Contender, changes: Mapping[str, Mapping[str, Any]]) -> list[Contender]:
    """The contender, and beside it one for each set of changes to its settings; itself alone if it learns nothing.

    Args:
        contender: a method.
        changes: by the variant's name, settings of `TuneSpec`.

    Raises:
        BadSpec: a name can't be a file's, or a setting is unknown or out of range.
    """
    learns, found, known = contender.learns, [contender], {field.name for field in fields(TuneSpec)}
    if learns is None:
        return found
    for name, change in changes.items():
        if not re.fullmatch(r"[\w.-]+", name) or not isinstance(change, Mapping) or set(change) - known:
            raise BadSpec(f"a variant is a short name and settings of tuning, but one is {name!r:.40}: {change!r:.80}; "
                          f"settings are {', '.join(sorted(known))}.")  # fmt: skip
        found.append(replace(contender, name=f"{contender.name}-{name}", learns=replace(learns, **change)))
    return found


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
    return (yield from tune_work(base, reference, contender.tune_spec(base, reference.caption))).lora


def _true_render(case: Case, prompt: str) -> Clip:
    target = next(target for target in case.targets if target.prompt == prompt)
    assert isinstance(case, BenchCase)
    return Clip(frames_THWC=draw([target.scene(case)], SIZE_PX)[0].numpy(), fps=FPS, caption=prompt)


def _led_by_truth(base: VideoBase, case: Case, spec: RenderSpec) -> Work[Clip]:
    true = base.codec.encode(fit(base.spec, _true_render(case, spec.prompt))).z_ZFYX[None].to(base.device)
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
        clips_so_far.append((yield from render(spec)))
    return Shown(clips=tuple(clips_so_far), tuning_s=tuned - begin, rendering_s=time.monotonic() - tuned)
