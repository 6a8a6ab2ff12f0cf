"""The following benchmark, on renders whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from motion_transfer.evaluate.benchmark import Case, follow, following_cases
from motion_transfer.types import Clip
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.palette import held_out
from motion_transfer.video.synth.scene import FPS, Scene


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return following_cases(4)


def _shown(scene: Scene, case: Case, *, color: str, shape: str) -> Clip:
    """The case's motion with other content, as a perfect render would show it."""
    background = replace(scene.background, color=case.prompt.split()[-2], pattern="plain")
    things = (replace(scene.things[0], color=color, kind=shape, shading="flat"),)
    return Clip(frames_THWC=draw([replace(scene, things=things, background=background)], 64)[0].numpy(), fps=FPS)


def test_cases_ask_for_something_else(cases: list[Case]) -> None:
    for case in cases:
        thing = case.scene.things[0]
        assert case.scene.camera.kind == "static" and not held_out(case.shape, case.color)
        assert case.color != thing.color and case.shape != thing.kind
        assert case.color in case.prompt and case.shape in case.prompt
        assert case.reference().num_frames == 49
    assert [c.prompt for c in following_cases(4)] == [c.prompt for c in cases]


def test_a_perfect_render_follows(cases: list[Case]) -> None:
    for case in cases:
        render = _shown(case.scene, case, color=case.color, shape=case.shape)
        found = follow(case, render)
        assert found.cosine == found.strict > 0.9 and found.shape_right


def test_the_reference_in_another_color_follows_but_not_strictly(cases: list[Case]) -> None:
    for case in cases:
        found = follow(case, _shown(case.scene, case, color=case.color, shape=case.scene.things[0].kind))
        assert found.cosine > 0.9 and found.strict == 0.0


def test_a_frozen_or_backward_render_does_not(cases: list[Case]) -> None:
    for case in cases:
        frames = _shown(case.scene, case, color=case.color, shape=case.shape).frames_THWC
        frozen = Clip(frames_THWC=np.repeat(frames[:1], 49, 0), fps=FPS)
        assert abs(follow(case, frozen).cosine) < 0.05
        assert follow(case, Clip(frames_THWC=frames[::-1].copy(), fps=FPS)).cosine < 0.5


def test_the_reference_itself_is_not_the_asked_object(cases: list[Case]) -> None:
    for case in cases:
        assert follow(case, case.reference()).cosine < 0.3
