"""A camera path read once more, each frame beside the middle one: free of what small steps add up to.

Points followed from frame to frame are pulled to whole pixels a little at each step, which makes slow motion seem a
tenth slower. Here every frame is carried back by the path that was found, what is then left between it and the middle
frame is measured (Lucas and Kanade 1981), and the path set right by it; twice.
"""

from __future__ import annotations

import cv2
import numpy as np

from motion_transfer.evaluate.camera_motion import MIN_POINTS
from motion_transfer.evaluate.tracks import TRACK_PX
from motion_transfer.types import Clip
from motion_transfer.video.frames import resized_frames

ROUNDS = 2
MOST_LEFT_PX = 6.0  # of what is left, at TRACK_PX
_MOST_APART_PX = 1.0  # of what most points agree on
_MARGIN_PX = 12.0  # from the border, within which half of a point's neighborhood is missing
_MOST_POINTS, _QUALITY, _GAP_PX = 300, 0.005, 5.0
_WINDOW = (21, 21)


def _matrix(row_4: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The map of the middle frame's pixels onto a frame's, `(2, 3)`."""
    width, height = size
    zoom, turn = np.exp(row_4[2]), row_4[3]
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.array([width / 2 - 0.5, height / 2 - 0.5])
    return np.column_stack([linear, middle + width * row_4[:2] - linear @ middle])


def _row(matrix_23: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The inverse of `_matrix`."""
    width, height = size
    linear, middle = matrix_23[:, :2], np.array([width / 2 - 0.5, height / 2 - 0.5])
    shift = (matrix_23[:, 2] + linear @ middle - middle) / width
    zoom = np.sqrt(abs(np.linalg.det(linear)))
    return np.array([*shift, np.log(zoom), np.arctan2(linear[1, 0], linear[0, 0])])


def _set_right(middle_HW: np.ndarray, frame_HW: np.ndarray, points_P2: np.ndarray, row_4: np.ndarray) -> np.ndarray:
    """The row with what is left added; the same row where too few points tell."""
    height, width = middle_HW.shape
    matrix_23 = _matrix(row_4, (width, height))
    seen_P2 = points_P2 @ matrix_23[:, :2].T + matrix_23[:, 2]
    inside_P = np.all((seen_P2 >= _MARGIN_PX) & (seen_P2 <= (width - 1 - _MARGIN_PX, height - 1 - _MARGIN_PX)), axis=1)
    if inside_P.sum() < MIN_POINTS:
        return row_4
    back_HW = cv2.warpAffine(frame_HW, matrix_23, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                             borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    from_P2 = points_P2[inside_P].astype(np.float32)
    to_P12, found_P1, _ = cv2.calcOpticalFlowPyrLK(
        middle_HW, back_HW, from_P2[:, None], None, winSize=_WINDOW, maxLevel=1
    )
    to_P2 = to_P12[:, 0]
    near_P = found_P1[:, 0].astype(bool) & (np.linalg.norm(to_P2 - from_P2, axis=1) <= MOST_LEFT_PX)
    if near_P.sum() < MIN_POINTS:
        return row_4
    left_23, agree = cv2.estimateAffinePartial2D(from_P2[near_P], to_P2[near_P], method=cv2.RANSAC,
                                                 ransacReprojThreshold=_MOST_APART_PX, maxIters=500)  # fmt: skip
    if left_23 is None or agree.sum() < MIN_POINTS:
        return row_4
    linear = matrix_23[:, :2] @ left_23[:, :2]
    return _row(np.column_stack([linear, matrix_23[:, :2] @ left_23[:, 2] + matrix_23[:, 2]]), (width, height))


def refined(clip: Clip, path_T4: np.ndarray) -> np.ndarray:
    """A camera path as `camera_motion` describes, set right; rows that are not known stay so.

    Args:
        clip: of square frames.
        path_T4: as `camera_path` found it.
    """
    frames_THWC = resized_frames(clip, TRACK_PX, min_height=8)
    gray_THW = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_THWC]
    middle_HW = gray_THW[len(gray_THW) // 2]
    corners = cv2.goodFeaturesToTrack(middle_HW, _MOST_POINTS, _QUALITY, _GAP_PX)
    if corners is None:
        return path_T4
    points_P2, rows = corners[:, 0], []
    for gray_HW, row_4 in zip(gray_THW, path_T4, strict=True):
        for _ in range(ROUNDS if not np.isnan(row_4[0]) else 0):
            row_4 = _set_right(middle_HW, gray_HW, points_P2, row_4)
        rows.append(row_4)
    return np.stack(rows)
