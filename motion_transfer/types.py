"""The values that travel between the program's rooms.

Axis letters, package-wide. Pixels: `T` frames, `H W`, `C`. Latents: `F` frames, `Y X`, `Z` channels.
Tokens: `S`, width `D`, heads `N`, per-head `K`, blocks `L`, text tokens `M`. LoRA: rank `R`, features
`I O`. `B` batch, `P` track points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from motion_transfer.errors import BadClip, BadSpec

T = TypeVar("T")
FPS_RANGE = (0.01, 1000.0)  # what video files can store


def knob(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str = "",
    help: str,
) -> Any:
    """A setting declared once: its default, range, unit and explanation. CLI flags and sliders read it."""
    return field(default=default, metadata={"low": low, "high": high, "choices": choices, "unit": unit, "help": help})


class _Checked:
    """Validates every knob of a frozen dataclass when it is made."""

    def __post_init__(self) -> None:
        for knob_field in dataclasses.fields(self):  # type: ignore[arg-type]
            value, meta = getattr(self, knob_field.name), knob_field.metadata
            name = knob_field.name.replace("_", " ")
            if isinstance(knob_field.default, str) and not isinstance(value, str):
                raise BadSpec(f"{name} must be text, but is {value!r}; write some or leave it out.")
            if meta.get("choices") and value not in meta["choices"]:
                raise BadSpec(f"{name} must be one of {', '.join(meta['choices'])}, but is {value!r}; choose one.")
            if isinstance(knob_field.default, bool) and not isinstance(value, bool):
                raise BadSpec(f"{name} must be on or off, but is {value!r}; choose one.")
            low, high = meta.get("low"), meta.get("high")
            if low is None and high is None:
                continue
            if isinstance(knob_field.default, int) and (not isinstance(value, int) or isinstance(value, bool)):
                raise BadSpec(f"{name} must be a whole number, but is {value!r}; pick one between {low} and {high}.")
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise BadSpec(f"{name} must lie between {low} and {high}, but is {value!r}; pick a value in between.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A video as pixels: `frames_THWC` uint8 RGB, shown at `fps`."""

    frames_THWC: np.ndarray
    fps: float
    caption: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        shape, dtype = self.frames_THWC.shape, self.frames_THWC.dtype
        if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8 or shape[0] < 1:
            raise BadClip(
                f"a clip needs uint8 frames of shape (T, H, W, 3), but got {dtype} {shape}; convert it first."
            )
        low, high = FPS_RANGE
        if not low <= self.fps <= high:
            raise BadClip(f"a clip plays at {low:g} to {high:g} frames a second, but this one would play at "
                          f"{self.fps:.4g}; choose a span of another length.")  # fmt: skip

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return self.frames_THWC.shape[0]

    @property
    def seconds(self) -> float:
        """Playing time."""
        return self.num_frames / self.fps


