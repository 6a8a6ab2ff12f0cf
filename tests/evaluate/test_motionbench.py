"""The bench's cases: distinct, fixed, known in truth, and asking for other content than they show."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from motion_transfer.errors import BadClip, BadSpec
from motion_transfer.evaluate.checker import check_clip, read_background
from motion_transfer.evaluate.clip_folder import folder_cases
from motion_transfer.evaluate.motionbench import (
    KIND_COUNTS,
    BenchCase,
    Target,
    bench_cases,
    development_cases,
    quick_cases,
    search_cases,
)
from motion_transfer.evaluate.retarget import seen_colors
from motion_transfer.types import Clip
from motion_transfer.video.io import write_clip
from motion_transfer.video.synth.palette import FIGURES, MIN_CONTRAST, contrast, held_out, vocabulary
from motion_transfer.video.synth.scene import FPS, KINDS, sample_scene
from tests.evaluate.worlds import frames_of

CASES = bench_cases()
PAIRS = [(case, target) for case in CASES for target in case.targets]


def _of_kind(kind: str) -> list[BenchCase]:
    return [case for case in CASES if case.kind == kind]


def test_there_are_53_distinct_cases_in_four_kinds() -> None:
    assert Counter(case.kind for case in CASES) == KIND_COUNTS and tuple(KIND_COUNTS) == KINDS
    assert len({case.name for case in CASES}) == 53
    assert len({repr((case.scene.camera, case.scene.things)) for case in CASES}) == 53
    assert all(case.name.startswith(f"bench/{case.kind}/") for case in CASES)
    assert len({case.prompts for case in CASES}) == 53 and all(len(set(case.prompts)) == 4 for case in CASES)


def test_cases_are_the_same_each_time() -> None:
    bench_cases.cache_clear()
    assert bench_cases() == CASES
    case = CASES[0]
    assert case.scene == sample_scene(case.name, kind=case.kind, effects=0.0)
    assert case.prompts[0] == "a black flower on a green wavy background"


def test_every_case_moves_as_its_kind_says() -> None:
    for case in CASES:
        moves = case.scene.camera.kind != "static"
        assert moves == (case.kind == "camera") and case.scene.motion not in ("rest", "static", "orbit")
        assert max(abs(v) for i in range(len(case.scene.things)) for p in case.scene.track(i) for v in p) <= 0.5
        spans = [np.ptp(np.array(case.scene.track(i)), axis=0).max() for i in range(len(case.scene.things))]
        assert case.kind in ("camera", "articulated") or min(spans) > 0.1
    assert all(case.scene.background.pattern not in ("plain", "striped") for case in _of_kind("camera"))
    assert {case.scene.motion for case in _of_kind("articulated")} == {"walk", "run", "jump", "wave", "turn"}
    assert len({case.scene.motion for case in _of_kind("camera")}) == 7
    assert len({case.scene.motion for case in _of_kind("single")}) == 8


def test_several_things_can_be_told_apart() -> None:
    for case in _of_kind("multiple"):
        tracks = np.array([case.scene.track(i) for i in range(len(case.scene.things))])
        gaps = np.hypot(*np.moveaxis(tracks[:, None] - tracks[None], -1, 0)) + 9 * np.eye(len(tracks))[..., None]
        assert np.quantile(gaps.min((0, 1)), 0.25) > 0.15
    assert {case.scene.motion for case in _of_kind("multiple")} == {"independent", "chase", "cross", "collide"}


@pytest.mark.parametrize("kind", KINDS)
def test_targets_name_other_content(kind: str) -> None:
    for case in _of_kind(kind):
        for target in case.targets:
            colors = [color for _, color in target.looks]
            assert len(target.looks) == len(case.scene.things) and len(set(colors)) == len(colors)
            assert not seen_colors(case.scene) & {*colors, target.background.color}
            assert all(contrast(color, target.background.color) >= MIN_CONTRAST for color in colors)
            assert not any(held_out(*look) for look in target.looks)
            if kind != "articulated":
                assert not {thing.kind for thing in case.scene.things} & {shape for shape, _ in target.looks}


def test_prompts_say_all_of_the_content_in_known_words() -> None:
    words = set(vocabulary())
    for _, target in PAIRS:
        said = re.findall(r"[a-z]+|,", target.prompt)
        assert set(said) <= words
        named = [word for look in target.looks for word in look] + [target.background.color]
        pattern = target.background.pattern
        assert not Counter(named + [pattern] * (pattern != "plain")) - Counter(said)


def test_figures_and_patterns_are_shared_out() -> None:
    for case in CASES:
        patterns = [target.background.pattern for target in case.targets]
        assert patterns.count("plain") == (0 if case.kind == "camera" else 3)
        assert case.kind != "camera" or "striped" not in patterns
        assert case.scene.background.pattern == "plain" or case.scene.background.pattern not in patterns
    for case in _of_kind("articulated"):
        figures = [target.looks[0][0] for target in case.targets]
        assert Counter(figures) == dict.fromkeys(FIGURES, 2) and figures[0] == case.scene.things[0].kind


def test_a_true_render_moves_as_the_case_and_shows_the_target() -> None:
    for case, target in PAIRS:
        scene = target.scene(case)
        assert scene.camera == case.scene.camera
        for shown, thing, (kind, color) in zip(scene.things, case.scene.things, target.looks, strict=True):
            assert (shown.path, shown.angles, shown.scales) == (thing.path, thing.angles, thing.scales)
            assert shown.color == color and shown.kind == (thing.kind if thing.gait else kind)
            assert shown.color in scene.caption and shown.kind in scene.caption
        assert scene.background == target.background


def test_the_checker_finds_the_target_in_a_true_render() -> None:
    for case in (_of_kind("single")[3], _of_kind("articulated")[5]):
        target = case.targets[0]
        frames, (kind, color) = frames_of(target.scene(case)), target.looks[0]
        verdict = check_clip(frames, color=color, shape=kind)
        assert verdict.color_right and verdict.shape_right
        assert read_background(frames)[0] == target.background.color


def test_a_true_render_is_what_the_world_itself_draws() -> None:
    for case in (*_of_kind("single")[:6], *_of_kind("multiple")[:6]):
        other = sample_scene(case.name, content=f"{case.name}/other", kind=case.kind, effects=0.0)
        looks = tuple((thing.kind, thing.color) for thing in other.things)
        render = Target(prompt=other.caption, looks=looks, background=other.background).scene(case)
        shading = case.scene.things[0].shading
        assert render == replace(other, things=tuple(replace(thing, shading=shading) for thing in other.things))


def test_the_reference_is_a_captioned_clip() -> None:
    clip = CASES[20].reference()
    assert clip.frames_THWC.shape == (49, 64, 64, 3) and clip.fps == FPS
    assert clip.caption == CASES[20].scene.caption and clip.source == CASES[20].name


def test_quick_cases_are_three_of_each_kind_that_differ() -> None:
    quick = quick_cases()
    assert Counter(case.kind for case in quick) == dict.fromkeys(KINDS, 3)
    assert all(case in CASES for case in quick)
    assert len({(case.kind, case.scene.motion) for case in quick}) == 12
    assert {case.scene.things[0].kind for case in quick if case.kind == "articulated"} == set(FIGURES)


def _folder(tmp_path: Path, table: str) -> Path:
    frames_THWC = np.zeros((4, 32, 32, 3), dtype=np.uint8)
    for name in ("a.mp4", "b.mp4"):
        write_clip(Clip(frames_THWC=frames_THWC, fps=8.0), tmp_path / name)
    (tmp_path / "captions.csv").write_text(table, encoding="utf-8-sig")
    return tmp_path


def test_a_folder_of_clips_is_a_bench(tmp_path: Path) -> None:
    table = 'file,caption,prompt,prompt2\na.mp4,"a man, running",a dog,a cat\n\nb.mp4,,a car\n'
    first, second = folder_cases(_folder(tmp_path, table))
    assert (first.name, first.kind, first.scene, first.prompts) == ("a.mp4", "real", None, ("a dog", "a cat"))
    assert first.reference().caption == "a man, running" and first.reference().num_frames == 4
    assert second.caption == "" and second.prompts == ("a car",)


@pytest.mark.parametrize(
    ("table", "kind", "says"),
    [
        ("", BadSpec, "file, caption, prompt is not in its first line"),
        ("file;caption;prompt\na.mp4;;a dog\n", BadSpec, "is not in its first line"),
        ("file,prompt\na.mp4,a dog\n", BadSpec, "caption is not in its first line"),
        ("file,caption,prompt\n\n", BadSpec, "has none below"),
        ("file,caption,prompt\na.mp4,x,\n", BadSpec, "the prompt of a.mp4 is empty"),
        ("file,caption,prompt\na.mp4,x,a dog, running\n", BadSpec, "double quotes"),
        ("file,caption,prompt\na.mp4,x,y\na.mp4,x,z\n", BadSpec, "a.mp4 has more"),
        ("file,caption,prompt\nc.mp4,x,y\n", BadClip, "'c.mp4', but there is no such file"),
        ("file,caption,prompt\n,x,y\n", BadClip, "no such file"),
    ],
)
def test_a_faulty_folder_says_what_to_mend(tmp_path: Path, table: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=re.escape(says)) as caught:
        folder_cases(_folder(tmp_path, table))
    assert "\n" not in str(caught.value) and ". " not in str(caught.value)


def test_a_folder_without_a_readable_table_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match=r"needs a captions\.csv"):
        folder_cases(tmp_path)
    (tmp_path / "captions.csv").write_bytes(b"file,caption,prompt\n\xff\xfe,x,y\n")
    with pytest.raises(BadSpec, match="UTF-8"):
        folder_cases(tmp_path)


def test_development_cases_are_others_and_take_turns() -> None:
    cases = development_cases()
    assert [case.kind for case in cases] == list(KIND_COUNTS) * 4
    assert not {case.name for case in cases} & {case.name for case in (*bench_cases(), *search_cases())}


def test_search_cases_are_others() -> None:
    names = {case.name for case in search_cases()}
    assert len(names) == 6 and not names & {case.name for case in bench_cases()}
    assert {case.kind for case in search_cases()} == set(KIND_COUNTS)
