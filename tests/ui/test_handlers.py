"""What the tabs do, as plain functions on a toy base: order, look, and every way to go wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from motion_transfer.errors import BadClip, BadSpec, MotionTransferError, StorageFailed
from motion_transfer.evaluate.camera_motion import object_residual_flow
from motion_transfer.jobs import worker as worker_module
from motion_transfer.jobs.orders import TuneOrder, from_json
from motion_transfer.jobs.store import CANCELLED, DONE, FAILED, PAUSED, RUNNING, Job
from motion_transfer.jobs.worker import PREVIEW, Worker
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio, scene_of
from motion_transfer.recipes import read_recipe
from motion_transfer.types import Clip, Measure
from motion_transfer.ui import words
from motion_transfer.ui.buttons import usable
from motion_transfer.ui.desk import Fault, Place, clock, in_words, job_line, problem, told
from motion_transfer.ui.learn import (
    LearnOrder,
    LearnView,
    choose_clip,
    estimate_line,
    example_clips,
    expect,
    look_at_learning,
    order_learning,
    ordered_learning,
    saved_line,
    show_part,
    span_from_click,
    unknown_note,
)
from motion_transfer.ui.plots import MAX_POINTS, loss_table, score_table, word_lists
from motion_transfer.ui.render import (
    MOST_MOTIONS,
    RenderOrder,
    RenderView,
    in_places,
    kept_motion,
    look_at_rendering,
    motion_card,
    motion_choices,
    order_rendering,
    ordered_rendering,
    used_seed,
)
from motion_transfer.ui.tab_learn import _LearnPage
from motion_transfer.ui.tab_render import _RenderPage
from motion_transfer.ui.tour import build_tour
from motion_transfer.video.io import clip_comment, probe, read_clip, write_clip
from motion_transfer.video.strip import CAMERA, THINGS, Crop
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.palette import vocabulary
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene
from motion_transfer.workspace import FOR_VISITORS, UnknownVisitor, Workspace

SHORT = {"spatial_steps": 2, "temporal_steps": 3, "sparse_latents": 5, "rank": 2}


def learn_order(clip_path: Path | None, **changes: Any) -> LearnOrder:
    values: dict[str, Any] = {
        "path": str(clip_path) if clip_path else None,
        "start_s": 0.0,
        "end_s": None,
        "caption": "a red circle",
        "name": "Wave",
        "preview_prompt": "",
        "knobs": SHORT,
    }
    return LearnOrder(**values | changes)


def render_order(**changes: Any) -> RenderOrder:
    """`motions` are keys and strengths."""
    values: dict[str, Any] = {"prompt": "a green star on a white background", "seed": 3}
    places = in_places(changes.pop("motions", []))
    return RenderOrder(**values | places | {"knobs": {"steps": 2, "guidance": 2.0}} | changes)


def learn(place: Place, worker: Worker, order: LearnOrder) -> LearnView:
    job = order_learning(place, order)
    worker.work()
    view = look_at_learning(place, job.key, None)
    assert view is not None
    return view


def render(place: Place, worker: Worker, order: RenderOrder) -> RenderView:
    job = order_rendering(place, order)
    worker.work()
    view = look_at_rendering(place, job.key, None)
    assert view is not None
    return view


def running(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "key": "k", "kind": "tune", "owner": "", "title": "Wave", "orders": {}, "state": RUNNING, "wish": "",
        "place": 1.0, "made_s": 0.0, "begun_s": 0.0, "told_s": 0.0, "ended_s": None, "worked_s": 30.0,
        "stage": "temporal", "step": 5, "total": 201, "rate": 2.0, "loss": 0.25, "peak_memory_mb": 1234.0, "tries": 1,
        "note": "", "results": {},
    }  # fmt: skip
    return Job(**values | changes)


@pytest.fixture
def learned(place: Place, worker: Worker, clip_path: Path) -> str:
    key = learn(place, worker, learn_order(clip_path)).saved
    assert key is not None
    return key


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
    expected = expect(place, studio, SHORT)
    assert expected is not None and expected.seconds is None and "first job" in estimate_line(expected)
    took = sum(learn(place, worker, learn_order(clip_path)).job.results["seconds"].values())
    expected = expect(place, studio, SHORT)
    assert expected is not None and expected.seconds == pytest.approx(took, rel=0.01)
    assert "1 job(s)" in estimate_line(expected)
    job = order_learning(place, learn_order(clip_path), expected)
    worker.work()
    assert "were expected" in saved_line(place.workspace.jobs.job(job.key))
    assert expect(place, studio, SHORT | {"rank": -1}) is None and estimate_line(None) == ""


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
    assert unknown_note(studio, "a <b>skateboard skateboard") == words.UNKNOWN.format(words="**b**, **skateboard**")


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
    for key, found, line in ((None, second, "1 other"), (first.key, first, words.NEXT), ("gone", second, "1 other")):
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


def test_a_render_is_saved_shown_and_measured(place: Place, library: Library, worker: Worker, learned: str) -> None:
    view = render(place, worker, render_order(motions=[(learned, 0.5)]))
    assert view.reference is not None and view.job.orders["motions"] == [[learned, 0.5]]
    (saved,) = library.renders.glob("*.mp4")
    assert view.file is not None and view.file.name == saved.name and view.file.read_bytes() == saved.read_bytes()
    assert probe(view.file).height == 32 and view.result is not None and probe(view.result).height == 384
    assert "seed 3" in view.status and "| Motion" in view.scores


def test_several_videos_have_seeds_in_a_row(place: Place, library: Library, worker: Worker) -> None:
    first = order_rendering(place, render_order(seed=5, videos=3))
    jobs = place.workspace.jobs.jobs()
    assert sorted(job.orders["spec"]["seed"] for job in jobs) == [5, 6, 7]
    assert place.workspace.jobs.job(first.key).orders["spec"]["seed"] == 5
    seen, counts = None, []
    for _ in jobs:
        worker.work()
        view = look_at_rendering(place, first.key, seen)
        assert view is not None and "latest" in view.renewed
        counts.append(view.latest.count("<video"))
        seen = view.seen
    assert counts == [1, 2, 3] and look_at_rendering(place, first.key, seen) is None
    for videos in (0, 9, 1.5, None):
        with pytest.raises(BadSpec, match="videos"):
            order_rendering(place, render_order(videos=videos))


def test_several_prompts_make_several_videos(place: Place) -> None:
    order_rendering(place, render_order(prompt="a red star\n\n a <b>blue</b> star ", seed=5, videos=2))
    asked = [job.orders["spec"] for job in place.workspace.jobs.jobs()]
    assert sorted((spec["prompt"], spec["seed"]) for spec in asked) == [
        ("a <b>blue</b> star", 5), ("a <b>blue</b> star", 6), ("a red star", 5), ("a red star", 6)]  # fmt: skip
    with pytest.raises(BadSpec, match="5 x 2"):
        order_rendering(place, render_order(prompt="x\n" * 5, videos=2))


def test_motions_are_mixed(place: Place, library: Library, worker: Worker, learned: str) -> None:
    view = render(place, worker, render_order(motions=[(learned, 0.5), ("", 1.0), (learned, -1.5)]))
    assert view.job.orders["motions"] == [[learned, 0.5], [learned, -1.5]]
    recipe = read_recipe(next(library.renders.glob("*.mp4")))
    assert [lora.strength for lora in recipe.loras] == [0.5, -1.5]
    back = ordered_rendering(place, view.job.key)
    assert back is not None and back.motions == (learned, learned, "", "") and back.strengths == (0.5, -1.5, 1.0, 1.0)


def test_the_bare_base_renders_without_scores(place: Place, worker: Worker) -> None:
    view = render(place, worker, render_order(seed=-1))
    assert view.scores == words.NO_SCORES and view.reference is None and view.result is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": " "},
        {"seed": None},
        {"seed": -2},
        {"motions": [("missing", 1.0)]},
        {"motions": [(None, 1.0)]},
        {"motions": [("x", 9.0)]},
        {"motions": [("x", None)]},
    ],
)
def test_a_wrong_order_is_one_sentence(place: Place, changes: dict[str, Any]) -> None:
    job, error = told(lambda: order_rendering(place, render_order(**changes)))
    assert job is None and isinstance(error, MotionTransferError) and not isinstance(error, Fault)


def test_a_motion_that_is_deleted_meanwhile_fails_the_render(
    place: Place, library: Library, worker: Worker, learned: str
) -> None:
    job = order_rendering(place, render_order(motions=[(learned, 1.0)]))
    library.motion(learned).path.unlink()
    worker.work()
    view = look_at_rendering(place, job.key, None)
    assert view is not None and 'role="alert"' in view.status and view.reference is None


def test_a_fault_of_the_program_does_not_leak_its_text() -> None:
    error = in_words(RuntimeError("/secret/path"))
    assert isinstance(error, Fault) and "RuntimeError" in str(error) and "secret" not in str(error)
    assert isinstance(in_words(OSError(28, "No space left on device")), StorageFailed)


def test_a_full_disk_refuses_the_order(place: Place, clip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("motion_transfer.ui.learn.shutil.copyfile", full)
    _, error = told(lambda: order_learning(place, learn_order(clip_path)))
    assert isinstance(error, StorageFailed) and place.workspace.jobs.jobs() == []
    assert not [path for path in place.workspace.jobs.folder.iterdir() if path.is_dir()]


def test_visitors_see_their_own_things_only(tmp_path: Path, studio: Studio, clip_path: Path) -> None:
    workspace = Workspace(tmp_path / "work", isolated=True)
    one, other = (Place(workspace=workspace, owner=workspace.owner(token * 32)) for token in "ab")
    job = order_rendering(one, render_order())
    assert look_at_rendering(other, job.key, None) is None and look_at_rendering(other, None, None) is None
    view = look_at_rendering(one, None, None)
    assert view is not None and view.job.key == job.key
    for token in (None, "", "short"):
        with pytest.raises(UnknownVisitor):
            workspace.owner(token)


def test_a_visitor_has_so_much_room(tmp_path: Path, clip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a shared machine; at home there is no limit."""
    shared, home = (Workspace(tmp_path / name, isolated=name == "shared") for name in ("shared", "home"))
    visitor = Place(workspace=shared, owner=shared.owner("a" * 32))
    for _ in range(FOR_VISITORS.open_jobs // 4):
        order_rendering(visitor, render_order(videos=4))
    with pytest.raises(BadSpec, match="open jobs"):
        order_learning(visitor, learn_order(clip_path))
    other = Place(workspace=shared, owner=shared.owner("b" * 32))
    order_learning(other, learn_order(clip_path))
    job = shared.jobs.cancel(order_learning(other, learn_order(clip_path)).key)  # its copy of the clip counts
    (shared.jobs.files(job.key) / "large").write_bytes(bytes(2000))
    monkeypatch.setattr("motion_transfer.workspace.FOR_VISITORS", replace(FOR_VISITORS, kept_mb=0.001))
    with pytest.raises(BadSpec, match="remove some jobs"):
        order_rendering(other, render_order())
    monkeypatch.setattr("motion_transfer.workspace.FOR_VISITORS", replace(FOR_VISITORS, job_seconds=-1.0))
    order_rendering(other, render_order())
    assert not (shared.jobs.folder / job.key).exists()  # it ended too long ago
    monkeypatch.setattr("motion_transfer.workspace.FOR_VISITORS", FOR_VISITORS)
    monkeypatch.setattr(Library, "size_mb", lambda _: FOR_VISITORS.kept_mb + 1)
    with pytest.raises(BadSpec, match="delete"):
        order_rendering(other, render_order())
    for _ in range(FOR_VISITORS.open_jobs + 1):
        order_rendering(Place(workspace=home, owner=""), render_order())


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


def test_motions_to_choose_from(library: Library, learned: str) -> None:
    key = learned
    assert [k for _, k in motion_choices(library, "tiny")] == [key, ""]
    assert kept_motion(library, "tiny", "gone") == kept_motion(library, "tiny", None) == key
    assert kept_motion(library, "tiny", "") == ""
    card = motion_card(library, key)
    assert "a red circle" in card and "rank 2" in card and "data:image/png" in card
    assert motion_card(library, "") == ""


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


def test_a_motion_that_was_just_learned_is_chosen_once(studio: Studio, place: Place, learned: str) -> None:
    page, free = _RenderPage(studio, lambda _: place), [""] * (MOST_MOTIONS - 1)
    update, *others, offered = page.refresh(None, learned, None, "", *free)
    assert update["value"] == offered == learned and not any("value" in other for other in others)
    again, *_ = page.refresh(None, learned, offered, "", *free)  # the bare base was chosen since
    assert "value" not in again and again["choices"] == update["choices"]
    gone, _, second, *_ = page.refresh(None, None, None, "gone", "", "gone too", "")
    assert gone["value"] is second["value"] is None  # another motion would be another order


def test_an_imported_motion_takes_the_first_free_place(
    studio: Studio, place: Place, library: Library, learned: str
) -> None:
    page, file = _RenderPage(studio, lambda _: place), str(library.motion(learned).path)
    for keys, wanted in ((("", "", "", ""), 0), (("x", "", "", ""), 1), (("x", "y", "z", "w"), 0)):
        lists = page.take_in(None, file, *keys)
        assert lists[wanted].value == learned and lists[MOST_MOTIONS + wanted].visible


def test_a_random_seed_is_drawn() -> None:
    assert used_seed(5.0) == 5
    assert len({used_seed(-1) for _ in range(5)}) > 1


def test_a_running_job_tells_stage_step_rate_time_and_memory() -> None:
    line = job_line(running(), 0, "")
    for part in ("step 5 of 201", "2.0 steps a second", "1 min 38 s left", "0.250", "30 s so far", "1.2 GB"):
        assert part in line
    assert "steps a second" not in job_line(running(rate=None), 0, "")
    assert words.CANCELLING in job_line(running(wish="cancel"), 0, "")
    assert "step 5" in job_line(running(state=PAUSED), 0, "")
    assert 'role="alert"' in job_line(running(state="failed", note="no <space>."), 0, "")
    assert [clock(s) for s in (59.4, 61, 7300)] == ["59 s", "1 min 01 s", "2 h 01 min"]


@pytest.mark.parametrize(
    ("state", "wish", "expected"),
    [(RUNNING, "", "101"), (RUNNING, "pause", "000"), (PAUSED, "", "011"), (DONE, "", "000"), (CANCELLED, "", "010")],
)
def test_buttons_follow_the_state(state: str, wish: str, expected: str) -> None:
    assert "".join(str(int(button.interactive)) for button in usable(running(state=state, wish=wish))) == expected


def test_messages_are_escaped() -> None:
    assert "<script>" not in problem(BadClip("no <script> here"))


def test_long_loss_curves_are_thinned() -> None:
    assert loss_table([]) is None
    losses = [("spatial", i, 1.0) for i in range(999)] + [("temporal", i, 3.0) for i in range(9)]
    table = loss_table(losses)
    assert table is not None and set(table["stage"][:2]) == {"spatial", "temporal"} and table["loss"][:2].isna().all()
    table = table.dropna()
    assert len(table) <= MAX_POINTS + 2
    assert set(table["stage"]) == {"spatial", "temporal"} and table["step"].max() == 1008
    assert table[table["stage"] == "temporal"]["loss"].eq(3.0).all()


def test_scores_say_why_they_are_missing() -> None:
    rows = score_table(
        [
            Measure(name="motion_fidelity", value=0.5),
            Measure(name="leakage", value=None, higher_is_better=False, why_missing="a | b <c>"),
        ]
    ).splitlines()
    assert rows[2] == "| Motion: moves like the reference | 0.500 | higher |"
    assert r"– (a \| b &lt;c>)" in rows[3] and rows[3].endswith("lower |")


def test_words_are_listed_by_what_they_name() -> None:
    text = "\n\n".join(word_lists(sorted(word for word in vocabulary() if word.isalpha())))
    assert (
        "**Colors:** black, blue" in text and "people" in text.split("\n\n")[1] and "striped" in text.split("\n\n")[2]
    )
    assert word_lists([]) == []


def test_the_tour_follows_what_was_done(
    studio: Studio, place: Place, worker: Worker, clip_path: Path, tmp_path: Path
) -> None:
    with gr.Blocks():
        tour = build_tour(studio, lambda _: place, [clip_path])

    def shown() -> tuple[bool, str]:
        panel, text, _ = tour.show(None, False)
        return panel.visible, text if panel.visible else ""

    assert shown()[0] and f"1. **{words.TOUR_CHOOSE}**" in shown()[1]
    key, _ = tour.learn(None)
    job = place.workspace.jobs.job(key)
    assert job.title == clip_path.stem and f"2. **{words.TOUR_WAIT}**" in shown()[1]
    assert from_json(TuneOrder, job.orders).spec.caption
    place.workspace.jobs.cancel(key)
    learn(place, worker, learn_order(clip_path))
    assert f"3. **{words.TOUR_PROMPT}**" in shown()[1]
    assert tour.show(None, True)[0].visible is False
    render(place, worker, render_order())
    assert shown() == (False, "")
