from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from motion_transfer.evaluate.checker import find_object
from motion_transfer.evaluate.motion import (
    motion_fidelity,
    motion_fidelity_script,
    resample_path,
    trajectory_agreement,
    trajectory_error,
)
from motion_transfer.evaluate.tracks import track_points
from motion_transfer.types import Clip
from motion_transfer.video.synth.draw import draw
from tests.evaluate.worlds import as_clip, frames_of, scene_of

KINDS = {f"test-motion:{i}": kind for i, kind in enumerate(("single", "camera", "multiple", "articulated", "single"))}
NAMES = tuple(KINDS)


@cache
def _clip_of(name: str, *, content: str | None = None, unrelated: bool = False) -> Clip:
    scene = scene_of(f"unrelated/{name}" if unrelated else name, content=content, kind=KINDS[name])
    return as_clip(frames_of(scene))


def _mean_fidelity(other, measure=motion_fidelity, names=NAMES) -> float:
    """Mean fidelity of clips of every kind to what `other` makes of each name."""
    return float(np.mean([measure(_clip_of(name), other(name)) for name in names]))


def _reversed(name: str) -> Clip:
    return as_clip(_clip_of(name).frames_THWC[::-1])


def _cross_faded(name: str) -> Clip:
    frames_THWC = _clip_of(name).frames_THWC
    part = np.linspace(0, 1, len(frames_THWC))[:, None, None, None]
    return as_clip(((1 - part) * frames_THWC[0] + part * frames_THWC[-1]).round().astype(np.uint8))


def _line(num_frames: int = 25) -> np.ndarray:
    return np.column_stack([np.linspace(-0.3, 0.3, num_frames), np.linspace(0.1, -0.1, num_frames)])


def test_a_path_agrees_with_itself_and_not_with_its_reverse():
    path_T2 = _line()
    assert trajectory_agreement(path_T2, path_T2, 12) == pytest.approx(1)
    assert trajectory_agreement(path_T2, path_T2 + 0.2, 12) == pytest.approx(1)
    assert trajectory_agreement(path_T2, path_T2[::-1], 12) == pytest.approx(-1)
    assert trajectory_agreement(path_T2, path_T2[:, ::-1] * [1, -1], 12) == pytest.approx(0)  # a right angle


def test_frames_without_the_object_count_nothing():
    path_T2, found_T2 = _line(), _line()
    found_T2[10:] = np.nan
    assert trajectory_agreement(path_T2, found_T2, 12) == pytest.approx(7 / 22)
    assert trajectory_agreement(path_T2, np.full_like(path_T2, np.nan), 12) == 0


def test_a_frozen_object_agrees_with_nothing():
    assert trajectory_agreement(_line(), np.zeros((25, 2)), 12) == 0


def test_resting_frames_are_left_out():
    path_T2 = np.concatenate([_line(), np.repeat(_line()[-1:], 20, 0)])
    found_T2 = path_T2.copy()
    found_T2[28:] += np.random.default_rng(0).normal(0, 0.1, (17, 2))
    assert trajectory_agreement(path_T2, found_T2, 12) == pytest.approx(1, abs=0.01)
    assert trajectory_agreement(np.zeros((25, 2)), _line(), 12) is None


def test_the_error_is_in_percent_of_the_width():
    found_T2 = _line() + np.array([0.03, 0.04])
    found_T2[:5] = np.nan
    assert trajectory_error(_line(), found_T2) == pytest.approx(5)
    assert trajectory_error(_line(), np.full((25, 2), np.nan)) is None


def test_paths_are_resampled_in_time():
    path_T2 = np.array([[0.0, 0], [1, 0], [np.nan, np.nan], [3, 0]])
    assert resample_path(path_T2[:2], 5)[:, 0] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert np.isnan(resample_path(path_T2, 7)[:, 0]).tolist() == [False, False, False, True, True, True, False]


def test_tracks_follow_the_object():
    scenes = (scene_of(f"test-tracks:{i}", content="test-tracks:content") for i in range(99))
    scene = next(
        s for s in scenes if s.motion == "line" and s.camera.kind == "static" and len({*s.things[0].angles}) == 1
    )
    tracks = track_points(as_clip(frames_of(scene)))
    true_T2 = np.array(scene.track(0))
    lasting = tracks.textured_P & tracks.valid_PT.all(1)
    moved_P2 = tracks.tracks_PT2[lasting, -1] - tracks.tracks_PT2[lasting, 0]
    true_2 = true_T2[-1] - true_T2[0]
    assert np.hypot(*(moved_P2 - true_2).T).min() < 0.02
    assert tracks.tracks_PT2.shape == (*tracks.valid_PT.shape, 2)


def test_a_path_shifted_by_some_pixels_has_that_error():
    frames_THWC, color = _clip_of(NAMES[0]).frames_THWC, scene_of(NAMES[0]).things[0].color
    path_T2 = find_object(frames_THWC, color).path_T2
    for shift_px in (1, 3):
        shifted_T2 = find_object(np.roll(frames_THWC, shift_px, axis=1), color).path_T2
        assert trajectory_error(path_T2, shifted_T2) == pytest.approx(100 * shift_px / 64, abs=0.2)


def test_a_clip_is_faithful_to_itself():
    assert min(motion_fidelity(_clip_of(name), _clip_of(name)) for name in NAMES[:3]) > 0.99


def test_the_same_motion_with_other_content_is_faithful():
    assert _mean_fidelity(lambda name: _clip_of(name, content="other/" + name)) >= 0.95


def test_a_frozen_clip_is_not_faithful():
    for name in NAMES:
        frozen = as_clip(np.repeat(_clip_of(name).frames_THWC[:1], 49, 0))
        assert motion_fidelity(_clip_of(name), frozen) <= 0.5


def test_an_unrelated_clip_is_not_faithful():
    assert _mean_fidelity(lambda name: _clip_of(name, unrelated=True)) <= 0.6


def test_a_reversed_clip_is_not_faithful():
    assert _mean_fidelity(_reversed) <= 0.55


def test_a_cross_fade_is_hardly_better_than_a_frozen_clip():
    assert _mean_fidelity(_cross_faded) <= 0.65


def test_the_script_tells_the_motion_but_has_no_score_for_a_frozen_clip():
    same = _mean_fidelity(lambda name: _clip_of(name, content="other/" + name), motion_fidelity_script, NAMES[:3])
    assert same > 0.8 > 0.5 > _mean_fidelity(_reversed, motion_fidelity_script, NAMES[:3])
    frozen = as_clip(np.repeat(_clip_of(NAMES[0]).frames_THWC[:1], 49, 0))
    assert motion_fidelity_script(_clip_of(NAMES[0]), frozen) is None


def test_clips_of_other_size_and_length_can_be_compared():
    scene = scene_of(NAMES[0])
    small, large = as_clip(frames_of(scene)[::2]), as_clip(draw([scene], 96)[0].numpy())
    assert motion_fidelity(small, large) > 0.9


def test_nothing_to_track_gives_no_score():
    blank = as_clip(np.full((10, 64, 64, 3), 128, dtype=np.uint8))
    assert motion_fidelity(blank, blank) is None
    assert motion_fidelity(as_clip(frames_of(scene_of(NAMES[0]))[:2]), blank) is None
