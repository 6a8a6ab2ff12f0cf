"""What the tabs do, as plain functions on a toy base: learn, render, stop, and every way to go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from motion_transfer.errors import BadClip, BadSpec, MotionTransferError, StorageFailed
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio, scene_of
from motion_transfer.types import Measure, Progress, Report
from motion_transfer.ui import learn as learn_module
from motion_transfer.ui import words
from motion_transfer.ui.desk import Busy, Desk, Fault, Meter, clock, problem
from motion_transfer.ui.learn import LearnOrder, LearnView, choose_clip, example_clips, learn, show_span, unknown_note
from motion_transfer.ui.plots import MAX_POINTS, Losses, score_table, word_list
from motion_transfer.ui.render import (
    RenderOrder,
    RenderView,
    kept_motion,
    motion_choices,
    motion_facts,
    render,
    used_seed,
)
from motion_transfer.ui.tab_learn import _LearnPage
from motion_transfer.video.io import clip_comment, probe, read_clip, write_clip
from motion_transfer.video.synth.palette import vocabulary
from motion_transfer.video.synth.scene import Scene

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
    values: dict[str, Any] = {"motion": "", "prompt": "a green star on a white background", "seed": 3}
    return RenderOrder(**values | {"knobs": {"steps": 2, "guidance": 2.0}} | changes)


def adapters(studio: Studio) -> list[str]:
    return [name for name, _ in studio.base.transformer.named_modules() if "lora" in name]


@pytest.fixture
def learned(studio: Studio, library: Library, desk: Desk, clip_path: Path) -> LearnView:
    return list(learn(studio, library, desk, learn_order(clip_path), "me"))[-1]


def test_an_example_fills_in_caption_and_span(library: Library, clip_path: Path, scene: Scene) -> None:
    chosen = choose_clip(library, clip_path)
    assert chosen.caption == scene.caption
    assert chosen.end_s == pytest.approx(probe(clip_path).seconds, abs=0.01)
    assert "4.08 s" in chosen.facts and "64 x 64" in chosen.facts
    assert probe(chosen.shown).height == 384


def test_a_clip_without_caption_and_a_cut_span(library: Library, clip_path: Path) -> None:
    cut = show_span(library, clip_path, 1.0, 2.0)
    assert probe(cut).seconds == pytest.approx(1.0, abs=0.1)
    assert choose_clip(library, cut).caption == ""


def test_a_file_that_is_no_clip_is_refused(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(BadClip):
        choose_clip(library, path)
    assert example_clips(tmp_path / "missing") == []


def test_unknown_words_are_marked_once(studio: Studio) -> None:
    assert unknown_note(studio, "a red circle") == ""
    assert unknown_note(studio, "a <b>skateboard skateboard") == words.UNKNOWN.format(words="**b**, **skateboard**")


def test_learning_shows_its_course_and_saves_the_motion(
    studio: Studio, library: Library, desk: Desk, clip_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learn_module, "PREVIEWS", 2)
    monkeypatch.setattr(learn_module, "PREVIEW_STEPS", 1)
    views = list(learn(studio, library, desk, learn_order(clip_path, preview_prompt="a red star"), "me"))
    assert any("step 3 of 3" in view.status for view in views)
    assert any(view.preview is not None and probe(view.preview).height >= 384 for view in views)
    losses = [view.losses for view in views if view.losses is not None]
    assert len(losses[-1].dropna()) == 5
    saved = views[-1].saved
    assert saved is not None and any(v.heads is not None for v in views) and library.motions() == [saved]
    assert saved.reference is not None and scene_of(saved.reference) == scene
    assert adapters(studio) == []


def test_a_cut_clip_forgets_its_true_scene(studio: Studio, library: Library, desk: Desk, clip_path: Path) -> None:
    saved = list(learn(studio, library, desk, learn_order(clip_path, start_s=1.0), "me"))[-1].saved
    assert saved is not None and saved.reference is not None
    assert clip_comment(saved.reference) is None


def test_stop_ends_the_job_and_saves_nothing(studio: Studio, library: Library, desk: Desk, clip_path: Path) -> None:
    job = learn(studio, library, desk, learn_order(clip_path, knobs=SHORT | {"temporal_steps": 500}), "me")
    while "Temporal" not in next(job).status:
        pass
    assert not desk.stop("someone else")
    assert desk.stop("me")
    assert words.STOPPED in list(job)[-1].status
    assert library.motions() == [] and adapters(studio) == [] and not desk.stop("me")


def test_a_closed_page_frees_the_base(studio: Studio, library: Library, desk: Desk, clip_path: Path) -> None:
    job = learn(studio, library, desk, learn_order(clip_path), "me")
    while "Temporal" not in next(job).status:
        pass
    job.close()  # type: ignore[attr-defined]
    assert adapters(studio) == []
    with desk.taken("next"):
        pass


def test_a_second_job_is_told_to_wait(studio: Studio, library: Library, desk: Desk, clip_path: Path) -> None:
    with desk.taken("first"):
        views = list(learn(studio, library, desk, learn_order(clip_path), "second"))
        assert isinstance(list(render(studio, library, desk, render_order(), "third"))[-1].error, Busy)
    assert len(views) == 1 and isinstance(views[0].error, Busy) and 'role="alert"' in views[0].status


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"path": None}, BadClip),
        ({"start_s": 99.0}, BadClip),
        ({"start_s": 2.0, "end_s": 1.0}, BadClip),
        ({"knobs": SHORT | {"rank": None}}, BadSpec),
        ({"knobs": SHORT | {"sparse_latents": 4}}, BadSpec),
    ],
)
def test_a_mistake_is_one_sentence(
    studio: Studio, library: Library, desk: Desk, clip_path: Path, changes: dict[str, Any], kind: type
) -> None:
    last = list(learn(studio, library, desk, learn_order(clip_path, **changes), "me"))[-1]
    assert type(last.error) is kind and last.saved is None
    assert 'role="alert"' in last.status and "Traceback" not in last.status


def test_a_render_is_saved_shown_and_measured(studio: Studio, library: Library, desk: Desk, learned: LearnView) -> None:
    assert learned.saved is not None
    views = list(render(studio, library, desk, render_order(motion=learned.saved.key), "me"))
    assert views[0].reference is not None
    done = next(view for view in views if view.file is not None)
    assert done.file is not None and done.file.parent == library.renders and probe(done.file).height == 32
    assert done.result is not None and probe(done.result).height == 384
    assert "seed 3" in views[-1].status and views[-1].scores is not None and "| Motion" in views[-1].scores
    assert adapters(studio) == []


def test_the_bare_base_renders_without_scores(studio: Studio, library: Library, desk: Desk) -> None:
    views = list(render(studio, library, desk, render_order(seed=-1), "me"))
    assert views[-1].scores == words.NO_SCORES and views[0].reference is None


@pytest.mark.parametrize("changes", [{"prompt": " "}, {"seed": None}, {"seed": -2}, {"motion": "missing"}])
def test_a_wrong_order_is_one_sentence(studio: Studio, library: Library, desk: Desk, changes: dict[str, Any]) -> None:
    views: list[RenderView] = list(render(studio, library, desk, render_order(**changes), "me"))
    assert isinstance(views[-1].error, MotionTransferError) and not isinstance(views[-1].error, Fault)


def test_a_fault_of_the_program_does_not_leak_its_text(
    studio: Studio, library: Library, desk: Desk, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(studio, "read", fail)
    last = list(learn(studio, library, desk, learn_order(clip_path), "me"))[-1]
    assert isinstance(last.error, Fault) and "RuntimeError" in last.status and "secret" not in last.status
    with desk.taken("next"):
        pass


def test_a_full_disk_is_one_sentence_and_frees_the_base(
    studio: Studio, library: Library, desk: Desk, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step of showing or saving fails: the work is closed before the page hears of it."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("show", "save_motion"):
        with monkeypatch.context() as patch:
            patch.setattr(library, name, full)
            for view in learn(studio, library, desk, learn_order(clip_path), "me"):
                if view.error is not None:
                    assert isinstance(view.error, StorageFailed) and "No space left" in view.status
                    assert adapters(studio) == []
            assert view.error is not None


def test_a_caption_that_came_with_a_clip_leaves_with_it(
    studio: Studio, library: Library, desk: Desk, clip_path: Path, scene: Scene, tmp_path: Path
) -> None:
    page = _LearnPage(studio, library, desk, [clip_path])
    _, _, _, _, _, caption, filled, _ = page.example(0, "", "")
    assert caption == filled == scene.caption
    plain = tmp_path / "plain.mp4"
    write_clip(read_clip(clip_path), plain)
    assert page.choose(str(plain), caption, filled)[4:6] == ("", "")
    assert page.choose(str(plain), "typed by hand", filled)[4:6] == ("typed by hand", "")
    assert page.choose(None, caption, filled)[4:6] == ("", "")


def test_motions_to_choose_from(library: Library, learned: LearnView) -> None:
    assert learned.saved is not None
    key = learned.saved.key
    assert [k for _, k in motion_choices(library)] == [key, ""]
    assert kept_motion(library, "gone") == kept_motion(library, None) == key and kept_motion(library, "") == ""
    assert "a red circle" in motion_facts(library, key) and motion_facts(library, "") == ""


def test_a_random_seed_is_drawn() -> None:
    assert used_seed(5.0) == 5
    assert len({used_seed(-1) for _ in range(5)}) > 1


def test_the_meter_tells_stage_step_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 2.0])
    monkeypatch.setattr("motion_transfer.ui.desk.time.monotonic", lambda: next(now))
    meter = Meter()
    assert "steps a second" not in meter.line(Progress(stage="temporal", step=1, total=201))
    line = meter.line(Progress(stage="temporal", step=5, total=201, loss=0.25))
    assert "step 5 of 201" in line and "2.0 steps a second" in line and "1 min 38 s left" in line and "0.250" in line
    assert clock(59.4) == "59 s"


def test_messages_are_escaped() -> None:
    assert "<script>" not in problem(BadClip("no <script> here"))


def test_long_loss_curves_are_thinned() -> None:
    losses = Losses()
    assert losses.table() is None
    losses.add([Progress(stage="heads", step=1, total=1)])
    losses.add([Progress(stage="spatial", step=i, total=999, loss=1.0) for i in range(999)])
    losses.add([Progress(stage="temporal", step=i, total=9, loss=3.0) for i in range(9)])
    table = losses.table()
    assert table is not None and set(table["stage"][:2]) == {"spatial", "temporal"} and table["loss"][:2].isna().all()
    table = table.dropna()
    assert len(table) <= MAX_POINTS + 2
    assert set(table["stage"]) == {"spatial", "temporal"} and table["step"].max() == 1008
    assert table[table["stage"] == "temporal"]["loss"].eq(3.0).all()


def test_scores_say_why_they_are_missing() -> None:
    report = Report(
        measures=(
            Measure(name="motion_fidelity", value=0.5),
            Measure(name="leakage", value=None, higher_is_better=False, why_missing="a | b <c>"),
        )
    )
    rows = score_table(report).splitlines()
    assert rows[2] == "| Motion: moves like the reference | 0.500 | higher |"
    assert r"– (a \| b &lt;c>)" in rows[3] and rows[3].endswith("lower |")


def test_words_are_listed_by_what_they_name() -> None:
    text = word_list(sorted(word for word in vocabulary() if word.isalpha()))
    assert (
        "**Colors:** black, blue" in text and "people" in text.split("\n\n")[1] and "striped" in text.split("\n\n")[2]
    )
    assert word_list([]) == ""
