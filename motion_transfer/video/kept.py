"""Renders kept on disk to the last bit, so that a measurement that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from motion_transfer.atomic import replacing
from motion_transfer.types import Clip

RENDERS = Path("bench-renders")  # where measurements keep them unless told otherwise


def kept(path: Path, render: Callable[[], Clip]) -> Clip:
    """The clip at a path, which is rendered and put there if there is none; its caption and source are not kept.

    Args:
        path: of an npz file, under a name that says all that the render follows from.
        render: makes the clip.
    """
    if not path.is_file():
        clip = render()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, open(partial, "wb") as handle:
            np.savez_compressed(handle, frames_THWC=clip.frames_THWC, fps=clip.fps)
    with np.load(path) as found:
        return Clip(frames_THWC=found["frames_THWC"], fps=float(found["fps"]))
