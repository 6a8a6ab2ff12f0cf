"""The camera's motion as a thing at rest shows it: where plain backgrounds, or such as stay, say nothing.

Of a thing that keeps its place in the world, the camera's path follows from its outline: how far its center slides, how
much larger it becomes, and how it turns. Paths are as `camera_motion` describes them.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from motion_transfer.evaluate.checker import Sighting

MIN_SEEN = 0.7  # of the frames
_SIDE, _REACH = 48, 1.6  # of the window around a thing that is compared, and its half in radii of the thing
_BLUR = 2.0  # of masks, that small steps can be told
_TURNS = np.radians(np.arange(-60, 61, 4.0))
_TELLING = 0.02  # overlap that a turn must win over the worst one; less, and the outline is round


def _window(mask_HW: np.ndarray, center_2: np.ndarray, radius: float, turn: float = 0.0) -> np.ndarray:
    """The mask around a center, brought to one size and turned back."""
    scale, c, s = radius * _REACH * 2 / _SIDE, math.cos(turn), math.sin(turn)
    linear = scale * np.array([[c, -s], [s, c]])
    shift = center_2 - linear @ np.array([(_SIDE - 1) / 2] * 2)
    window = cv2.warpAffine(mask_HW.astype(np.float32), np.column_stack([linear, shift]), (_SIDE, _SIDE),
                            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)  # fmt: skip
    return cv2.GaussianBlur(window, (0, 0), _BLUR)


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum() + 1e-9))


def _turn(mask_HW: np.ndarray, center_2: np.ndarray, radius: float, model: np.ndarray, near: float) -> float | None:
    """By how much a thing is turned beside the model, in radians; None where its outline is round."""
    turns = near + _TURNS
    found = np.array([_likeness(_window(mask_HW, center_2, radius, turn), model) for turn in turns])
    best = int(found.argmax())
    if found[best] - found.min() < _TELLING:
        return None
    if 0 < best < len(found) - 1:  # the top of a parabola through the three
        a, b, c = found[best - 1 : best + 2]
        turns[best] += (a - c) / (2 * (a - 2 * b + c)) * (_TURNS[1] - _TURNS[0])
    return float(turns[best])


def seen_whole(sighting: Sighting) -> np.ndarray:
    """In which frames a thing is seen, and doesn't touch the frame's edge, `(T,)` bool."""
    inner_THW = sighting.masks_THW[:, 1:-1, 1:-1]
    return sighting.present_T & (inner_THW.sum((1, 2)) == sighting.masks_THW.sum((1, 2)))


def radii(sighting: Sighting) -> np.ndarray:
    """Radius of a disk as large as the thing, `(T,)`, in pixels of its masks."""
    return np.sqrt(sighting.masks_THW.sum((1, 2)) / math.pi)


def camera_by_thing(sighting: Sighting) -> np.ndarray | None:
    """The camera path `(T, 4)` that a resting thing shows, relative to the middle frame.

    Rows are NaN where the thing is not whole in the picture; the turn is NaN throughout for a round thing. None where
    the thing is seen in too few frames, or not in the middle one.
    """
    masks_THW, whole_T, radius_T = sighting.masks_THW, seen_whole(sighting), radii(sighting)
    height, width = masks_THW.shape[1:]
    middle = len(masks_THW) // 2
    if whole_T.mean() < MIN_SEEN or not whole_T[middle]:
        return None
    center_T2 = sighting.path_T2 * width + np.array([width, height]) / 2 - 0.5
    model = _window(masks_THW[middle], center_T2[middle], radius_T[middle])
    path_T4 = np.full((len(masks_THW), 4), np.nan)
    for frames in (range(middle, len(masks_THW)), range(middle, -1, -1)):
        turn = 0.0
        for t in frames:
            if whole_T[t]:
                zoom = radius_T[t] / radius_T[middle]
                found = _turn(masks_THW[t], center_T2[t], radius_T[t], model, turn)
                turn = found if found is not None else 0.0
                c, s = zoom * math.cos(turn), zoom * math.sin(turn)
                place = sighting.path_T2[middle]
                moved = sighting.path_T2[t] - np.array([c * place[0] - s * place[1], s * place[0] + c * place[1]])
                path_T4[t] = [*moved, math.log(zoom), turn if found is not None else np.nan]
    return path_T4
