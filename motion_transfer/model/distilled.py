"""What a distilled base asks of a render: few steps at its own noise levels, and no guidance."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from motion_transfer.model.flow import TIMESTEPS, shifted
from motion_transfer.types import RenderSpec

NO_GUIDANCE = 1.0
STEPS, GUIDANCE, FLOW_SHIFT = MISFITS = ("steps", "guidance", "flow_shift")
_SAID = {
    STEPS: "{asked} steps are set, but this base is distilled for {wanted}; leave --steps out.",
    GUIDANCE: "guidance of {asked:g} is set, but a distilled base has it in its weights; leave --guidance and "
    "--early-guidance out.",
    FLOW_SHIFT: "a flow shift of {asked:g} is set, but this base is distilled for {wanted:g}; leave --flow-shift out.",
}
LEARNING = (
    "this base is distilled, and learning was not made for that: it compares velocities at all noise levels, but a "
    "distilled base knows a few. A motion may come out weak; learn it on a base that is not distilled."
)


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """How a step-distilled base is rendered; its guidance is part of its weights.

    Attributes:
        steps: that it was distilled for.
        flow_shift: of its noise levels, where `timesteps` don't say them.
        timesteps: noise levels of its steps, times 1000, falling; empty where they are evenly spaced before the shift.
        fresh_noise: between steps its guess at the clean clip gets new noise, as in distribution matching distillation
            (DMD2, arXiv 2405.14867, section 4.3); else the noise that it saw (Euler's rule).

    Raises:
        ValueError: numbers are out of range, or as many timesteps as steps aren't given.
    """

    steps: int
    flow_shift: float
    timesteps: tuple[float, ...] = ()
    fresh_noise: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "timesteps", tuple(self.timesteps))  # JSON gives a list
        RenderSpec(steps=self.steps, flow_shift=self.flow_shift)
        if not isinstance(self.fresh_noise, bool):
            raise ValueError(f"fresh_noise is true or false, but is {self.fresh_noise!r:.40}")
        rising = [0.0, *reversed(self.timesteps), TIMESTEPS + 1]
        if not all(type(one) in (int, float) for one in self.timesteps) or rising != sorted(set(rising)):
            raise ValueError(f"timesteps fall from {TIMESTEPS:g} to above 0, but are {self.timesteps!r:.60}")
        if self.timesteps and len(self.timesteps) != self.steps:
            raise ValueError(f"there are {self.steps} steps, but {len(self.timesteps)} timesteps")

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it asks for, by the names that `RenderSpec` has for it."""
        return {"steps": self.steps, "guidance": NO_GUIDANCE, "early_guidance": NO_GUIDANCE,
                "flow_shift": self.flow_shift}  # fmt: skip

    def sigmas(self, spec: RenderSpec) -> list[float]:
        """Noise levels of a render's steps, falling: its own, unless other steps or another shift are set."""
        if self.timesteps and (spec.steps, spec.flow_shift) == (self.steps, self.flow_shift):
            return [one / TIMESTEPS for one in self.timesteps]
        even = torch.linspace(1, 0, spec.steps + 1, dtype=torch.float64)[:-1]
        return shifted(even, spec.flow_shift).tolist()


def suited(render: RenderSpec, distilled: Distilled | None, given: Collection[str] = ()) -> RenderSpec:
    """The settings with what a distilled base asks for, but for those that a person has given.

    Args:
        render: settings.
        distilled: of the base; None leaves them as they are.
        given: names of settings to be left alone.
    """
    if distilled is None:
        return render
    return replace(render, **{name: value for name, value in distilled.settings.items() if name not in given})


def misfits(render: RenderSpec, distilled: Distilled | None) -> dict[str, tuple[float, float]]:
    """Which settings don't suit a distilled base, of `MISFITS`: what is set, and what would suit."""
    if distilled is None:
        return {}
    pairs = {
        STEPS: (render.steps, distilled.steps),
        GUIDANCE: (max(render.guidance, render.early_guidance), NO_GUIDANCE),
        FLOW_SHIFT: (render.flow_shift, distilled.flow_shift),
    }
    return {name: (asked, wanted) for name, (asked, wanted) in pairs.items() if asked != wanted}


def misfit_notes(render: RenderSpec, distilled: Distilled | None) -> list[str]:
    """A sentence for each of them, in the command line's words."""
    found = misfits(render, distilled)
    return [_SAID[name].format(asked=asked, wanted=wanted) for name, (asked, wanted) in found.items()]
