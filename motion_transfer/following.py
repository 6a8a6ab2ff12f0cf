"""Does motion arrive at all? A case of `evaluate.benchmark`: learned, rendered with the LoRA and without, measured."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from motion_transfer.evaluate.benchmark import Case, follow
from motion_transfer.pipeline import Studio
from motion_transfer.types import Clip, RenderSpec, TuneSpec
from motion_transfer.video.kept import kept

ARMS = ("lora", "bare", "lora_strict", "bare_strict")  # strict: 0 where the shape is not the asked one


def followed(
    studio: Studio, tune: TuneSpec, render: RenderSpec, renders: Path, case: Case
) -> tuple[dict[str, Any], list[Clip]]:
    """A case's figures, and its reference beside the renders with the LoRA and without.

    Args:
        studio: with the base.
        tune: how the motion is learned; the case gives the caption.
        render: how it is shown; the case gives the prompt.
        renders: folder of the renders, to go on from.
        case: the clip with its truth.
    """
    reference, spec = case.reference(), replace(render, prompt=case.prompt)

    def led() -> Clip:
        return studio.render(studio.tune(reference, replace(tune, caption=reference.caption)).lora, spec)

    ours = kept(renders / f"{case.number}-lora.npz", led)
    bare = kept(renders / f"{case.number}-bare.npz", partial(studio.render, None, spec))
    row = {"clip": case.scene.name, "motion": case.scene.motion, "prompt": case.prompt}
    for arm, render_of in (("lora", ours), ("bare", bare)):
        found = follow(case, render_of)
        row |= {arm: found.cosine, f"{arm}_strict": found.strict}
    return row, [reference, ours, bare]