@dataclass(frozen=True, kw_only=True, eq=False)
class Latents:
    """Normalized latents `z_ZFYX` float32, and where each latent frame sits on the full clip.

    `times_F` are latent-frame positions of the full clip (0, 1, 2, …); they rise strictly, so sparse sampling
    and rotary positions can't disagree.
    """

    z_ZFYX: Tensor
    times_F: tuple[float, ...]

    def __post_init__(self) -> None:
        assert self.z_ZFYX.ndim == 4 and self.z_ZFYX.dtype == torch.float32
        assert len(self.times_F) == self.z_ZFYX.shape[1]
        assert all(a < b for a, b in zip(self.times_F, self.times_F[1:], strict=False))


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadMap:
    """Every self-attention head of a base, spatial or temporal.

    `mass_LN2[..., 0]` and `[..., 1]` are the shares of attention inside the spatial and the temporal mask.
    """

    mass_LN2: Tensor
    spatial_LN: Tensor
    base_hash: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def temporal_LN(self) -> Tensor:
        """Complement of `spatial_LN`."""
        return ~self.spatial_LN


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRank:
    """A weight change `up_OR @ down_RI`, float32; no other scale exists."""

    down_RI: Tensor
    up_OR: Tensor

    def __post_init__(self) -> None:
        assert self.down_RI.ndim == 2 and self.up_OR.ndim == 2
        assert self.down_RI.shape[0] == self.up_OR.shape[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenBlock:
    """A strength token's part in one block: its key, and its value at rest and per strength, `(D,)` float32.

    `bias_N` raises the gate of each head.
    """

    key_D: Tensor
    rest_D: Tensor
    slope_D: Tensor
    bias_N: Tensor

    def __post_init__(self) -> None:
        assert self.key_D.shape == self.rest_D.shape == self.slope_D.shape and self.bias_N.ndim == 1
        assert len(self.key_D) % len(self.bias_N) == 0


@dataclass(frozen=True, kw_only=True, eq=False)
class StrengthToken:
    """What tells the self-attention of some blocks, by number, how strong a control's motion should be.

    `share` is the part of its effect that is let through: 0 as if it were not there.
    """

    blocks: Mapping[int, TokenBlock]
    strength: float = 1.0
    share: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Lora:
    """Low-rank changes by module path (`blocks.0.attn1.to_q`), strength tokens if any, and where they come from.

    `info` is JSON-ready: `base`, `base_hash`, `kind`, `method`, `caption`, recipe. `late` takes its place while a
    render's things take their shapes, where a mix asks for that; files don't keep it.
    """

    layers: Mapping[str, LowRank]
    tokens: tuple[StrengthToken, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    late: Lora | None = None


MIX_RULES = ("sum", "norm", "orthogonal")
TOGETHER, CONTROLS_FIRST, MOTIONS_FIRST = SCHEDULES = ("together", "controls first", "motions first")
SHAPES_FORM = 0.86  # the noise level from which on, downwards, things take their shapes


@dataclass(frozen=True, kw_only=True, eq=False)
class Mix:
    """LoRAs that act together, each with its motion strength, and how they are brought together.

    "sum" adds them up; "norm" first makes their changes equally large; "orthogonal" first turns their outputs so that
    no two share a direction.
    """

    items: tuple[tuple[Lora, float], ...]
    rule: str = "sum"

    def __post_init__(self) -> None:
        if self.rule not in MIX_RULES:
            raise BadSpec(f"a mix is made by {', '.join(MIX_RULES)}, but {self.rule!r} was asked for; choose one.")


PRECISIONS = ("nf4", "int8", "bf16", "fp32")


@dataclass(frozen=True, kw_only=True)
class TuneSpec(_Checked):
    """Settings of learning one clip's motion (Follow-Your-Motion, arXiv 2506.05207)."""

    caption: str = knob("", help="What the reference clip shows; leave empty if unsure.")
    seed: int = knob(0, low=0, high=2**31 - 1, help="Seed of the random numbers.")
    spatial_steps: int = knob(20, low=0, high=20000, unit="steps", help="Steps of the spatial stage, on single frames.")
    temporal_steps: int = knob(
        150, low=1, high=20000, unit="steps", help="Steps of the temporal stage, on all or sparse frames."
    )
    check_every: int = knob(
        100,
        low=0,
        high=20000,
        unit="steps",
        help="Steps between short renders that measure how much of the motion is learned; where that grows no more, "
        "learning comes to its end. 0: no checks, all steps.",
    )
    rank: int = knob(16, low=1, high=256, help="Rank of the LoRA.")
    spatial_rate: float = knob(5e-3, low=1e-7, high=0.1, help="Learning rate of the spatial stage.")
    temporal_rate: float = knob(5e-3, low=1e-7, high=0.1, help="Learning rate of the temporal stage.")
    up_rate_ratio: float = knob(
        4.0, low=0.01, high=100.0, help="How many times faster the up matrices, which begin at zero, learn (LoRA+)."
    )
    gradient_draws: int = knob(
        8,
        low=0,
        high=64,
        help="Noise draws whose gradients say in which directions a LoRA begins; 0 begins in random ones.",
    )
    spatial_decay: float = knob(0.1, low=0.0, high=10.0, help="Weight decay of the spatial stage.")
    temporal_decay: float = knob(0.5, low=0.0, high=10.0, help="Weight decay of the temporal stage.")
    spatial_drop: float = knob(
        0.8,
        low=0.0,
        high=1.0,
        help="Share of the temporal steps that are learned without the spatial LoRA, as renders will be without it.",
    )
    spatial_batch: int = knob(4, low=1, high=64, help="Single frames per spatial step.")
    temporal_batch: int = knob(2, low=1, high=64, help="Noise draws of the clip per temporal step.")
    head_rule: str = knob(
        "balanced",
        choices=("code", "paper", "balanced"),
        help="Which heads count as temporal (section 3.2 of the paper).",
    )
    decoupled: bool = knob(True, help="Look and motion in separate heads; off, every head learns both.")
    include_output: bool = knob(True, help="The output projections learn as well as queries, keys and values.")
    motion_loss: str = knob(
        "frame",
        choices=("frame", "vmc", "debiased", "off"),
        help="What is compared beside the velocities: changes from frame to frame, their sizes over time, or "
        "differences from a random frame.",
    )
    motion_space: str = knob(
        "velocity",
        choices=("velocity", "x0"),
        help="Where the motion loss compares: the velocities, or the clean clips that they lead to.",
    )
    motion_weight: float = knob(10.0, low=0.0, high=100.0, help="Weight of the motion loss beside the denoising loss.")
    sampling: str = knob(
        "latent",
        choices=("pixel", "latent"),
        help="Thin the clip before encoding (the paper) or after (in-distribution).",
    )
    sparse_latents: int = knob(
        0, low=0, high=81, unit="frames", help="Latent frames that a temporal step sees; 0 lets the base choose."
    )
    positions: str = knob(
        "aligned",
        choices=("aligned", "paper", "none"),
        help="Where kept frames lie on the time axis: at their own places, by the paper's rule, or side by side.",
    )
    noise_shift: float = knob(4.0, low=0.1, high=20.0, help="Shift of the training noise levels toward noise.")
    lowest_noise: float = knob(
        0.6, low=0.0, high=0.99, help="Noise levels below this are not learned from: renders let the motion act above."
    )
    caption_drop: float = knob(
        0.2,
        low=0.0,
        high=1.0,
        help="Share of the steps that learn with an empty caption, so that any prompt can follow.",
    )
    slow_share: float = knob(
        0.0,
        low=0.0,
        high=0.9,
        help="Share of the temporal examples that show the clip slowed down, or at rest, so that the motion strength "
        "goes evenly down to stillness; 0: strength scales the LoRA, as elsewhere.",
    )
    loss_weighting: str = knob(
        "none", choices=("none", "bell"), help="Noise levels that weigh more in the denoising loss; bell: the middle."
    )
    keep: str = knob(
        "temporal",
        choices=("temporal", "both"),
        help="What the LoRA holds: the motion alone, or the reference's look as well.",
    )
    inference_weight: float = knob(1.25, low=0.05, high=4.0, help="Factor folded into the saved LoRA.")


@dataclass(frozen=True, kw_only=True)
class RenderSpec(_Checked):
    """Settings of one render."""

    prompt: str = knob("", help="What the new video shows.")
    negative_prompt: str = knob("", help="What it should not show.")
    seed: int = knob(0, low=0, high=2**31 - 1, help="Seed of the random numbers.")
    steps: int = knob(20, low=1, high=200, unit="steps", help="Denoising steps.")
    guidance: float = knob(5.0, low=1.0, high=20.0, help="Classifier-free guidance scale at low noise; 1 turns it off.")
    flow_shift: float = knob(3.0, low=0.1, high=20.0, help="Shift of the noise levels toward noise.")
    strength: float = knob(1.0, low=-2.0, high=2.0, help="Motion strength; 1 is the reference's own motion.")
    mix: str = knob(
        "sum",
        choices=MIX_RULES,
        help="How several motions come together: added up; made equally large before; or turned apart before, so that "
        "none gets in the way of another.",
    )
    schedule: str = knob(
        TOGETHER,
        choices=SCHEDULES,
        help="When controls and learned motions of a mix act: all the time; or one kind while things find their "
        "places, and the other while they take their shapes.",
    )
    early_guidance: float = knob(
        10.0, low=1.0, high=20.0, help="Guidance scale while noise is high and things find their places."
    )
    guidance_smoothing: int = knob(
        1,
        low=0,
        high=16,
        unit="passes",
        help="How many times what early guidance adds is averaged over neighboring latent frames; 0 turns it off.",
    )
    motion_until: float = knob(
        0.7,
        low=0.0,
        high=1.0,
        help="Noise level down to which motion and early guidance act; below it the base alone finishes the look.",
    )
    late_strength: float = knob(
        0.8,
        low=0.0,
        high=1.0,
        help="Share of the motion strength below noise level 0.86, where things take their shapes: more for finer "
        "motion, less for the shapes that the prompt asks for.",
    )


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of a report; `value` is None, with a reason, when it can't be computed."""

    name: str
    value: float | None
    unit: str = ""
    higher_is_better: bool = True
    why_missing: str = ""

    def __post_init__(self) -> None:
        assert (self.value is None) == bool(self.why_missing)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was measured on one render."""

    measures: tuple[Measure, ...]

    def value(self, name: str) -> float | None:
        """The value of one measure by name; None if it is missing."""
        return next((m.value for m in self.measures if m.name == name), None)

    def as_json(self) -> dict[str, float | None]:
        """Name to value."""
        return {m.name: m.value for m in self.measures}


@dataclass(frozen=True, kw_only=True, eq=False)
class TuneState:
    """Where tuning stands after a step: enough to go on to the same bytes.

    `tensors` are matrices and moments of the stage's adapter by name (`temporal/blocks.0.attn1.to_q.up/exp_avg`), and
    the matrices of the stage before. `checks` are what the stage's found so far, None where one could not tell.
    """

    stage: str
    step: int
    tensors: Mapping[str, Tensor]
    checks: tuple[float | None, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Progress:
    """One step of long work.

    `preview` is a clip of the result so far, now and then; `heads` come once. `state` takes down where tuning stands;
    it must be called before the work goes on. `followed` is what a check found: the Motion Fidelity of a short render,
    -1..1. `note` is a sentence for the person, where something went otherwise than asked.
    """

    stage: str
    step: int
    total: int
    loss: float | None = None
    preview: Clip | None = None
    heads: HeadMap | None = None
    state: Callable[[], TuneState] | None = None
    followed: float | None = None
    note: str = ""


Work = Generator[Progress, None, T]
