"""Choosing a part of a clip: its span on a strip of frames, a box to crop, and whose motion it is about."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from motion_transfer.errors import BadClip, BadSpec
from motion_transfer.types import Clip
from motion_transfer.video.timing import ClipFacts, checked_span

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom lie just outside

# Okabe and Ito's yellow and sky blue, which people with any color vision tell apart, by brightness too.
CHOSEN_RGB = (240, 228, 66)
CUT_RGB = (86, 180, 233)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Which part of a picture is used: the largest box of an aspect, `zoom` times smaller, at `x` and `y` in 0..1."""

    zoom: float = 1.0
    x: float = 0.5
    y: float = 0.5

    def box(self, width: int, height: int, aspect: float) -> Box:
        """The box in a picture of this size, see `crop_box`."""
        return crop_box(width, height, aspect, self.zoom, self.x, self.y)


WHOLE = Crop()  # the middle of the picture, as large as the aspect allows

ALL, CAMERA, THINGS = MOVEMENTS = ("all", "camera", "things")  # whose motion is learned

_INK = (20, 20, 20)
_DIM = 0.4
_LEAST_HEIGHT_PX = 16
_LEAST_BOX_PX = 2


def frame_strip(
    clip: Clip, *, start_s: float, end_s: float, cuts: Sequence[int] = (), num_frames: int = 12, height_px: int = 72
) -> np.ndarray:
    """The whole clip as frames side by side, with a span of it chosen and cuts marked.

    The strip's first pixel column is the clip's beginning and its last one the end; each frame is the one shown at
    the middle of its place. Outside the span the strip is dark and gray. A yellow frame lies around the span, with a
    flag on each end that points into it; cuts are dashed blue lines.

    Args:
        clip: what to show.
        start_s: where the span starts, in seconds.
        end_s: where it ends.
        cuts: numbers of the frames that begin a new shot.
        num_frames: frames side by side.
        height_px: height of the strip.

    Returns:
        `(height_px, num_frames * width of a frame, 3)` uint8 RGB.

    Raises:
        BadClip: the span is empty or outside the clip.
        BadSpec: the strip is too small, or a cut lies outside the clip.
    """
    _check_strip(clip, cuts, num_frames, height_px)
    start_s, end_s = _checked_ends(clip, start_s, end_s)
    strip_HWC = _side_by_side(clip, num_frames, height_px)
    left, right = (_strip_x(time_s, strip_HWC.shape[1], clip.seconds) for time_s in (start_s, end_s))
    picture_HWC = _dimmed(strip_HWC)
    picture_HWC[:, left : right + 1] = strip_HWC[:, left : right + 1]
    for cut in cuts:
        _draw_dashes(picture_HWC, _strip_x(cut / clip.fps, strip_HWC.shape[1], clip.seconds))
    _draw_span(picture_HWC, left, right)
    return picture_HWC


def strip_time(x_px: float, strip_width_px: int, seconds: float) -> float:
    """The time in seconds that a click at column `x_px` of a strip means: its first is 0, its last the clip's end.

    Columns outside the strip count as the nearest end.
    """
    return seconds * min(max(x_px / max(1, strip_width_px - 1), 0.0), 1.0)


def crop_box(
    width: int, height: int, aspect: float, zoom: float = 1.0, x: float = 0.5, y: float = 0.5
) -> tuple[int, int, int, int]:
    """The box of an aspect ratio to cut out of a picture, in whole pixels.

    Args:
        width: the picture's width in pixels.
        height: its height.
        aspect: the box's width over its height.
        zoom: at least 1; the largest box that fits is shrunk by this factor, to no less than 2 pixels a side.
        x: where the box lies between the picture's left edge, 0, and its right one, 1.
        y: the same from top to bottom.

    Returns:
        Left, top, right and bottom; right and bottom lie just outside the box.

    Raises:
        BadClip: the picture is smaller than 2 x 2 pixels.
        BadSpec: the aspect, the zoom or the place is impossible.
    """
    _check_crop(width, height, aspect, zoom, x, y)
    full_width = min(width, height * aspect)
    box_width = _box_side(full_width / zoom, width)
    box_height = _box_side(full_width / aspect / zoom, height)
    left, top = round(x * (width - box_width)), round(y * (height - box_height))
    return left, top, left + box_width, top + box_height


def cropped(clip: Clip, box: Box) -> Clip:
    """The part of a clip that lies in a box.

    Raises:
        BadSpec: the box is empty or reaches outside the picture.
    """
    left, top, right, bottom = _checked_box(box, clip.frames_THWC.shape[2], clip.frames_THWC.shape[1])
    # A copy, so that the part does not keep the whole clip in memory.
    return dataclasses.replace(clip, frames_THWC=clip.frames_THWC[:, top:bottom, left:right].copy())


