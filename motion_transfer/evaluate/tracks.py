"""Follows points through a clip, with Lucas and Kanade's optical flow on enlarged frames.

Lengths are fractions of the frame width, so clips of different sizes can be compared.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache, partial

import cv2
import numpy as np

from motion_transfer.types import Clip
from motion_transfer.video.frames import resized_frames

TRACK_PX = 256  # clips are tracked at this width; 64-pixel clips are enlarged four times
_WINDOW = (25, 25)
_PYRAMID_LEVELS = 3
MAX_RETURN_PX = 1.0  # forward-backward error at TRACK_PX
MIN_TEXTURE = 1.5e-4  # smallest eigenvalue of the gradient matrix, of colors in 0..1, as OpenCV scales it
_FLAT_CHANGE = 12.0  # of 255: a flat place whose color changes more was passed by something
_MAX_CORNERS = 120
_KEPT = 8  # of the clips that were tracked last


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracks:
    """Points followed through a clip.

    `tracks_PT2` are places in frame widths from the frame's center (x right, y down), trusted where `valid_PT`.
    `textured_P` is false for places too flat to follow: these are seen to stay as they are, which is weaker
    evidence of rest than a textured place that stays.
    """

    tracks_PT2: np.ndarray
    valid_PT: np.ndarray
    textured_P: np.ndarray


def _seeds(frame_HWC: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners and a `grid` x `grid` lattice, `(P, 2)` float32 pixels; and how textured their places are."""
    height, width = frame_HWC.shape[:2]
    channels = [cv2.GaussianBlur(channel, (0, 0), 1.0).astype(np.float32) / 255 for channel in cv2.split(frame_HWC)]
    texture_HW = np.maximum.reduce([cv2.cornerMinEigenVal(channel, _WINDOW[0], ksize=3) for channel in channels])
    richest = max(channels, key=lambda channel: float(channel.var()))
    corners = cv2.goodFeaturesToTrack(richest, _MAX_CORNERS, 0.02, 5)
    x, y = np.meshgrid((np.arange(grid) + 0.5) / grid * width, (np.arange(grid) + 0.5) / grid * height)
    points = np.column_stack([x.ravel(), y.ravel()])
    if corners is not None:
        points = np.concatenate([corners.reshape(-1, 2), points])
    at = points.astype(int)
    return points.astype(np.float32), texture_HW[at[:, 1], at[:, 0]]


def _follow(pixels_THWC: np.ndarray, seeds_P2: np.ndarray, max_return_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Pyramidal Lucas-Kanade from the first frame on, each step checked by tracking back; stops when lost."""
    num_frames, height, width = pixels_THWC.shape[:3]
    places_TP2 = np.repeat(seeds_P2[None], num_frames, 0)
    valid_TP = np.ones(places_TP2.shape[:2], dtype=bool)
    step = partial(cv2.calcOpticalFlowPyrLK, winSize=_WINDOW, maxLevel=_PYRAMID_LEVELS)
    for t in range(1, num_frames):
        here = places_TP2[t - 1]
        there, ahead, _ = step(pixels_THWC[t - 1], pixels_THWC[t], here, None)
        again, back, _ = step(pixels_THWC[t], pixels_THWC[t - 1], there, None)
        returned = np.hypot(*(again - here).T) < max_return_px
        inside = ((there >= 0) & (there < (width, height))).all(1)
        valid_TP[t] = valid_TP[t - 1] & ahead[:, 0].astype(bool) & back[:, 0].astype(bool) & returned & inside
        places_TP2[t] = np.where(valid_TP[t][:, None], there, here)
    return places_TP2, valid_TP


def _rest(pixels_THWC: np.ndarray, seeds_P2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat places stay where they are, for as long as their color does."""
    at = seeds_P2.astype(int)
    color_TPC = pixels_THWC[:, at[:, 1], at[:, 0]].astype(np.float32)
    unchanged = np.abs(color_TPC - color_TPC[0]).max(-1) < _FLAT_CHANGE
    return np.repeat(seeds_P2[None], len(pixels_THWC), 0), np.logical_and.accumulate(unchanged, 0)


class _Frames:
    """Frames `(T, H, W, 3)` that equal others with the same pixels, so that what was tracked can be found again."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        shape = str(clip.frames_THWC.shape).encode()
        self._digest = hashlib.sha256(shape + np.ascontiguousarray(clip.frames_THWC).tobytes()).digest()

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frames) and self._digest == other._digest


def track_points(
    clip: Clip, *, grid: int = 12, min_texture: float = MIN_TEXTURE, max_return_px: float = MAX_RETURN_PX
) -> Tracks:
    """Follows points both ways from the middle frame (Lucas and Kanade 1981; pyramids: Bouguet 2000).

    Departs from Motion Fidelity's reference script, which tracks a 55 x 55 grid with CoTracker.

    Args:
        clip: any size and length.
        grid: points on each side of a lattice that is followed beside the corners.
        min_texture: less textured places than this are only watched, not followed.
        max_return_px: how far from its start a step may end, once followed back; in pixels of a width of 256.
    """
    return _tracked(_Frames(clip), grid, min_texture, max_return_px)


@lru_cache(maxsize=_KEPT)
def _tracked(frames: _Frames, grid: int, min_texture: float, max_return_px: float) -> Tracks:
    """Several measures follow the points of the same clips, and every reference is compared with several renders."""
    pixels_THWC = resized_frames(frames.clip, TRACK_PX, min_height=8)
    middle = len(pixels_THWC) // 2
    seeds_P2, texture_P = _seeds(pixels_THWC[middle], grid)
    textured_P = texture_P > min_texture
    places_TP2 = np.empty((len(pixels_THWC), len(seeds_P2), 2))
    valid_TP = np.empty(places_TP2.shape[:2], dtype=bool)
    for span in (slice(middle, None), slice(middle, None, -1)):
        for chosen, way in ((textured_P, partial(_follow, max_return_px=max_return_px)), (~textured_P, _rest)):
            if chosen.any():
                places_TP2[span, chosen], valid_TP[span, chosen] = way(pixels_THWC[span], seeds_P2[chosen])
    height, width = pixels_THWC.shape[1:3]
    tracks_TP2 = (places_TP2 - np.array([width / 2, height / 2])) / width
    for kept in (tracks_TP2, valid_TP, textured_P):
        kept.setflags(write=False)  # others will be given the same arrays
    return Tracks(tracks_PT2=tracks_TP2.swapaxes(0, 1), valid_PT=valid_TP.T, textured_P=textured_P)
