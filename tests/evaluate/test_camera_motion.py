from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from motion_transfer.evaluate.camera_motion import (
    camera_error,
    camera_path,
    carried,
    object_residual_flow,
    steadied,
    true_camera_path,
)
from motion_transfer.video.synth.scene import Scene
from tests.evaluate.worlds import as_clip, empty_frames_of, frames_of, scene_of


def _scene(camera: str, pattern: str, *, kind: str = "camera") -> Scene:
    """The first scene with such a camera, before such a background."""
    scenes = (scene_of(f"test-camera:{i}", kind=kind) for i in range(999))
    scene = next(s for s in scenes if s.camera.kind == camera)
    return replace(scene, background=replace(scene.background, pattern=pattern))


@pytest.mark.parametrize(
    ("camera", "pattern"), [("pan", "dotted"), ("zoom", "leafy"), ("roll", "checkered"), ("combined", "wavy")]
)
def test_the_camera_is_found(camera, pattern):
    scene = _scene(camera, pattern)
    true_T4 = true_camera_path(scene)
    assert camera_error(true_T4, camera_path(as_clip(frames_of(scene)))) < 1
    assert camera_error(true_T4, np.zeros_like(true_T4)) > 5


def test_the_background_is_followed_not_the_object():
    for camera, kind in (("static", "single"), ("parallax", "single")):
        scene = _scene(camera, "dotted", kind=kind)
        assert camera_error(true_camera_path(scene), camera_path(as_clip(frames_of(scene)))) < 0.5


def test_the_true_path_carries_places_as_the_camera_views_them():
    scene = _scene("combined", "dotted")
    world_P2, middle = np.array([[0.1, -0.2], [0.3, 0.25], [-0.4, 0.0]]), scene.num_frames // 2
    seen_PT2 = np.array([[scene.camera.view(t, p) for t in range(scene.num_frames)] for p in world_P2.tolist()])
    true_T4 = true_camera_path(scene)
    assert carried(true_T4, seen_PT2[:, middle]) == pytest.approx(seen_PT2, abs=1e-5)
    assert steadied(true_T4, seen_PT2) == pytest.approx(np.repeat(seen_PT2[:, middle : middle + 1], 49, 1), abs=1e-5)


def test_depth_scales_the_shift():
    scene = _scene("parallax", "dotted")
    near_T4 = true_camera_path(replace(scene, camera=replace(scene.camera, depth=1.0)))
    assert true_camera_path(scene)[:, :2] == pytest.approx(scene.camera.depth * near_T4[:, :2])


def test_a_shift_by_some_percent_is_an_error_of_as_many():
    path_T4 = true_camera_path(_scene("roll", "dotted"))
    assert camera_error(path_T4, path_T4 + np.array([0.03, 0.04, 0, 0])) == pytest.approx(5)


def test_a_plain_background_has_no_camera():
    clip = as_clip(frames_of(_scene("pan", "plain")))
    assert camera_path(clip) is None and object_residual_flow(clip) is None


def test_only_objects_leave_a_residual_flow():
    scene = _scene("pan", "dotted")
    assert object_residual_flow(as_clip(empty_frames_of(scene))) == 0
    moving = next(s for s in (scene_of(f"test-flow:{i}") for i in range(99)) if s.motion == "circle")
    moving = replace(moving, background=replace(moving.background, pattern="dotted"))
    speed = np.linalg.norm(np.diff(np.array(moving.things[0].path), axis=0), axis=1).mean() * 12
    assert object_residual_flow(as_clip(frames_of(moving))) == pytest.approx(speed, rel=0.35)
