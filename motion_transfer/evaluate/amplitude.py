"""How large a control's motion is in a clip, in the control's own unit.

The camera's path is read off a thing at rest in the world, if one is named, else off the background. A straight line is
fitted to it over time, whose rise from the first to the last frame is the amplitude. Shake is what is left of the path
beside the line, its root mean square.
"""

from __future__ import annotations

import math

import numpy as np

from motion_transfer.evaluate.camera_motion import camera_path
from motion_transfer.evaluate.camera_refined import refined
from motion_transfer.evaluate.checker import Sighting, find_object
from motion_transfer.evaluate.retarget import Look
from motion_transfer.evaluate.thing_camera import camera_by_thing
from motion_transfer.types import Clip

MIN_SEEN = 0.5  # of the frames must show the thing
STRIDE_S = 0.25  # over which speeds are taken
PAN, TILT, ZOOM, ROLL, SHAKE, SPEED = "pan", "tilt", "zoom", "roll", "shake", "speed"


def _line(values_T: np.ndarray) -> np.ndarray:
    """The straight line through values over time, by least squares over those that are known, at every frame."""
    time_T = np.linspace(-0.5, 0.5, len(values_T))
    known_T = ~np.isnan(values_T)
    rise, middle = np.polyfit(time_T[known_T], values_T[known_T], 1)
    return rise * time_T + middle


def _rise(values_T: np.ndarray) -> float | None:
    """From the first to the last frame; None where too little is known."""
    if (~np.isnan(values_T)).mean() < MIN_SEEN:
        return None
    line_T = _line(values_T)
    return float(line_T[-1] - line_T[0])


def camera_amplitudes(path_T4: np.ndarray) -> dict[str, float | None]:
    """Of a camera path as `camera_motion` describes it: how far the camera pans, tilts, zooms, rolls and shakes.

    A camera that pans right lets the picture slide left.
    """
    right, down, zoom, roll = (_rise(values_T) for values_T in path_T4.T)
    shake = None
    if right is not None and down is not None:
        rest_T2 = np.stack([path_T4[:, axis] - _line(path_T4[:, axis]) for axis in (0, 1)], -1)
        shake = float(np.sqrt(np.nanmean((rest_T2**2).sum(1))))
    return {PAN: None if right is None else -right, TILT: None if down is None else -down, ZOOM: zoom,
            ROLL: None if roll is None else math.degrees(roll),
            SHAKE: shake}  # fmt: skip


def speed_seen(clip: Clip, look: Look) -> float | None:
    """Mean speed on screen of the thing with this shape and color, in frame widths a second; None where too
    little of it is seen.
    """
    return _speed(find_object(clip.frames_THWC, look[1], look[0]), clip.fps)


def _speed(sighting: Sighting, fps: float) -> float | None:
    """Mean speed on screen; None where too little of the thing is seen."""
    if sighting.present_share < MIN_SEEN:
        return None
    stride = max(1, round(STRIDE_S * fps))
    steps = sighting.path_T2[stride:] - sighting.path_T2[:-stride]
    lengths = np.hypot(*steps.T)
    return float(np.nanmean(lengths) * fps / stride) if (~np.isnan(lengths)).mean() >= MIN_SEEN else None


def amplitudes(clip: Clip, look: Look | None = None) -> dict[str, float | None]:
    """Amplitudes of all controls, by name; None where one can't be read.

    Args:
        clip: of square frames.
        look: shape and color of a thing, which is taken to rest in the world, and for its speed to move before a camera
            at rest; without, the background tells the camera's motion, and no speed is read.
    """
    found: dict[str, float | None] = dict.fromkeys((PAN, TILT, ZOOM, ROLL, SHAKE, SPEED))
    if look is None:
        path_T4 = camera_path(clip)
        path_T4 = None if path_T4 is None else refined(clip, path_T4)
    else:
        sighting = find_object(clip.frames_THWC, look[1], look[0])
        path_T4, found[SPEED] = camera_by_thing(sighting), _speed(sighting, clip.fps)
    return found if path_T4 is None else found | camera_amplitudes(path_T4)
