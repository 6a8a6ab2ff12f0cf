"""Compares motions: tracked points of two clips, or a found path with the true one.

Lengths are fractions of the frame width, so clips of different sizes can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from motion_transfer.types import Clip

TRACK_PX = 256  # clips are tracked at this width; 64-pixel clips are enlarged four times
STEP_S = 0.25  # over which displacements are compared
STILL_STEP = 0.25 / 64  # a quarter of the procedural world's pixel: a smaller displacement is static
STILL_TRACK = 0.02  # a track that stays this near to its place in the middle frame is static
MIN_MOVING = 0.1  # of its steps: a track with fewer that are not static is static too
TRUE_STEP = 0.01  # a smaller true displacement has no direction to agree with
MIN_LIFE = 0.25  # of the clip: shorter tracks, and shorter shared lives, are not compared
_WINDOW = (25, 25)
_PYRAMID_LEVELS = 3
_MAX_RETURN_PX = 1.0  # forward-backward error at TRACK_PX
_MIN_TEXTURE = 1.5e-4  # smallest eigenvalue of the gradient matrix, of colors in 0..1, as OpenCV scales it
_FLAT_CHANGE = 12.0  # of 255: a flat place whose color changes more was passed by something
_MAX_CORNERS = 120


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


def _enlarged(clip: Clip) -> np.ndarray:
    """Frames `(T, h, TRACK_PX, 3)` uint8. Colors stay: two of them can be equally bright."""
    height, width = clip.frames_THWC.shape[1:3]
    size = (TRACK_PX, max(8, round(height * TRACK_PX / width)))
    how = cv2.INTER_AREA if width > TRACK_PX else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, size, interpolation=how) for frame in clip.frames_THWC])


def _seeds(frame_HWC: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners and a `grid` x `grid` lattice, `(P, 2)` float32 pixels; and which are textured enough to follow."""
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
    return points.astype(np.float32), texture_HW[at[:, 1], at[:, 0]] > _MIN_TEXTURE


