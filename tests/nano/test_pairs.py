"""What a thing's path is made of, and how figures follow from that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from motion_transfer.evaluate.checker import Sighting, find_object
from motion_transfer.nano.clips import EXAMPLES
from motion_transfer.nano.pair_check import (
    CAMERA,
    CAMERA_ALONE,
    CAMERAS,
    MOTION,
    MOTION_ALONE,
    MOTIONS,
    PATH,
    camera_shown,
    goes_along,
    motion_shown,
    pairs,
    summary,
    table,
    true_path,
)
from motion_transfer.types import TOGETHER
from motion_transfer.video.synth.controls import CONTROLS, control_scene
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import sample_scene

SMALLER, TURN = 0.6, np.radians(3)  # the thing's way, beside the true one


def _seen(motion: str, camera: str, strength: float, size: float = SMALLER) -> Sighting:
    """A thing that goes the motion's way so large, turned a little, before a camera."""
    name, kind = EXAMPLES[motion]
    scene = sample_scene(name, kind=kind, effects=0.0)
    turned = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
    path = tuple(map(tuple, (size * true_path(motion) @ turned.T).tolist()))
    thing = replace(scene.things[0], path=path, size=0.25)
    seen_by = control_scene(CONTROLS[camera], strength, "pairs").camera
    return find_object(draw([replace(scene, things=(thing,), camera=seen_by)], 64)[0].numpy(), thing.color, thing.kind)


@pytest.mark.parametrize(("motion", "camera", "sign"), pairs())
def test_camera_and_motion_are_told_apart_in_drawn_clips(motion: str, camera: str, sign: float) -> None:
    most = CONTROLS[camera].most
    seen, alone = _seen(motion, camera, 0.5 * sign), _seen(motion, camera, 0.0)
    shown = camera_shown(seen, alone, camera)
    assert shown == pytest.approx(0.5 * sign * most, abs=0.04 * most)
    size, off = motion_shown(seen, true_path(motion), camera, shown)
    assert size == pytest.approx(SMALLER, abs=0.04) and off < 0.02


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_camera_alone_is_read_off_a_thing_at_rest(camera: str) -> None:
    at_rest = _seen("single-line", camera, -0.5, size=0.0)
    assert camera_shown(at_rest, None, camera) == pytest.approx(-0.5 * CONTROLS[camera].most, rel=0.06)


def test_what_is_not_seen_is_not_told() -> None:
    nothing = find_object(np.full((49, 64, 64, 3), 128, np.uint8), "red", "circle")
    assert camera_shown(nothing, None, "pan") is None
    assert motion_shown(nothing, true_path("single-line"), "pan", 0.0) is None


def test_pairs_that_go_the_same_way_are_left_out() -> None:
    assert goes_along("single-line", "pan") and not goes_along("single-line", "tilt")
    assert len(set(pairs())) == len(pairs()) >= 24
    assert {motion for motion, *_ in pairs()} == set(MOTIONS)


def test_pairs_count_as_near_if_all_is() -> None:
    shown = [(0.2, 1.0, 0.01), (0.21, 0.95, 0.2), (0.15, 1.0, 0.01), (0.2, 1.3, 0.01), (None, None, None)]
    rows = {
        f"{way} {number}": {"way": way, "asked of camera": 0.2, CAMERA: camera, MOTION: motion, PATH: off}
        for way in (TOGETHER, MOTION_ALONE, CAMERA_ALONE) for number, (camera, motion, off) in enumerate(shown)
    }  # fmt: skip
    found = summary(rows)
    assert found[TOGETHER][CAMERA] == pytest.approx(0.075) and found[TOGETHER]["read"] == 0.8
    assert found[TOGETHER]["all near"] == 0.2 and found[TOGETHER][f"{CAMERA} near"] == 0.6
    assert found[MOTION_ALONE]["all near"] == 0.4 and CAMERA not in found[MOTION_ALONE]
    assert found[CAMERA_ALONE]["all near"] == 0.6 and MOTION not in found[CAMERA_ALONE]
    assert f"| {CAMERA_ALONE} | 7.5 |  |  | 60.0 |  | 60.0 | 0.80 |" in table(found)
    assert "| controls first |  |  |  | 0.0 | 0.0 | 0.0 | 0.00 |" in table(found)
