"""The check of prompts, on the world's own renders, which are right."""

from motion_transfer.nano.prompts import GROUPS, check_render, prompt_scenes, summary
from motion_transfer.types import Clip
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.palette import held_out
from motion_transfer.video.synth.scene import FPS


def test_groups_are_what_they_say() -> None:
    scenes = prompt_scenes(8)
    assert [sum(group == name for group, _ in scenes) for name in GROUPS] == [8, 4, 4]
    for group, scene in scenes:
        seen = [held_out(thing.kind, thing.color) for thing in scene.things]
        assert seen == [True] if group == "unseen pairs" else not any(seen)
        assert (len(scene.things) > 1) == (group == "several")
    assert len({scene.caption for _, scene in scenes}) == 16


def test_true_renders_pass() -> None:
    """Even counts: objects that hide or touch each other for a moment are outvoted."""
    checked = []
    for group, scene in prompt_scenes(12):
        frames = draw([scene], 64)[0].numpy()
        checked.append(check_render(scene, group, Clip(frames_THWC=frames, fps=FPS)))
    shares = summary(checked)
    assert shares["single"] == shares["unseen pairs"] == {"color": 1.0, "shape": 1.0, "count": 1.0, "present": 1.0}
    assert min(shares["several"].values()) >= 0.8


def test_a_wrong_render_fails() -> None:
    (group, scene), (_, other) = prompt_scenes(2)[:2]
    frames = draw([other], 64)[0].numpy()
    result = check_render(scene, group, Clip(frames_THWC=frames, fps=FPS))
    assert not result.color_right and not result.shape_right and result.count_right
