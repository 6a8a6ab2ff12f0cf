"""What a thing's path is made of, and how figures follow from that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from motion_transfer.evaluate.checker import find_object
from motion_transfer.nano.clips import EXAMPLES
from motion_transfer.nano.pair_check import (
    CAMERA_ALONE,
    CAMERAS,
    MOTION_ALONE,
    MOTIONS,
    PAIRS,
    summary,
    table,
    taken_apart,
    true_path,
)
from motion_transfer.types import TOGETHER
from motion_transfer.video.synth.controls import CONTROLS, control_scene
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import sample_scene

STRENGTH, SMALLER = 0.5, 0.6  # of the camera, and of the thing's way


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("motion", MOTIONS)
def test_camera_and_motion_are_told_apart_in_drawn_clips(motion: str, camera: str) -> None:
    name, kind = EXAMPLES[motion]
    scene = sample_scene(name, kind=kind, effects=0.0)
    path = tuple(map(tuple, (SMALLER * true_path(motion)).tolist()))
    thing = replace(scene.things[0], path=path, size=0.25)
    seen_by = control_scene(CONTROLS[camera], STRENGTH, "pairs").camera
    clip_THWC = draw([replace(scene, things=(thing,), camera=seen_by)], 64)[0].numpy()
    found = taken_apart(find_object(clip_THWC, thing.color, thing.kind), true_path(motion), camera)
    asked = STRENGTH * CONTROLS[camera].most
    assert found is not None and found.off < 0.02
    assert found.camera == pytest.approx(asked, abs=0.05 * CONTROLS[camera].most)
    assert found.motion == pytest.approx(SMALLER, abs=0.05)


def test_what_is_not_seen_is_not_told() -> None:
    gray_THWC = np.full((49, 64, 64, 3), 128, np.uint8)
    assert taken_apart(find_object(gray_THWC, "red", "circle"), true_path("single-line"), "pan") is None


def test_all_pairs_are_different() -> None:
    assert len(set(PAIRS)) == len(PAIRS) == 24


def test_pairs_count_as_near_if_both_are() -> None:
    shown = [(0.2, 1.0), (0.21, 0.95), (0.15, 1.0), (0.2, 1.3), (None, None)]
    rows = {
        f"{way} {number}": {"way": way, "asked of camera": 0.2, "shown of camera": camera, "shown of motion": motion,
                            "off": None if camera is None else 0.01}
        for way in (TOGETHER, MOTION_ALONE, CAMERA_ALONE) for number, (camera, motion) in enumerate(shown)
    }  # fmt: skip
    found = summary(rows)
    assert found[TOGETHER]["camera off by"] == pytest.approx(0.075, abs=1e-3)
    assert found[TOGETHER]["all near"] == 0.5 and found[TOGETHER]["read"] == 0.8
    assert found[MOTION_ALONE]["all near"] == 0.75 and "camera near" not in found[MOTION_ALONE]
    assert found[CAMERA_ALONE]["all near"] == 0.75 and "motion near" not in found[CAMERA_ALONE]
    assert f"| {CAMERA_ALONE} | 7.5 |  | 75.0 |  | 75.0 | 1.0 | 0.80 |" in table(found)
