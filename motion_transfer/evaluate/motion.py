"""Compares motions: tracked points of two clips, or a found path with the true one.

Lengths are fractions of the frame width, so clips of different sizes can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motion_transfer.evaluate.tracks import track_points
from motion_transfer.types import Clip

STEP_S = 0.25  # over which displacements are compared
STILL_STEP = 0.25 / 64  # a quarter of the procedural world's pixel: a smaller displacement is static
STILL_TRACK = 0.02  # a track that stays this near to its place in the middle frame is static
MIN_MOVING = 0.1  # of its steps: a track with fewer that are not static is static too
MAX_RETURN_PX = 4.0  # when tracked back, of 256: one of nano's own; outlines that waver are lost sooner with less
TRUE_STEP = 0.01  # a smaller true displacement has no direction to agree with
MIN_LIFE = 0.25  # of the clip: shorter tracks, and shorter shared lives, are not compared


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
    tracks = track_points(clip, max_return_px=MAX_RETURN_PX)
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

    On 40 true clips of the procedural world, ten of each kind, a clip scores 1.00 with itself, .97 with the
    same motion shown with other content (camera .98, single .96, multiple .97, articulated .97), .49 frozen,
    .45 with an unrelated clip (.28, .49, .61, .44), .27 reversed, and .57 as a cross-fade of its first and last
    frames (.50 to .62): more than frozen, since a cross-fade's rest is true and some of its changes pass for motion.

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


def _script_directions(clip: Clip, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit displacements `(P, num_frames - 1, 2)` from frame to frame, 0/0 where a point rests; and which are known."""
    tracks = track_points(clip, max_return_px=MAX_RETURN_PX)
    path_PT2 = np.where(tracks.valid_PT[..., None], tracks.tracks_PT2, np.nan)
    step_PS2 = np.diff(np.stack([resample_path(path_T2, num_frames) for path_T2 in path_PT2]), axis=1)
    length_PS1 = np.linalg.norm(step_PS2, axis=-1, keepdims=True)
    unit_PS2 = np.divide(step_PS2, length_PS1, out=np.full_like(step_PS2, np.nan), where=length_PS1 > 0)
    return np.nan_to_num(unit_PS2), ~np.isnan(unit_PS2[..., 0])


def motion_fidelity_script(reference: Clip, generated: Clip) -> float | None:
    """Motion Fidelity as its reference script computes it, for comparison with published figures only.

    One direction only: each generated track's best match among the reference's, by the mean cosine of
    displacements from frame to frame. As in the script, every drift has a direction however short, exact rest has
    none (0/0, NaN), and the identity is subtracted from the matrix of matches, so that a track hardly ever
    matches the one of the same number. NaN steps are dropped, and so are pairs that share fewer than `MIN_LIFE`
    of the clip's. Departs from the script in the tracker (see `track_points`).

    Whole clips are compared: the longer is resampled to the shorter one's number of frames.

    Returns:
        The score, or None if no pair of tracks moves together for long enough.
    """
    num_frames = min(reference.num_frames, generated.num_frames)
    if num_frames < 2:
        return None
    (from_PS2, moves_PS), (to_QS2, moves_QS) = (_script_directions(clip, num_frames) for clip in (generated, reference))
    total_PQ = np.einsum("psd,qsd->pq", from_PS2, to_QS2, optimize=True)
    shared_PQ = moves_PS.astype(float) @ moves_QS.T.astype(float)
    mean_PQ = np.divide(total_PQ, shared_PQ, out=np.full_like(total_PQ, -np.inf),
                        where=shared_PQ >= max(1.0, MIN_LIFE * (num_frames - 1)))  # fmt: skip
    best_P = (mean_PQ - np.eye(*mean_PQ.shape)).max(1, initial=-np.inf)
    found = best_P[~np.isinf(best_P)]
    return float(found.mean()) if len(found) else None


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