def _follow(pixels_THWC: np.ndarray, seeds_P2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pyramidal Lucas-Kanade from the first frame on, each step checked by tracking back; stops when lost."""
    num_frames, height, width = pixels_THWC.shape[:3]
    places_TP2 = np.repeat(seeds_P2[None], num_frames, 0)
    valid_TP = np.ones(places_TP2.shape[:2], dtype=bool)
    step = partial(cv2.calcOpticalFlowPyrLK, winSize=_WINDOW, maxLevel=_PYRAMID_LEVELS)
    for t in range(1, num_frames):
        here = places_TP2[t - 1]
        there, ahead, _ = step(pixels_THWC[t - 1], pixels_THWC[t], here, None)
        again, back, _ = step(pixels_THWC[t], pixels_THWC[t - 1], there, None)
        returned = np.hypot(*(again - here).T) < _MAX_RETURN_PX
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


def track_points(clip: Clip, *, grid: int = 12) -> Tracks:
    """Follows points both ways from the middle frame (Lucas and Kanade 1981; pyramids: Bouguet 2000).

    Departs from Motion Fidelity's reference script, which tracks a 55 x 55 grid with CoTracker.

    Args:
        clip: any size and length.
        grid: points on each side of a lattice that is followed beside the corners.
    """
    pixels_THWC = _enlarged(clip)
    middle = len(pixels_THWC) // 2
    seeds_P2, textured_P = _seeds(pixels_THWC[middle], grid)
    places_TP2 = np.empty((len(pixels_THWC), len(seeds_P2), 2))
    valid_TP = np.empty(places_TP2.shape[:2], dtype=bool)
    for span in (slice(middle, None), slice(middle, None, -1)):
        for chosen, way in ((textured_P, _follow), (~textured_P, _rest)):
            if chosen.any():
                places_TP2[span, chosen], valid_TP[span, chosen] = way(pixels_THWC[span], seeds_P2[chosen])
    height, width = pixels_THWC.shape[1:3]
    tracks_TP2 = (places_TP2 - np.array([width / 2, height / 2])) / width
    return Tracks(tracks_PT2=tracks_TP2.swapaxes(0, 1), valid_PT=valid_TP.T, textured_P=textured_P)


def resample_path(path_T2: np.ndarray, num_frames: int) -> np.ndarray:
    """A path at `num_frames` even times from first to last, linearly; NaN where either neighbor is."""
    if len(path_T2) == num_frames:
        return path_T2
    at = np.linspace(0, len(path_T2) - 1, num_frames)
    low = np.floor(at).astype(int)
    part = (at - low)[:, None]
    high = np.minimum(low + 1, len(path_T2) - 1)
    return np.where(part > 0, (1 - part) * path_T2[low] + part * path_T2[high], path_T2[low])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Steps:
    """Displacements of tracks between sampled times, `S` steps.

    `unit_PS2` are directions, zero where still or untracked; `known_PS` and `still_PS` are 0 or 1; `mover_P`
    are the tracks that move, `asking_P` those that are textured and so ask for a match.
    """

    unit_PS2: np.ndarray
    known_PS: np.ndarray
    still_PS: np.ndarray
    mover_P: np.ndarray
    asking_P: np.ndarray


def _steps(clip: Clip, num_frames: int, stride: int) -> _Steps:
    tracks = track_points(clip)
    path_PT2 = np.where(tracks.valid_PT[..., None], tracks.tracks_PT2, np.nan)
    path_PT2 = np.stack([resample_path(path_T2, num_frames) for path_T2 in path_PT2])
    step_PS2 = path_PT2[:, stride:] - path_PT2[:, :-stride]
    length_PS = np.hypot(step_PS2[..., 0], step_PS2[..., 1])
    known_PS = ~np.isnan(length_PS)
    moves_PS = np.nan_to_num(length_PS) >= STILL_STEP
    often_P = moves_PS.sum(1) >= MIN_MOVING * known_PS.sum(1)
    away_PT2 = np.nan_to_num(path_PT2 - path_PT2[:, num_frames // 2, None])
    unit_PS2 = np.divide(step_PS2, length_PS[..., None], out=np.zeros_like(step_PS2), where=moves_PS[..., None])
    lasting = known_PS.mean(1) >= MIN_LIFE
    return _Steps(
        unit_PS2=unit_PS2[lasting],
        known_PS=known_PS[lasting].astype(float),
        still_PS=(known_PS & ~moves_PS)[lasting].astype(float),
        mover_P=(often_P & (np.hypot(away_PT2[..., 0], away_PT2[..., 1]).max(1) > STILL_TRACK))[lasting],
        asking_P=tracks.textured_P[lasting],
    )


def _best_match(asked: _Steps, others: _Steps, *, moving: bool) -> float | None:
    """Mean over the asking tracks that move, or that don't, of the best score among the others; None without any.

    A pair's score is its mean over the steps that both are tracked: the cosine where both move, 1 where both
    are static, 0 where one is. Moving tracks earn nothing by resting: steps where both rest are left out.
    """
    rows = asked.asking_P & (asked.mover_P == moving)
    if not rows.any():
        return None
    known, still = asked.known_PS[rows], asked.still_PS[rows]
    alike_PQ = np.einsum("psd,qsd->pq", asked.unit_PS2[rows], others.unit_PS2, optimize=True)
    shared_PQ, resting_PQ = known @ others.known_PS.T, still @ others.still_PS.T
    total_PQ = shared_PQ - resting_PQ if moving else shared_PQ
    comparable = (shared_PQ >= MIN_LIFE * known.shape[1]) & (total_PQ > 0)
    score_PQ = np.divide(alike_PQ if moving else alike_PQ + resting_PQ, total_PQ,
                         out=np.full_like(total_PQ, -np.inf), where=comparable)  # fmt: skip
    best_P = score_PQ.max(1, initial=-np.inf)
    return float(np.where(np.isinf(best_P), 0.0, best_P).mean())


def motion_fidelity(reference: Clip, generated: Clip) -> float | None:
    """Motion Fidelity, -1..1: does each tracked point of one clip find one that moves alike in the other?

    Follow-Your-Motion (arXiv 2506.05207) after Space-Time Diffusion Features (arXiv 2311.17009): for each
    track the best mean cosine of displacements among the other clip's tracks, averaged over tracks, in both
    directions. Departs from the paper so that nothing still scores well: displacements are taken over
    `STEP_S`, those under `STILL_STEP` are static, moving and static tracks are averaged apart, and the
    result is the mean of the two averages; a frozen copy of a moving clip gets at most a half. Flat places
    can be the match of a static track but ask for none, since whether they move can't be seen. Like the
    paper's, the score is blind to where in the frame something moves, so unrelated clips often get a half.

    Whole clips are compared: the longer is resampled to the shorter one's number of frames.

    Returns:
        The score, or None if neither clip has anything to track, or one is shorter than a step.
    """
    shorter = min(reference, generated, key=lambda clip: clip.num_frames)
    num_frames, stride = shorter.num_frames, max(1, round(STEP_S * shorter.fps))
    if num_frames <= stride:
        return None
    a, b = _steps(reference, num_frames, stride), _steps(generated, num_frames, stride)
    averages = []
    for moving in (True, False):
        sides = [_best_match(a, b, moving=moving), _best_match(b, a, moving=moving)]
        found = [side for side in sides if side is not None]
        if found:
            averages.append(sum(found) / len(found))
    return sum(averages) / len(averages) if averages else None


def trajectory_agreement(true_T2: np.ndarray, found_T2: np.ndarray, fps: float) -> float | None:
    """Mean cosine between true and found displacements over a quarter of a second, -1..1.

    True displacements under `TRUE_STEP` are left out; where nothing is found, or what is found stays put, the
    cosine counts as 0.

    Args:
        true_T2: path in frame widths.
        found_T2: path of the same length, NaN where absent.
        fps: frames a second, of both.

    Returns:
        The mean, or None if the true path never moves enough.
    """
    assert true_T2.shape == found_T2.shape
    stride = max(1, round(STEP_S * fps))
    true, found = true_T2[stride:] - true_T2[:-stride], found_T2[stride:] - found_T2[:-stride]
    moving = np.hypot(*true.T) >= TRUE_STEP
    if not moving.any():
        return None
    true, found = true[moving], np.nan_to_num(found[moving])
    lengths = np.hypot(*true.T) * np.hypot(*found.T)
    return float(np.divide((true * found).sum(1), lengths, out=np.zeros(len(true)), where=lengths > 1e-9).mean())


def trajectory_error(true_T2: np.ndarray, found_T2: np.ndarray) -> float | None:
    """Mean distance of two paths in percent of the frame width, where found; None if found nowhere."""
    distance = np.hypot(*(true_T2 - found_T2).T)
    return None if np.isnan(distance).all() else float(np.nanmean(distance) * 100)
