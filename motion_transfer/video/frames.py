"""Clips as arrays: fitted to a model's shape, sampled sparsely, shown side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from motion_transfer.atomic import replacing
from motion_transfer.errors import BadClip, BadSpec
from motion_transfer.types import Clip
from motion_transfer.video.timing import evenly_spaced


def fit_clip(clip: Clip, *, num_frames: int, height: int, width: int) -> Clip:
    """Resamples a clip in time and space to a model's shape; it keeps playing at its own pace.

    The frames lie on a linear time grid from the first source frame to the last, both included, and the rate
    becomes `(num_frames - 1) / (time between first and last source frame)`. The picture is cropped around its
    center to the wanted aspect, then resized.

    Raises:
        BadClip: the clip has fewer than two frames.
        BadSpec: fewer than two frames, or no pixels, are asked for.
    """
    if clip.num_frames < 2:
        raise BadClip(f"motion needs at least two frames, but the clip has {clip.num_frames}; choose a longer clip.")
    if num_frames < 2 or height < 1 or width < 1:
        asked = f"{num_frames} frames of {height} x {width}"
        raise BadSpec(f"at least two frames of one pixel are needed, but {asked} are asked for; ask for more.")
    # The nearest source frame, never a blend of two: a blend shows a moving thing twice, faintly, at two places,
    # and a model tuned on it learns the ghosts. The price is a time error of at most half a source frame.
    picks = evenly_spaced(clip.num_frames, num_frames)
    fitted = {int(i): _fit_picture(clip.frames_THWC[i], height, width) for i in np.unique(picks)}
    frames_THWC = np.stack([fitted[int(i)] for i in picks])
    fps = (num_frames - 1) * clip.fps / (clip.num_frames - 1)
    return dataclasses.replace(clip, frames_THWC=frames_THWC, fps=fps)


def slowed(clip: Clip, pace: float) -> Clip:
    """A clip as long, of the middle part of this one, `pace` times as fast; 0 stands still, at the middle frame.

    Args:
        clip: any.
        pace: 0..1.
    """
    middle = (clip.num_frames - 1) / 2
    places = np.floor(middle + pace * (np.arange(clip.num_frames) - middle) + 0.5).astype(int)
    places = np.minimum(places, clip.num_frames - 1)
    return dataclasses.replace(clip, frames_THWC=clip.frames_THWC[places])


def _fit_picture(picture_HWC: np.ndarray, height: int, width: int) -> np.ndarray:
    """One picture, cropped around its center to the aspect of `height` and `width` and resized to them."""
    source_height, source_width = picture_HWC.shape[:2]
    crop_height = max(1, min(source_height, round(source_width * height / width)))
    crop_width = max(1, min(source_width, round(source_height * width / height)))
    top, left = (source_height - crop_height) // 2, (source_width - crop_width) // 2
    crop = picture_HWC[top : top + crop_height, left : left + crop_width]
    if (crop_height, crop_width) == (height, width):
        return crop
    shrinks = height <= crop_height and width <= crop_width
    resized = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.asarray(resized, dtype=np.uint8)


def sparse_indices(num_frames: int, num_sparse: int) -> tuple[int, ...]:
    """Evenly spaced frame numbers from 0 to `num_frames - 1`, both included.

    Raises:
        BadSpec: `num_sparse` frames do not divide the clip evenly.
    """
    if num_sparse < 2 or num_frames < num_sparse or (num_frames - 1) % (num_sparse - 1):
        fits = [str(n) for n in range(2, num_frames + 1) if (num_frames - 1) % (n - 1) == 0]
        choice = f"choose {' or '.join(fits)}" if fits else "choose a longer clip"
        raise BadSpec(
            f"sparse frames must divide {num_frames} frames evenly, both ends included, but are {num_sparse}; {choice}."
        )
    return tuple(range(0, num_frames, (num_frames - 1) // (num_sparse - 1)))


def resized_frames(clip: Clip, width: int, *, min_height: int) -> np.ndarray:
    """Frames `(T, h, width, 3)` uint8 in the clip's own aspect. Colors stay: two of them can be equally bright."""
    source_height, source_width = clip.frames_THWC.shape[1:3]
    size = (width, max(min_height, round(source_height * width / source_width)))
    how = cv2.INTER_AREA if source_width > width else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, size, interpolation=how) for frame in clip.frames_THWC])


def contact_sheet(clips: Sequence[Clip], *, columns_frames: int, scale: int = 1) -> np.ndarray:
    """Clips below each other, one row each, as evenly spaced frames from first to last.

    Args:
        clips: what to show; clips of another size than the first are fitted to it.
        columns_frames: frames per row.
        scale: whole factor by which pixels are enlarged.

    Returns:
        `(rows * H * scale, columns * W * scale, 3)` uint8 RGB.

    Raises:
        BadSpec: there is nothing to show.
    """
    if not clips or columns_frames < 1 or scale < 1:
        got = f"{len(clips)} clips, {columns_frames} frames and scale {scale}"
        raise BadSpec(f"a contact sheet needs at least one of each, but got {got}; give more.")
    height, width = clips[0].frames_THWC.shape[1:3]
    rows = []
    for clip in clips:
        picks = evenly_spaced(clip.num_frames, columns_frames)
        rows.append(np.concatenate([_fit_picture(clip.frames_THWC[i], height, width) for i in picks], axis=1))
    return np.concatenate(rows).repeat(scale, axis=0).repeat(scale, axis=1)


def save_png(picture_HWC: np.ndarray, path: str | Path) -> None:
    """Writes `(H, W, 3)` uint8 RGB as a PNG file, replaced in one atomic step.

    Raises:
        OSError: the file can't be written.
    """
    encoded, png = cv2.imencode(".png", cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2BGR))
    assert encoded
    with replacing(path) as partial:
        partial.write_bytes(png.tobytes())
