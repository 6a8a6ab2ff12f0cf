"""Flicker and temporal consistency: how much a clip changes from frame to frame beside its motion.

Both carry the next frame back onto this one along dense optical flow (DIS, arXiv 1603.03590), and compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from motion_transfer.types import Clip
from motion_transfer.video.frames import resized_frames

FLOW_PX = 128  # flow is found at this width
MAX_RETURN_PX = 0.5  # forward-backward error at FLOW_PX: more, and a place is hidden or uncovered
MAX_RANGE = 24.0  # of 255: brightest minus darkest around a place, smoothed; more, and motion errors show
MIN_STEADY = 0.02  # of the frame's pixels that must be steady in a pair of frames
_NEIGHBORHOOD = np.ones((9, 9), np.uint8)
_SMOOTHING_PX = 3.0
_FLAT = 1.0  # of 255: frames with less deviation have no structure to correlate


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    """Two frames in a row, the second carried back onto the first along the motion.

    `here_HWC` and `next_HWC` are float32 in 0..255; `inside_HW` is false where the motion leaves the frame,
    `steady_HW` true where flow and flow back agree and the neighborhood is of one tone.
    """

    here_HWC: np.ndarray
    next_HWC: np.ndarray
    inside_HW: np.ndarray
    steady_HW: np.ndarray


def _carried(pixels: np.ndarray, places_HW2: np.ndarray) -> np.ndarray:
    return cv2.remap(pixels, places_HW2[..., 0], places_HW2[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _one_toned(frame_HWC: np.ndarray) -> np.ndarray:
    """Where a smoothed frame hardly varies in a small neighborhood, `(H, W)` bool."""
    soft = cv2.GaussianBlur(frame_HWC, (0, 0), _SMOOTHING_PX)
    spread = cv2.dilate(soft, _NEIGHBORHOOD).astype(float) - cv2.erode(soft, _NEIGHBORHOOD)
    return spread.max(-1) <= MAX_RANGE


def _pairs(clip: Clip) -> Iterator[_Pair]:
    frames_THWC = resized_frames(clip, FLOW_PX, min_height=16)
    height, width = frames_THWC.shape[1:3]
    grid_HW2 = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    gray_T = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_THWC]
    for t in range(len(frames_THWC) - 1):
        ahead_HW2 = dis.calc(gray_T[t], gray_T[t + 1], np.zeros_like(grid_HW2))
        back_HW2 = dis.calc(gray_T[t + 1], gray_T[t], np.zeros_like(grid_HW2))
        places_HW2 = grid_HW2 + ahead_HW2
        inside_HW = np.all((places_HW2 >= 0) & (places_HW2 <= (width - 1, height - 1)), axis=-1)
        returned_HW = np.linalg.norm(ahead_HW2 + _carried(back_HW2, places_HW2), axis=-1) < MAX_RETURN_PX
        next_HWC = _carried(frames_THWC[t + 1].astype(np.float32), places_HW2)
        one_toned_HW = _one_toned(frames_THWC[t]) & _one_toned(next_HWC)
        yield _Pair(here_HWC=frames_THWC[t].astype(np.float32), next_HWC=next_HWC, inside_HW=inside_HW,
                    steady_HW=inside_HW & returned_HW & one_toned_HW)  # fmt: skip


def flicker(clip: Clip) -> float | None:
    """Mean absolute change from frame to frame where nothing should change, in levels of 0..255; 0 is best.

    Taken at places of one tone whose motion is known, after compensating it. Pairs of frames with too few
    such places are left out.

    Returns:
        The change, or None for a single frame or where no pair of frames can be compared.
    """
    changes = [
        float(np.abs(pair.next_HWC - pair.here_HWC)[pair.steady_HW].mean())
        for pair in _pairs(clip)
        if pair.steady_HW.mean() >= MIN_STEADY
    ]
    return float(np.mean(changes)) if changes else None


def _correlation(pair: _Pair) -> float:
    """Pearson's, of all channels together; 1 for two flat pictures, 0 for one."""
    a, b = (pixels[pair.inside_HW] - pixels[pair.inside_HW].mean(0) for pixels in (pair.here_HWC, pair.next_HWC))
    flat = [np.sqrt((v * v).mean()) < _FLAT if v.size else True for v in (a, b)]
    if any(flat):
        return float(all(flat))
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def temporal_consistency(clip: Clip) -> float | None:
    """Mean correlation of frames in a row after compensating motion, 0..1; negative correlations count 0.

    Stands where the papers compare CLIP embeddings of frames in a row. Like theirs it is 1 for a frozen clip.

    Returns:
        The mean, or None for a single frame.
    """
    scores = [max(0.0, _correlation(pair)) for pair in _pairs(clip)]
    return float(np.mean(scores)) if scores else None
