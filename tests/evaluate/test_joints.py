from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from motion_transfer.errors import BadSpec
from motion_transfer.evaluate.joints import joint_angles, joint_error, true_joint_angles
from motion_transfer.video.synth.palette import FIGURES
from motion_transfer.video.synth.scene import Scene
from tests.evaluate.worlds import empty_frames_of, frames_of, scene_of

MOTIONS = ("walk", "run", "jump", "wave", "turn")


@cache
def _scene(figure: str, motion: str) -> Scene:
    scenes = (scene_of(f"test-joints:{i}", kind="articulated") for i in range(999))
    return next(s for s in scenes if (s.things[0].kind, s.motion) == (figure, motion))


@cache
def _found(figure: str, motion: str) -> dict[str, np.ndarray]:
    scene = _scene(figure, motion)
    return joint_angles(frames_of(scene), scene.things[0].color, figure)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("motion", MOTIONS)
def test_the_joints_of_true_renders_are_read(figure, motion):
    assert joint_error(_scene(figure, motion), _found(figure, motion)) < (
        12 if (figure, motion) == ("dog", "wave") else 5
    )


@pytest.mark.parametrize("figure", FIGURES)
def test_another_gait_has_other_joints(figure):
    right = [joint_error(_scene(figure, motion), _found(figure, motion)) for motion in MOTIONS]
    wrong = [joint_error(_scene(figure, MOTIONS[n - 1]), _found(figure, motion)) for n, motion in enumerate(MOTIONS)]
    assert np.mean(right) < 4 and np.mean(wrong) > 20


def test_a_reversed_and_a_frozen_walk_are_other_movements():
    scene, found = _scene("person", "walk"), _found("person", "walk")
    assert joint_error(scene, {name: angles[::-1] for name, angles in found.items()}) > 8
    assert joint_error(scene, {name: np.repeat(angles[:1], 49) for name, angles in found.items()}) > 8


def test_sides_may_be_named_the_other_way_round():
    scene = _scene("dog", "run")
    true = true_joint_angles(scene)
    swapped = {name: true[name.replace("_l", "_?").replace("_r", "_l").replace("_?", "_r")] for name in true}
    assert joint_error(scene, true) == joint_error(scene, swapped) == 0


def test_a_figure_that_faces_the_other_way_has_other_angles():
    scene = _scene("person", "wave")
    thing = scene.things[0]
    mirrored = replace(scene, things=(replace(thing, facing=tuple(-f for f in thing.facing)),))
    found = joint_angles(frames_of(mirrored), thing.color, "person")
    assert joint_error(mirrored, found) < 5 and joint_error(scene, found) > 50


def test_no_figure_has_no_joints():
    scene = _scene("person", "walk")
    assert joint_angles(empty_frames_of(scene), scene.things[0].color, "person") is None
    with pytest.raises(BadSpec, match="table"):
        joint_angles(frames_of(scene), scene.things[0].color, "table")
