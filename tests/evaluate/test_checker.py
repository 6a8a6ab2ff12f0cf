from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from motion_transfer.errors import BadSpec
from motion_transfer.evaluate.checker import check_clip, count_objects, find_object, main, read_background
from motion_transfer.video.synth.palette import COLORS, SHAPES
from tests.evaluate.worlds import empty_frames_of, frames_of, scene_of

NAMES = [f"test-checker:{i}" for i in range(24)]


def _num_wrong(names: list[str], kind: str, wear=lambda frames_THWC: frames_THWC) -> int:
    wrong = 0
    for name in names:
        scene = scene_of(name, kind=kind)
        thing = scene.things[0]
        verdict = check_clip(wear(frames_of(scene)), color=thing.color, shape=thing.kind)
        wrong += not (verdict.color_right and verdict.shape_right and verdict.present_share > 0.95)
    return wrong


def _blurred(frames_THWC: np.ndarray) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 1.2) for frame in frames_THWC])


def _noisy(frames_THWC: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 15, frames_THWC.shape)
    return np.clip(frames_THWC + noise, 0, 255).astype(np.uint8)


def _off_color(frames_THWC: np.ndarray) -> np.ndarray:
    return np.clip(frames_THWC * np.array([0.88, 1.0, 1.12]) + np.array([10, -8, 4]), 0, 255).astype(np.uint8)


def _enlarged(frames_THWC: np.ndarray) -> np.ndarray:
    return np.stack([cv2.resize(frame, (160, 160), interpolation=cv2.INTER_CUBIC) for frame in frames_THWC])


def test_true_renders_are_read_right():
    assert _num_wrong(NAMES, "single") == 0


def test_figures_are_told_from_shapes():
    assert _num_wrong(NAMES[:8], "articulated") == 0


@pytest.mark.parametrize("wear", [_blurred, _noisy, _off_color, _enlarged])
def test_imperfect_renders_are_read_right(wear):
    assert _num_wrong(NAMES[:12], "single", wear) <= 1


def test_the_wrong_color_and_shape_are_refused():
    scene = scene_of(NAMES[0])
    thing = scene.things[0]
    color = next(c for c in COLORS if c not in (thing.color, scene.background.color))
    shape = next(s for s in SHAPES if s != thing.kind)
    verdict = check_clip(frames_of(scene), color=color, shape=shape)
    assert not verdict.color_right and not verdict.shape_right and verdict.present_share == 0
    assert (verdict.read_color, verdict.read_shape) == (thing.color, thing.kind)
    assert np.isnan(verdict.path_T2).all()


@pytest.mark.parametrize("name", NAMES[:6])
def test_an_empty_scene_holds_no_object_of_any_color(name):
    scene = scene_of(name)
    frames_THWC = empty_frames_of(scene)
    assert count_objects(frames_THWC) == 0
    verdict = check_clip(frames_THWC, color=scene.things[0].color, shape=scene.things[0].kind)
    assert not verdict.color_right and not verdict.shape_right
    assert verdict.present_share == 0 and verdict.read_color is None and verdict.read_shape is None


def test_specks_are_no_object():
    scene = scene_of(NAMES[1])
    frames_THWC = empty_frames_of(scene)
    frames_THWC[:, 30:36, 30:36] = (np.array(COLORS[scene.things[0].color]) * 255).astype(np.uint8)
    assert find_object(frames_THWC, scene.things[0].color).present_share == 0


def test_an_object_that_vanishes_half_way_is_present_half_of_the_time():
    scene = scene_of(NAMES[2])
    frames_THWC = frames_of(scene)
    frames_THWC[24:] = empty_frames_of(scene)[24:]
    verdict = check_clip(frames_THWC, color=scene.things[0].color, shape=scene.things[0].kind)
    assert verdict.present_share == pytest.approx(24 / 49)
    assert verdict.color_right and verdict.shape_right
    assert np.isnan(verdict.path_T2[24:]).all() and not np.isnan(verdict.path_T2[:24]).any()


def test_the_path_is_the_true_one_in_frame_widths():
    scene = scene_of(NAMES[3], content="path")
    found_T2 = find_object(frames_of(scene), scene.things[0].color).path_T2
    assert np.abs(found_T2 - np.array(scene.track(0))).mean() < 0.03


def test_a_wide_clip_keeps_its_coordinates():
    frames_THWC = np.full((4, 60, 120, 3), 247, dtype=np.uint8)
    frames_THWC[:, 20:40, 80:100] = (26, 82, 242)  # blue; middle at x 90, y 30 of 120 x 60
    sighting = find_object(frames_THWC, "blue")
    assert sighting.shape == "square"
    assert sighting.path_T2[0] == pytest.approx([0.25, 0.0], abs=0.01)


def test_objects_are_counted_and_the_asked_shape_is_followed():
    frames_THWC = np.full((5, 64, 64, 3), 247, dtype=np.uint8)
    cv2_red = (230, 26, 31)
    for frame in frames_THWC:
        frame[10:28, 10:28] = cv2_red
        cv2.circle(frame, (46, 46), 8, cv2_red, -1)
    assert count_objects(frames_THWC) == count_objects(frames_THWC, "red") == 2
    assert count_objects(frames_THWC, "blue") == 0
    assert find_object(frames_THWC, "red").shape == "square"
    assert find_object(frames_THWC, "red", "circle").shape == "circle"


def test_backgrounds_are_read():
    right_color = right_pattern = 0
    for name in NAMES:
        scene = scene_of(name)
        color, pattern = read_background(frames_of(scene))
        right_color += color == scene.background.color
        right_pattern += pattern == scene.background.pattern
    assert right_color == len(NAMES) and right_pattern >= len(NAMES) - 3


def test_unknown_words_are_refused():
    frames_THWC = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(BadSpec, match="mauve"):
        check_clip(frames_THWC, color="mauve", shape="star")
    with pytest.raises(BadSpec, match="blob"):
        check_clip(frames_THWC, color="red", shape="blob")


def test_the_command_writes_its_figures(tmp_path):
    main(["--scenes", "2", "--json", str(tmp_path / "new" / "checker.json")])
    figures = json.loads((tmp_path / "new" / "checker.json").read_text())
    assert figures["kinds"]["single"]["shape_right"] == 1.0
