from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from motion_transfer.evaluate.appearance import Unwanted, leakage, reference_similarity, unwanted
from motion_transfer.evaluate.motionbench import quick_cases
from motion_transfer.evaluate.prompt import PromptContent, read_prompt
from motion_transfer.evaluate.report import judge
from motion_transfer.evaluate.retarget import retargeted
from motion_transfer.evaluate.truth import NAMES, truth_measures
from tests.evaluate.worlds import as_clip, frames_of, scene_of

REFERENCE = scene_of("test-report:1")
RENDERED = scene_of("test-report:1", content="test-report:other")
REFERENCE_CLIP = as_clip(frames_of(REFERENCE))
RENDERED_CLIP = as_clip(frames_of(RENDERED))


def _prompt_of(scene) -> str:
    return f"a {scene.things[0].color} {scene.things[0].kind} on a {scene.background.color} background"


def test_prompts_are_read():
    content = read_prompt("A video of a red car, over a white dotted backdrop.")
    assert content == PromptContent(
        color="red", shape="car", background_color="white", pattern="dotted", unknown_words=()
    )
    assert read_prompt("two navy people") == PromptContent(color="navy", shape="person")
    assert read_prompt("a green scene with a pink dog") == PromptContent(
        color="pink", shape="dog", background_color="green"
    )
    assert read_prompt("a red and blue star").color == "red"
    assert read_prompt("a circle and a blue square") == PromptContent(shape="circle")
    assert read_prompt("an orange robot dancing") == PromptContent(unknown_words=("robot", "dancing"))
    assert read_prompt("") == PromptContent()


@pytest.mark.parametrize("number", range(30))
def test_captions_of_scenes_are_read(number):
    scene = scene_of(f"test-caption:{number}")
    content = read_prompt(scene.caption)
    assert (content.color, content.shape) == (scene.things[0].color, scene.things[0].kind)
    assert content.background_color in (None, scene.background.color)
    assert not content.unknown_words


def test_a_true_render_is_judged_well():
    report = judge(REFERENCE_CLIP, RENDERED_CLIP, prompt=_prompt_of(RENDERED), scene=REFERENCE)
    assert report.value("trajectory_agreement") > 0.9
    assert report.value("motion_fidelity") > 0.85
    assert (report.value("color_right"), report.value("shape_right"), report.value("object_present")) == (1, 1, 1)
    assert report.value("leakage") == 0
    assert report.value("reference_similarity") < 0.6


def test_a_copy_of_the_reference_is_judged_a_leak():
    report = judge(REFERENCE_CLIP, REFERENCE_CLIP, prompt=_prompt_of(RENDERED), scene=REFERENCE)
    assert report.value("motion_fidelity") > 0.99
    assert (report.value("color_right"), report.value("shape_right")) == (0, 0)
    assert report.value("leakage") == 1
    assert report.value("reference_similarity") == pytest.approx(1)


def test_missing_measures_say_why():
    report = judge(REFERENCE_CLIP, RENDERED_CLIP, prompt="a robot dancing in the rain")
    why = {measure.name: measure.why_missing for measure in report.measures if measure.value is None}
    unread = {"color_right", "shape_right", "object_present", "leakage"}
    assert set(why) == {*NAMES, *unread, "residual_flow_error", "text_match", "frame_consistency"}
    assert "hf download" in why["text_match"]  # words that nano-clip doesn't know ask for CLIP
    assert "true path" in why["trajectory_agreement"]
    assert "'robot'" in why["color_right"] and "caption" in why["leakage"]


def test_a_group_and_a_resting_object_have_no_agreement():
    group = scene_of("test-report:group", kind="multiple")
    still = next(s for s in map(scene_of, (f"test-still:{i}" for i in range(99)))
                 if s.motion == "rest" and s.camera.kind == "static")  # fmt: skip
    for scene, reason in ((group, "objects"), (still, "stay")):
        report = judge(as_clip(frames_of(scene)[:8]), RENDERED_CLIP, prompt=_prompt_of(RENDERED), scene=scene)
        measure = next(m for m in report.measures if m.name == "trajectory_agreement")
        assert measure.value is None and reason in measure.why_missing


def test_the_reference_can_be_known_from_its_caption():
    captioned = as_clip(REFERENCE_CLIP.frames_THWC, caption=_prompt_of(REFERENCE))
    assert judge(captioned, captioned, prompt=_prompt_of(RENDERED)).value("leakage") == 1


def test_leakage_counts_frames_of_what_is_not_asked_for():
    thing, background = REFERENCE.things[0], REFERENCE.background.color
    look, asked = [(thing.kind, thing.color)], _prompt_of(RENDERED)
    mixed_THWC = np.concatenate([frames_of(REFERENCE)[:10], frames_of(RENDERED)[:30]])
    every, content = unwanted(look, background, asked), read_prompt(asked)
    assert every == Unwanted(colors={thing.color}, shapes={thing.kind}, background=background)
    for one in (replace(every, colors=frozenset()), replace(every, shapes=frozenset()), replace(every, background="")):
        assert leakage(mixed_THWC, one, content) == pytest.approx(10 / 40, abs=0.03)
    assert leakage(frames_of(RENDERED), every, content) == 0
    assert not unwanted(look, background, _prompt_of(REFERENCE)) and not unwanted(look, background, "")
    assert leakage(mixed_THWC, Unwanted(), content) is None


def test_the_reference_s_shape_in_the_asked_color_is_a_leak():
    copy = retargeted(REFERENCE, ((REFERENCE.things[0].kind, RENDERED.things[0].color),), RENDERED.background)
    report = judge(REFERENCE_CLIP, as_clip(frames_of(copy)), prompt=_prompt_of(RENDERED), scene=REFERENCE)
    assert (report.value("color_right"), report.value("shape_right")) == (1, 0) and report.value("leakage") == 1


def test_what_another_object_of_the_prompt_is_asked_to_be_is_no_leak():
    kinds = unwanted([("star", "red"), ("car", "blue")], "white", "two green cars and a red heart on a white scene")
    assert kinds == Unwanted(colors={"blue"}, shapes={"star"})


def test_similarity_of_opposites_is_low():
    black, white = (np.full((3, 64, 64, 3), level, dtype=np.uint8) for level in (0, 255))
    assert reference_similarity(black, black) == 1
    halves = black.copy()
    halves[:, :, :32] = 255
    assert reference_similarity(halves, 255 - halves) == pytest.approx(0.5, abs=0.02)  # same colors, other places
    assert reference_similarity(black, white) == 0.5  # both of one color, so alike in structure alone


@pytest.mark.parametrize("kind", ["multiple", "articulated", "camera"])
def test_true_renders_agree_with_the_truth(kind):
    """Each object is found by its look, joints and camera are read back."""
    case = next(case for case in quick_cases() if case.kind == kind)
    target = next(t for t in case.targets if kind != "articulated" or t.looks[0][0] == case.scene.things[0].kind)
    found = {m.name: m for m in truth_measures(case.scene, target.looks, as_clip(frames_of(target.scene(case))))}
    if kind == "multiple":
        assert found["trajectory_agreement"].value > 0.85 and found["trajectory_error"].value < 3
    if kind == "articulated":
        assert found["joint_error"].value < 10
    if kind == "camera":
        assert found["camera_error"].value < 3
        assert "figure" in found["joint_error"].why_missing