def box_picture(frame_HWC: np.ndarray, box: Box) -> np.ndarray:
    """A picture `(H, W, 3)` uint8 RGB that is dark and gray outside the box, with a yellow frame along its inside.

    Raises:
        BadSpec: the box is empty or reaches outside the picture.
    """
    left, top, right, bottom = _checked_box(box, frame_HWC.shape[1], frame_HWC.shape[0])
    picture_HWC = _dimmed(frame_HWC)
    picture_HWC[top:bottom, left:right] = frame_HWC[top:bottom, left:right]
    thick_px = max(1, round(min(frame_HWC.shape[:2]) / 120))
    for inset in range(min(2 * thick_px, (min(right - left, bottom - top) + 1) // 2)):
        color = CHOSEN_RGB if inset < thick_px else _INK
        cv2.rectangle(picture_HWC, (left + inset, top + inset), (right - 1 - inset, bottom - 1 - inset), color)
    return picture_HWC


def _check_strip(clip: Clip, cuts: Sequence[int], num_frames: int, height_px: int) -> None:
    if num_frames < 1 or height_px < _LEAST_HEIGHT_PX:
        got = f"{num_frames} frames and {height_px} pixels"
        raise BadSpec(f"a strip needs 1 frame and a height of {_LEAST_HEIGHT_PX} pixels, but got {got}; ask for more.")
    for cut in cuts:
        if not 0 <= cut < clip.num_frames:
            last = clip.num_frames - 1
            raise BadSpec(f"cuts must be frames 0 to {last}, but one is {cut}; find the cuts of this same clip.")


def _checked_ends(clip: Clip, start_s: float, end_s: float) -> tuple[float, float]:
    height, width = clip.frames_THWC.shape[1:3]
    facts = ClipFacts(width=width, height=height, fps=clip.fps, seconds=clip.seconds, num_frames=clip.num_frames)
    return checked_span(facts, start_s, end_s, math.inf)


def _side_by_side(clip: Clip, num_frames: int, height_px: int) -> np.ndarray:
    """The frames at the middles of equal parts of the clip, as one picture."""
    source_height, source_width = clip.frames_THWC.shape[1:3]
    size = max(2, round(height_px * source_width / source_height)), height_px
    how = cv2.INTER_AREA if height_px < source_height else cv2.INTER_CUBIC
    picks = ((np.arange(num_frames) + 0.5) / num_frames * clip.num_frames).astype(int)
    frames = [cv2.resize(np.ascontiguousarray(clip.frames_THWC[i]), size, interpolation=how) for i in picks]
    for frame_HWC in frames[1:]:
        frame_HWC[:, 0] = _INK  # parts frames that would run into each other
    return np.hstack(frames)


def _strip_x(time_s: float, strip_width_px: int, seconds: float) -> int:
    """The strip's column at a time: the inverse of `strip_time`."""
    return round(min(time_s / seconds, 1.0) * (strip_width_px - 1))


def _dimmed(picture_HWC: np.ndarray) -> np.ndarray:
    gray_HW1 = picture_HWC.mean(-1, keepdims=True)
    return np.rint(_DIM * (0.7 * gray_HW1 + 0.3 * picture_HWC)).astype(np.uint8)


def _draw_dashes(picture_HWC: np.ndarray, x_px: int) -> None:
    """A dashed vertical line; ink on both sides and in the gaps keeps it readable on any picture."""
    height_px = picture_HWC.shape[0]
    half_px, dash_px = max(1, height_px // 72), max(2, height_px // 9)
    cv2.rectangle(picture_HWC, (x_px - half_px - 1, 0), (x_px + half_px + 1, height_px), _INK, -1)
    for top in range(0, height_px, 2 * dash_px):
        cv2.rectangle(picture_HWC, (x_px - half_px, top), (x_px + half_px, top + dash_px - 1), CUT_RGB, -1)


def _draw_span(picture_HWC: np.ndarray, left: int, right: int) -> None:
    """Rails along the span, a line at each of its exact ends, and a flag on each that points inwards."""
    bottom = picture_HWC.shape[0] - 1
    half_px, flag_px = max(1, bottom // 48), max(4, bottom // 4)
    flags = [
        np.array([(left, 0), (left + flag_px, flag_px // 2), (left, flag_px)]),
        np.array([(right, bottom - flag_px), (right - flag_px, bottom - flag_px // 2), (right, bottom)]),
    ]
    for color, rim_px in ((_INK, 1), (CHOSEN_RGB, 0)):
        reach_px = half_px + rim_px
        for y in (0, bottom):
            cv2.rectangle(picture_HWC, (left, y - reach_px), (right, y + reach_px), color, -1)
        for x in (left, right):
            cv2.rectangle(picture_HWC, (x - reach_px, 0), (x + reach_px, bottom), color, -1)
        cv2.fillPoly(picture_HWC, flags, color)
        cv2.polylines(picture_HWC, flags, True, color, 1 + 2 * rim_px)


def _check_crop(width: int, height: int, aspect: float, zoom: float, x: float, y: float) -> None:
    if min(width, height) < _LEAST_BOX_PX:
        raise BadClip(f"a picture of at least 2 x 2 pixels can be cropped, but it has {width} x {height}; use another.")
    if not 0 < aspect < math.inf:
        raise BadSpec(f"the aspect ratio must be above 0, but is {aspect:g}; try 1 for a square.")
    if not 1 <= zoom < math.inf:
        raise BadSpec(f"the zoom must be 1 or more, but is {zoom:g}; take 1 for the largest box.")
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise BadSpec(f"the box's place must lie between 0 and 1, but is x {x:g} and y {y:g}; try 0.5 for the middle.")


def _box_side(side_px: float, picture_px: int) -> int:
    return min(picture_px, max(_LEAST_BOX_PX, round(side_px)))


def _checked_box(box: Box, width: int, height: int) -> Box:
    left, top, right, bottom = box
    inside = 0 <= left <= right - _LEAST_BOX_PX and right <= width
    if not (inside and 0 <= top <= bottom - _LEAST_BOX_PX and bottom <= height):
        raise BadSpec(f"a box of 2 x 2 pixels or more within {width} x {height} is expected, but it is {tuple(box)}; "
                      "choose it for this same clip.")  # fmt: skip
    return left, top, right, bottom
