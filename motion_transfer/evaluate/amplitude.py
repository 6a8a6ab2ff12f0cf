"""How large a control's motion is in a clip, in the control's own unit.

The camera's share is read from the background (`camera_motion`); a straight line is fitted over time, whose rise from
the first to the last frame is the amplitude. Shake is what is left of the path beside the line, its root mean square.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from motion_transfer.evaluate.camera_motion import camera_path, steadied
from motion_transfer.evaluate.camera_refined import refined
from motion_transfer.evaluate.checker import find_object
from motion_transfer.evaluate.retarget import Look
from motion_transfer.types import Clip

MIN_SEEN = 0.5  # of the frames must show the object
STRIDE_S = 0.25  # over which speeds are taken
CAMERA_CONTROLS = ("pan", "tilt", "zoom", "roll", "shake")
Amplitudes = Mapping[str, float | None]


def _line(values_T: np.ndarray) -> np.ndarray:
    """The straight line through values over time, by least squares over those that are known, at every frame."""
    time_T = np.linspace(-0.5, 0.5, len(values_T))
    known_T = ~np.isnan(values_T)
    rise, middle = np.polyfit(time_T[known_T], values_T[known_T], 1)
    return rise * time_T + middle


def _rise(values_T: np.ndarray) -> float:
    line_T = _line(values_T)
    return float(line_T[-1] - line_T[0])


def camera_amplitudes(path_T4: np.ndarray) -> dict[str, float]:
    """Of a camera path as `camera_path` gives it: how far the camera pans, tilts, zooms, rolls and shakes.

    A camera that pans right lets the picture slide left.
    """
    rest_T2 = np.stack([path_T4[:, axis] - _line(path_T4[:, axis]) for axis in (0, 1)], -1)
    return {"pan": -_rise(path_T4[:, 0]), "tilt": -_rise(path_T4[:, 1]), "zoom": _rise(path_T4[:, 2]),
            "roll": math.degrees(_rise(path_T4[:, 3])),
            "shake": float(np.sqrt(np.nanmean((rest_T2**2).sum(1))))}  # fmt: skip


def _seen_path(clip: Clip, look: Look) -> np.ndarray | None:
    """The object's path on screen, `(T, 2)`; None where too little of it is seen."""
    shape, color = look
    path_T2 = find_object(clip.frames_THWC, color, shape).path_T2
    return path_T2 if (~np.isnan(path_T2[:, 0])).mean() >= MIN_SEEN else None


def _speed(path_T2: np.ndarray, fps: float) -> float:
    stride = max(1, round(STRIDE_S * fps))
    return float(np.nanmean(np.hypot(*(path_T2[stride:] - path_T2[:-stride]).T)) * fps / stride)


def amplitudes(clip: Clip, look: Look | None = None) -> dict[str, float | None]:
    """Amplitudes of all controls that can be read from a clip.

    Args:
        clip: of square frames.
        look: shape and color of its object, if known: parallax and speed are read off it. Parallax is how much further
            the object slides than the background; speed is its own, before the camera's motion is taken away only
            where the background can be followed.

    Returns:
        By control; None where it can't be read.
    """
    path_T4 = camera_path(clip)
    path_T4 = None if path_T4 is None else refined(clip, path_T4)
    found: dict[str, float | None] = dict.fromkeys((*CAMERA_CONTROLS, "parallax", "speed"))
    if path_T4 is not None:
        found |= camera_amplitudes(path_T4)
    path_T2 = _seen_path(clip, look) if look is not None else None
    if path_T2 is None:
        return found
    if path_T4 is not None:
        found["parallax"] = _rise(path_T4[:, 0]) - _rise(path_T2[:, 0])
        path_T2 = steadied(path_T4, path_T2[None])[0]
    if (~np.isnan(path_T2[:, 0])).mean() >= MIN_SEEN:
        found["speed"] = _speed(path_T2, clip.fps)
    return found
