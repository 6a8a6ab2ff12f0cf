"""What the benchmark measures on one render."""

from __future__ import annotations

from dataclasses import replace

from motion_transfer.evaluate.report import judge
from motion_transfer.evaluate.retarget import Look
from motion_transfer.evaluate.tables import row_of
from motion_transfer.types import Clip
from motion_transfer.video.frames import fit_clip
from motion_transfer.video.synth.scene import Scene


def measured(
    reference: Clip, render: Clip, *, prompt: str, scene: Scene | None, looks: tuple[Look, ...] | None
) -> dict[str, float | str | None]:
    """Every measure of a render as part of a row.

    The reference is brought to the render's frames and size, and the render plays in the reference's time, for not
    every method says how fast its renders play.

    Args:
        reference: the clip whose motion was learned, with its caption, of any size and rate.
        render: what a method made of it.
        prompt: what the render should show.
        scene: the reference's true scene, where it is known.
        looks: what the prompt shows each of the scene's things as, where it is known.
    """
    num_frames, height, width = render.frames_THWC.shape[:3]
    fitted = replace(fit_clip(reference, num_frames=num_frames, height=height, width=width), caption=reference.caption)
    return row_of(judge(fitted, replace(render, fps=fitted.fps), prompt=prompt, scene=scene, looks=looks))
