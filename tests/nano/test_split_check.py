"""The check of split clips: cases in which both move, errors on true clips, and the whole on a toy base."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from motion_transfer.evaluate.camera_motion import true_camera_path
from motion_transfer.methods.split_clip import movement_of
from motion_transfer.nano import split_check
from motion_transfer.nano.split_check import (
    CAMERAS,
    MIN_RANGE,
    PARTS,
    _diagonal,
    _look,
    _own_path,
    camera_range,
    check_split,
    errors,
    split_cases,
)
from motion_transfer.types import Clip, TuneSpec
from motion_transfer.video.strip import CAMERA, THINGS
from motion_transfer.video.synth.camera import Camera
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, Scene


def _drawn(scene: Scene) -> Clip:
    return Clip(frames_THWC=draw([scene], 64)[0].numpy(), fps=FPS)


def _at_rest(scene: Scene) -> Scene:
    """The same thing on its own path, seen by the middle frame's camera."""
    middle, seen = scene.num_frames // 2, scene.camera
    held = {name: (getattr(seen, name)[middle],) * scene.num_frames for name in ("x", "y", "zoom", "roll")}
    return replace(scene, camera=Camera(kind="static", **held))


def test_in_every_case_both_move_and_the_prompt_names_other_content() -> None:
    cases = split_cases(4)
    assert [case.kind for case in cases] == list(CAMERAS)
    for case in cases:
        assert camera_range(true_camera_path(case.scene)) >= MIN_RANGE
        assert _diagonal(_own_path(case.scene)) >= MIN_RANGE
        color, other = _look(case.scene)[1], case.targets[0].looks[0][1]
        assert color in case.scene.caption and other in case.targets[0].prompt and color not in case.targets[0].prompt


def test_true_clips_of_one_part_are_right_and_the_whole_is_wrong() -> None:
    scene = split_cases(1)[0].scene
    whole, thing = _drawn(scene), _drawn(_at_rest(scene))
    right, wrong = (errors(clip, scene, _look(scene), THINGS) for clip in (thing, whole))
    assert right["camera"] < 1.0 and right["thing"] < 5.0  # type: ignore[operator]
    assert wrong["camera"] > 20.0 and wrong["thing"] < 6.0  # type: ignore[operator]
    held = errors(whole, scene, _look(scene), CAMERA)
    assert held["camera"] < 1.0 and held["thing"] > 20.0  # type: ignore[operator]


@pytest.mark.parametrize("part", PARTS)
def test_split_clips_are_right(part: str) -> None:
    case = split_cases(1)[0]
    found = errors(movement_of(case.reference(), part), case.scene, _look(case.scene), part)
    assert found["camera"] < 2.0 and found["thing"] < 6.0  # type: ignore[operator]


def test_what_cant_be_read_is_none() -> None:
    scene = split_cases(1)[0].scene
    plain = Clip(frames_THWC=np.full((scene.num_frames, 64, 64, 3), 90, np.uint8), fps=FPS)
    assert errors(plain, scene, _look(scene), CAMERA) == {"camera": None, "thing": None}


def test_the_whole_check_goes_on_from_its_renders(
    tiny_base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = TuneSpec(spatial_steps=1, temporal_steps=1, rank=2)
    monkeypatch.setattr(split_check, "TuneSpec", lambda caption: replace(short, caption=caption))
    found = check_split(tiny_base_folder, 1, tmp_path, 1, tmp_path / "renders")
    written = json.loads((tmp_path / "split.json").read_text())
    assert written["means"] == found and len(written["clips"]) == 2 and (tmp_path / "split.png").is_file()
    assert {f"{part}, split: {name}" for part in PARTS for name in ("camera", "thing")} <= set(found)
    monkeypatch.setattr(split_check, "tune_work", None)
    assert check_split(tiny_base_folder, 1, tmp_path, 1, tmp_path / "renders") == found
