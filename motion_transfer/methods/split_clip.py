"""One clip as two: a world at rest before the moving camera, and moving things before a camera at rest.

The camera's path is read from the background by RANSAC (`evaluate.camera_motion`), as a similarity per frame. Undoing
it shows every frame as the middle one's camera would have seen it; where the camera had not looked yet, the background
itself is filled in, the median over all frames that saw a place. So a LoRA learned from the one clip holds the
camera's motion alone, from the other the things' own.

Things that keep one place for more than half of the time are taken for background, and what is nearer or farther than
the background slides a little when a camera that travels is undone: a similarity knows no depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from motion_transfer.errors import BadClip, BadSpec
from motion_transfer.evaluate.camera_motion import camera_path, carried
from motion_transfer.types import Clip
from motion_transfer.video.strip import ALL, CAMERA, MOVEMENTS, THINGS

MAX_VIEW = 3.0  # of the frame's sides: how much of the world is kept
_STRIPE_ROWS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class _World:
    """The background as the middle frame's camera would see it through a larger window, `(V, U, 3)` uint8.

    `camera_T4` is the camera's path, without gaps; `center` the window's middle in its own pixels, right and down.
    """

    plate_VUC: np.ndarray
    camera_T4: np.ndarray
    center: np.ndarray


def _without_gaps(camera_T4: np.ndarray) -> np.ndarray:
    """The path with frames in which the camera was lost filled in between their neighbors."""
    known_T, frames = ~np.isnan(camera_T4[:, 0]), np.arange(len(camera_T4))
    return np.column_stack([np.interp(frames, frames[known_T], column[known_T]) for column in camera_T4.T])


def _affine(camera_4: np.ndarray, width: int, middle: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Takes pixels of a window onto the middle frame's world to pixels of one frame, `(2, 3)`."""
    shift, right, down = carried(camera_4[None], np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))[:, 0]
    turn = np.column_stack([right - shift, down - shift])
    return np.column_stack([turn, shift * width + middle - turn @ center])


def _middle(clip: Clip) -> np.ndarray:
    height, width = clip.frames_THWC.shape[1:3]
    return np.array([(width - 1) / 2, (height - 1) / 2])


def _window(clip: Clip, camera_T4: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Height, width and middle of the window that holds all that the camera sees."""
    height, width = clip.frames_THWC.shape[1:3]
    sides, middle = np.array([width, height]), _middle(clip)
    corners = np.array([[x, y] for x in (0, width - 1) for y in (0, height - 1)], dtype=float)
    reach = middle.copy()
    for camera_4 in camera_T4:
        affine = _affine(camera_4, width, middle, middle)
        seen = np.linalg.solve(affine[:, :2], (corners - affine[:, 2]).T).T
        reach = np.maximum(reach, np.abs(seen - middle).max(0))
    center = middle + np.ceil(np.minimum(reach, MAX_VIEW * sides / 2) - middle)  # the middle frame's pixels fit
    return round(2 * center[1] + 1), round(2 * center[0] + 1), center


def _plate(clip: Clip, camera_T4: np.ndarray) -> _World:
    """The median, over all frames that see a place, of what they show there."""
    rows, columns, center = _window(clip, camera_T4)
    width, middle = clip.frames_THWC.shape[2], _middle(clip)
    plate, seen = np.zeros((rows, columns, 3), np.uint8), np.zeros((rows, columns), bool)
    for top in range(0, rows, _STRIPE_ROWS):
        size = (columns, min(_STRIPE_ROWS, rows - top))
        shown = np.empty((clip.num_frames, size[1], columns, 3), np.int16)
        for frame, camera_4, out in zip(clip.frames_THWC, camera_T4, shown, strict=True):
            affine = _affine(camera_4, width, middle, center - (0, top))
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            inside = cv2.warpAffine(np.ones(frame.shape[:2], np.uint8), affine, size, flags=flags)
            out[:] = cv2.warpAffine(frame, affine, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            out[inside == 0] = 256  # after all colors, once sorted
        count = (shown[..., 0] < 256).sum(0)
        place = np.maximum(count - 1, 0) // 2
        shown.sort(axis=0)
        plate[top : top + size[1]] = np.take_along_axis(shown, place[None, ..., None], 0)[0].clip(max=255)
        seen[top : top + size[1]] = count > 0
    if not seen.all():
        plate = cv2.inpaint(plate, (~seen).astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return _World(plate_VUC=plate, camera_T4=camera_T4, center=center)


def _world(clip: Clip) -> _World:
    camera_T4 = camera_path(clip)
    if camera_T4 is None:
        raise BadClip("a background that can be followed is expected, to tell the camera's motion from that of things, "
                      "but this clip's is too plain or hidden; learn the clip as a whole.")  # fmt: skip
    return _plate(clip, _without_gaps(camera_T4))


def camera_clip(clip: Clip) -> Clip:
    """The clip with all things standing still as in its middle frame, so that only the camera moves.

    Raises:
        BadClip: the background can't be followed.
    """
    world, middle = _world(clip), clip.frames_THWC[clip.num_frames // 2]
    height, width = middle.shape[:2]
    plate, center = world.plate_VUC.copy(), world.center
    left, top = (round(v) for v in center - _middle(clip))
    plate[top : top + height, left : left + width] = middle
    frames = []
    for camera_4 in world.camera_T4:
        affine = _affine(camera_4, width, _middle(clip), center)
        frames.append(cv2.warpAffine(plate, affine, (width, height), borderMode=cv2.BORDER_REPLICATE))
    return replace(clip, frames_THWC=np.stack(frames))


def things_clip(clip: Clip) -> Clip:
    """The clip as a camera at rest would have seen it, the middle frame's; only things move.

    Raises:
        BadClip: the background can't be followed.
    """
    world = _world(clip)
    height, width = clip.frames_THWC.shape[1:3]
    still = cv2.getRectSubPix(world.plate_VUC, (width, height), tuple(world.center))
    flags, frames = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, []
    for frame, camera_4 in zip(clip.frames_THWC, world.camera_T4, strict=True):
        affine = _affine(camera_4, width, _middle(clip), _middle(clip))
        shown = cv2.warpAffine(frame, affine, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        inside = cv2.warpAffine(np.full((height, width), 255, np.uint8), affine, (width, height), flags=flags)
        frames.append(np.where((inside == 255)[..., None], shown, still))
    return replace(clip, frames_THWC=np.stack(frames))


def movement_of(clip: Clip, movement: str) -> Clip:
    """What of a clip is to be learned: all that moves, the camera's motion, or that of things.

    Raises:
        BadSpec: there is no such movement.
        BadClip: the background can't be followed, which the latter two need.
    """
    if movement not in MOVEMENTS:
        raise BadSpec(f"movement must be one of {', '.join(MOVEMENTS)}, but is {movement!r:.40}; choose one.")
    return {ALL: lambda one: one, CAMERA: camera_clip, THINGS: things_clip}[movement](clip)
