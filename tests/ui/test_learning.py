"""Choosing a clip, ordering its learning and looking at it, and every way to go wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from motion_transfer.errors import BadClip, BadSpec, StorageFailed
from motion_transfer.evaluate.camera_motion import object_residual_flow
from motion_transfer.jobs import worker as worker_module
from motion_transfer.jobs.orders import TuneOrder, from_json
from motion_transfer.jobs.store import DONE, FAILED
from motion_transfer.jobs.worker import PREVIEW, Worker
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio, scene_of
from motion_transfer.types import Clip
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place, told
from motion_transfer.ui.forecast import estimate_line
from motion_transfer.ui.learn import (
    choose_clip,
    example_clips,
    expect_learning,
    look_at_learning,
    order_learning,
    ordered_learning,
    saved_line,
    show_part,
    span_from_click,
    unknown_note,
)
from motion_transfer.ui.render import look_at_rendering
from motion_transfer.ui.tab_learn import _LearnPage
from motion_transfer.video.io import clip_comment, probe, read_clip, write_clip
from motion_transfer.video.strip import ALL, CAMERA, THINGS, Crop
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene
from tests.ui.orders import SHORT, learn, learn_order


def test_an_example_fills_in_caption_and_span(studio: Studio, library: Library, clip_path: Path, scene: Scene) -> None:
    chosen = choose_clip(studio, library, clip_path)
    assert chosen.caption == scene.caption
    assert chosen.end_s == pytest.approx(probe(clip_path).seconds, abs=0.01)
    assert "4.08 s" in chosen.facts and "64 x 64" in chosen.facts
    assert probe(chosen.part.span).height == 384 and chosen.part.cuts == ""


def test_a_clip_without_caption_and_a_cut_span(studio: Studio, library: Library, clip_path: Path) -> None:
    part = show_part(studio, library, clip_path, start_s=1.0, end_s=2.0)
    assert probe(part.span).seconds == pytest.approx(1.0, abs=0.1)
    assert choose_clip(studio, library, part.span).caption == ""


def test_a_crop_is_shown_and_reaches_the_order(place: Place, studio: Studio, library: Library, clip_path: Path) -> None:
    crop = Crop(zoom=2.0, x=0.0, y=1.0)
    part = show_part(studio, library, clip_path, start_s=0.0, end_s=1.0, crop=crop)
    shown, whole = read_clip(part.span), read_clip(clip_path, end_s=1.0)
    corner = whole.frames_THWC[:, 32:, :32].repeat(shown.frames_THWC.shape[1] // 32, 1)
    corner = corner.repeat(shown.frames_THWC.shape[2] // 32, 2)
    assert np.abs(shown.frames_THWC.astype(int) - corner).mean() < 6
    job = order_learning(place, learn_order(clip_path, zoom=2.0, crop_x=0.0, crop_y=1.0))
    assert from_json(TuneOrder, job.orders).crop == crop
    again = ordered_learning(place, job.key)
    assert again is not None and again.crop == crop
    with pytest.raises(BadSpec, match="zoom"):
        order_learning(place, learn_order(clip_path, zoom=0.5))


def test_the_second_job_is_expected_to_take_as_long_as_the_first(
    place: Place, worker: Worker, studio: Studio, clip_path: Path
) -> None:
    expected = expect_learning(place, studio, SHORT)
    assert expected is not None and expected.seconds is None and "first job" in estimate_line(expected)
    assert "by the shapes" in estimate_line(expected) and "more memory than" not in estimate_line(expected)
    assert "more memory than" in estimate_line(replace(expected, tight=True))
    took = sum(learn(place, worker, learn_order(clip_path)).job.results["seconds"].values())
    expected = expect_learning(place, studio, SHORT)
    assert expected is not None and expected.seconds == pytest.approx(took, rel=0.01)
    assert "by 1 of the jobs before" in estimate_line(expected)
    job = order_learning(place, learn_order(clip_path), expected)
    worker.work()
    line = saved_line(place.workspace.jobs.job(job.key))
    assert line.count(" s,") == 2 and line.count("MB kept") == 2 and "Expected" in line
    assert expect_learning(place, studio, SHORT | {"rank": -1}) is None and estimate_line(None) == ""


def test_a_cut_is_told(studio: Studio, library: Library, tmp_path: Path) -> None:
    shots = [np.full((12, 64, 64, 3), level, np.uint8) for level in (30, 220)]
    write_clip(Clip(frames_THWC=np.concatenate(shots), fps=12), tmp_path / "two.mp4")
    part = show_part(studio, library, tmp_path / "two.mp4", start_s=0.0, end_s=None)
    assert "1.00 s" in part.cuts
    assert show_part(studio, library, tmp_path / "two.mp4", start_s=0.0, end_s=0.9).cuts == ""


def test_a_click_on_the_strip_moves_the_nearer_end(clip_path: Path, tmp_path: Path) -> None:
    """The other end follows where the span would be empty or too long."""
    width = 8 * 72
    seconds = probe(clip_path).seconds
    assert span_from_click(clip_path, 0.25 * width, 0.0, 4.0) == pytest.approx((seconds / 4, 4.0), abs=0.02)
    assert span_from_click(clip_path, 0.75 * width, 0.0, None) == pytest.approx((0.0, 0.75 * seconds), abs=0.02)
    assert span_from_click(clip_path, width, 1.0, 2.0) == pytest.approx((1.0, seconds), abs=0.02)
    assert span_from_click(clip_path, 0, 1.0, 1.2) == pytest.approx((0.0, 1.2), abs=0.02)
    long = tmp_path / "long.mp4"
    write_clip(Clip(frames_THWC=np.zeros((120, 32, 32, 3), np.uint8), fps=6), long)
    assert span_from_click(long, 0.1 * width, 10.0, 18.0) == pytest.approx((2.0, 10.0), abs=0.05)
    assert span_from_click(long, 0.9 * width, 0.0, 8.0) == pytest.approx((10.0, 18.0), abs=0.05)


def test_a_file_that_is_no_clip_is_refused(studio: Studio, library: Library, tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(BadClip):
        choose_clip(studio, library, path)
    assert example_clips(tmp_path / "missing") == []


def test_unknown_words_are_marked_once(studio: Studio) -> None:
    assert unknown_note(studio, "a red circle") == ""
    note = unknown_note(studio, "a <b>skateboard skateboard")
    assert note == words.UNKNOWN_WORDS.format(words="**b**, **skateboard**") and "**b**, **skateboard**" in note


def test_learning_shows_its_course_and_saves_the_motion(
    place: Place, library: Library, worker: Worker, clip_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PREVIEW_STEPS", 1)
    view = learn(place, worker, learn_order(clip_path, preview_prompt="a red star"))
    assert view.job.state == DONE and "Wave" in view.status
    assert view.preview is not None and probe(view.preview).height >= 384 and view.heads is not None
    assert view.losses is not None and len(view.losses.dropna()) == 5
    assert view.renewed == {"job", "curve", "result", "preview", "heads"}
    (saved,) = library.motions()
    assert saved.key == view.saved and saved.reference is not None and scene_of(saved.reference) == scene


def test_a_look_at_what_was_seen_shows_nothing_and_a_new_preview_only_itself(
    place: Place, worker: Worker, clip_path: Path
) -> None:
    view = learn(place, worker, learn_order(clip_path))
    assert look_at_learning(place, None, view.seen) is None
    files = place.workspace.jobs.files(view.job.key)
    (files / PREVIEW).write_bytes((files / PREVIEW).read_bytes())
    again = look_at_learning(place, None, view.seen)
    assert again is not None and again.renewed == {"job", "preview"} and again.heads is None


def test_a_page_that_comes_back_finds_its_latest_job(place: Place, worker: Worker, clip_path: Path) -> None:
    first, second = (order_learning(place, learn_order(clip_path, name=name)) for name in ("one", "two"))
    for key, found, line in (
        (None, second, "it: 1."),
        (first.key, first, words.NEXT),
        ("gone", second, "it: 1."),
    ):
        view = look_at_learning(place, key, None)
        assert view is not None and view.job.key == found.key and line in view.status
    assert look_at_rendering(place, None, None) is None


def test_a_cut_clip_forgets_its_true_scene(place: Place, library: Library, worker: Worker, clip_path: Path) -> None:
    key = learn(place, worker, learn_order(clip_path, start_s=1.0)).saved
    saved = library.motion(key or "")
    assert saved.reference is not None and clip_comment(saved.reference) is None


def test_the_job_keeps_its_own_copy_of_the_clip(place: Place, worker: Worker, clip_path: Path, tmp_path: Path) -> None:
    """An upload is cleaned away after a while; the job can begin later."""
    upload = tmp_path / "upload.mp4"
    upload.write_bytes(clip_path.read_bytes())
    job = order_learning(place, learn_order(upload))
    upload.unlink()
    worker.work()
    assert place.workspace.jobs.job(job.key).state == DONE


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"path": None}, BadClip),
        ({"start_s": 99.0}, BadClip),
        ({"start_s": 2.0, "end_s": 1.0}, BadClip),
        ({"knobs": SHORT | {"rank": None}}, BadSpec),
    ],
)
def test_a_mistake_is_refused_before_anything_is_queued(
    place: Place, clip_path: Path, changes: dict[str, Any], kind: type
) -> None:
    with pytest.raises(kind):
        order_learning(place, learn_order(clip_path, **changes))
    assert place.workspace.jobs.jobs() == []


def test_what_only_the_base_can_know_fails_in_one_sentence(place: Place, worker: Worker, clip_path: Path) -> None:
    view = learn(place, worker, learn_order(clip_path, knobs=SHORT | {"sparse_latents": 4}))
    assert 'role="alert"' in view.status and "sparse latents" in view.status.lower() and view.saved is None


def test_a_full_disk_refuses_the_order(place: Place, clip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("motion_transfer.ui.learn.shutil.copyfile", full)
    _, error = told(lambda: order_learning(place, learn_order(clip_path)))
    assert isinstance(error, StorageFailed) and place.workspace.jobs.jobs() == []
    assert not [path for path in place.workspace.jobs.folder.iterdir() if path.is_dir()]


def test_a_caption_that_came_with_a_clip_leaves_with_it(
    studio: Studio, place: Place, library: Library, clip_path: Path, scene: Scene, tmp_path: Path
) -> None:
    page = _LearnPage(studio, lambda _: place, library, [clip_path])
    caption, filled = page.example(0, "", "")[3:5]
    assert caption == filled == scene.caption
    plain = tmp_path / "plain.mp4"
    write_clip(read_clip(clip_path), plain)
    assert page.choose(str(plain), caption, filled)[2:4] == ("", "")
    assert page.choose(str(plain), "typed by hand", filled)[2:4] == ("typed by hand", "")
    assert page.choose(None, caption, filled)[2:4] == ("", "")


def test_a_span_that_holds_nothing_leaves_the_pictures(
    studio: Studio, place: Place, library: Library, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[str]()
    monkeypatch.setattr("motion_transfer.ui.tab_learn.warn", lambda error: said.append(str(error)))
    page = _LearnPage(studio, lambda _: place, library, [clip_path])
    assert all(shown == gr.skip() for shown in page.part(str(clip_path), 3.0, 1.0, 1.0, 0.5, 0.5, ALL))
    assert len(said) == 1
    assert page.part(None, 0.0, None, 1.0, 0.5, 0.5, ALL)[:3] == (None, None, None)
    assert page.part(str(clip_path), 0.0, None, 1.0, 0.5, 0.5, ALL)[0] is not None


def test_the_camera_s_motion_alone_is_learned(
    studio: Studio, place: Place, library: Library, worker: Worker, tmp_path: Path
) -> None:
    scene = sample_scene("split/46", kind="single", effects=0.0)  # a pan
    clip, path = Clip(frames_THWC=draw([scene], 96)[0].numpy(), fps=FPS), tmp_path / "mixed.mp4"
    write_clip(clip, path)
    view = learn(place, worker, learn_order(path, movement=CAMERA))
    motion = library.motion(view.saved or "")
    assert library.load(motion).info["movement"] == CAMERA and motion.reference is not None
    own, left = object_residual_flow(clip), object_residual_flow(read_clip(motion.reference))
    assert own is not None and left is not None and own > 0.1 > left
    again = ordered_learning(place, view.job.key)
    assert again is not None and again.movement == CAMERA
    shown = read_clip(show_part(studio, library, path, start_s=0.0, end_s=None, movement=CAMERA).span)
    assert (object_residual_flow(shown) or 0.0) < 0.03  # what is shown is what is learned


def test_a_background_that_tells_no_camera_is_said(
    place: Place, worker: Worker, clip_path: Path, tmp_path: Path
) -> None:
    plain = Clip(frames_THWC=np.full((20, 64, 64, 3), 90, np.uint8), fps=FPS)
    write_clip(plain, tmp_path / "plain.mp4")
    view = learn(place, worker, learn_order(tmp_path / "plain.mp4", movement=THINGS))
    assert view.job.state == FAILED and "learn the clip as a whole" in view.job.note
    with pytest.raises(BadSpec, match="movement"):
        order_learning(place, learn_order(clip_path, movement="wind"))
