"""A clip as two: the camera's motion alone, and that of things alone, against the procedural world's truth."""

from __future__ import annotations

import numpy as np
import pytest

from motion_transfer.errors import BadClip, BadSpec
from motion_transfer.evaluate.camera_motion import camera_error, camera_path, object_residual_flow, true_camera_path
from motion_transfer.evaluate.checker import find_object
from motion_transfer.methods.split_clip import camera_clip, movement_of, things_clip
from motion_transfer.types import Clip
from motion_transfer.video.strip import ALL, CAMERA, THINGS
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene

# a pan, a tilt, a zoom and two-depth parallax before patterns, a thing moving in each
MIXED = ("split/30", "split/36", "split/40", "split/46")


def _drawn(scene: Scene) -> Clip:
    return Clip(frames_THWC=draw([scene], 128)[0].numpy(), fps=FPS)


@pytest.fixture(scope="module", params=MIXED)
def mixed(request: pytest.FixtureRequest) -> tuple[Scene, Clip]:
    scene = sample_scene(request.param, kind="single", effects=0.0)
    assert scene.camera.kind != "static"
    return scene, _drawn(scene)


def test_the_camera_alone(mixed: tuple[Scene, Clip]) -> None:
    scene, clip = mixed
    alone = camera_clip(clip)
    found, own = camera_path(alone), object_residual_flow(alone)
    assert alone.frames_THWC.shape == clip.frames_THWC.shape
    assert found is not None and camera_error(true_camera_path(scene), found) < 0.5
    assert own is not None and own < 0.02 < (object_residual_flow(clip) or 0.0)
    middle = clip.num_frames // 2
    assert np.abs(alone.frames_THWC[middle].astype(int) - clip.frames_THWC[middle]).max() <= 1


def test_things_alone(mixed: tuple[Scene, Clip]) -> None:
    scene, clip = mixed
    alone = things_clip(clip)
    found, own, asked = camera_path(alone), object_residual_flow(alone), object_residual_flow(clip)
    assert found is not None and camera_error(np.zeros((clip.num_frames, 4)), found) < 0.5
    assert own is not None and asked is not None and abs(own - asked) < 0.15 * asked + 0.01
    if scene.camera.depth == 1.0:  # else things slide before the background as the camera travels
        thing = scene.things[0]
        seen = find_object(alone.frames_THWC, thing.color)
        true_T2 = np.array([scene.camera.view(24, place) for place in thing.path])
        inside_T = np.abs(true_T2).max(1) < 0.4
        off_T2 = (seen.path_T2 - true_T2)[inside_T & seen.present_T]
        away_T = np.linalg.norm(off_T2 - np.median(off_T2, axis=0), axis=1)  # a heart's centroid is not its anchor
        assert seen.present_T[inside_T].mean() > 0.9 and away_T.max() < 0.03


def test_a_still_camera_changes_little() -> None:
    scene = next(s for i in range(200) for s in [sample_scene(f"still/{i}", kind="single", effects=0.0)]
                 if s.camera.kind == "static" and s.background.pattern == "checkered")  # fmt: skip
    clip = _drawn(scene)
    assert np.abs(things_clip(clip).frames_THWC.astype(int) - clip.frames_THWC).mean() < 2
    still = camera_clip(clip).frames_THWC.astype(int)
    assert np.abs(still - still[0]).mean() < 2


def test_what_can_t_be_told_apart_is_said() -> None:
    plain = Clip(frames_THWC=np.full((9, 64, 64, 3), 120, np.uint8), fps=FPS)
    for movement in (CAMERA, THINGS):
        with pytest.raises(BadClip, match="learn the clip as a whole"):
            movement_of(plain, movement)
    assert movement_of(plain, ALL) is plain
    with pytest.raises(BadSpec, match="movement"):
        movement_of(plain, "wind")
