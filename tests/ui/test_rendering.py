"""Ordering renders and looking at them: mixes, seeds and prompts, and every way to go wrong."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from motion_transfer.errors import BadSpec, MotionTransferError, StorageFailed
from motion_transfer.jobs.store import CANCELLED, DONE, PAUSED, QUEUED, Job, JobStore, NoSuchJob
from motion_transfer.jobs.worker import Worker
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.recipes import read_recipe
from motion_transfer.ui import words
from motion_transfer.ui.buttons import act_on
from motion_transfer.ui.controls import started_once
from motion_transfer.ui.desk import Fault, Place, told
from motion_transfer.ui.render import (
    MOST_MOTIONS,
    MixOrder,
    kept_motion,
    look_at_rendering,
    motion_card,
    motion_choices,
    order_rendering,
    ordered_rendering,
    ordered_together,
    used_seed,
)
from motion_transfer.ui.tab_mix import _MixPage
from motion_transfer.video.io import probe
from tests.ui.orders import render, render_order


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


def test_videos_that_were_ordered_together_are_paused_and_cancelled_together(place: Place, worker: Worker) -> None:
    jobs, first, other = place.workspace.jobs, order_rendering(place, render_order(videos=3)), render_order(seed=9)
    alone = order_rendering(place, other)
    worker.work()
    view = look_at_rendering(place, first.key, None)
    assert view is not None and view.job.state == QUEUED and view.job.orders["spec"]["seed"] == 4  # the next one
    assert view.result is not None  # of the one before it
    together = ordered_together(place, first.key)
    assert len(together) == 2 and view.job.key == together[0]
    for verb, state in (("pause", PAUSED), ("go_on", QUEUED), ("cancel", CANCELLED)):
        act_on(place, verb, together)
        assert [jobs.job(key).state for key in together] == [state] * 2
    assert jobs.job(first.key).state == DONE and jobs.job(alone.key).state == QUEUED
    assert ordered_together(place, first.key) == [first.key] and ordered_together(place, alone.key) == [alone.key]
    act_on(place, "cancel", [together[0], alone.key])  # the first one is cancelled already
    assert jobs.job(alone.key).state == CANCELLED
    with pytest.raises(NoSuchJob):
        act_on(place, "cancel", [alone.key])


def test_a_double_click_orders_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    monkeypatch.setattr("motion_transfer.ui.controls.tell", said.append)
    order, submitted, before = render_order(), list[Job](), None
    for one, clock_s, count in ((order, 0.0, 1), (order, 1.0, 1), (render_order(seed=4), 1.5, 2), (order, 9.0, 3)):
        monkeypatch.setattr("motion_transfer.ui.controls.time.monotonic", lambda now_s=clock_s: now_s)

        def submit(one: MixOrder = one) -> Job:
            submitted.append(order_rendering(place, one))
            return submitted[-1]

        *_, ordered = started_once(one, before, submit)
        before = before if ordered == gr.skip() else ordered
        assert len(submitted) == count
    assert said == [words.ORDERED_ALREADY]


def test_several_videos_are_ordered_together_or_not_at_all(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, submit = place.workspace.jobs, JobStore.submit

    def failing(store: JobStore, *order: Any) -> Job:
        if store.jobs():
            raise StorageFailed("the disk is full.")
        return submit(store, *order)

    monkeypatch.setattr(JobStore, "submit", failing)
    with pytest.raises(StorageFailed):
        order_rendering(place, render_order(videos=2))
    assert jobs.jobs() == []
    assert order_rendering(place, render_order()) == jobs.jobs()[0]


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


def test_motions_to_choose_from(library: Library, learned: str) -> None:
    key = learned
    assert [k for _, k in motion_choices(library, "tiny")] == [key, ""]
    assert kept_motion(library, "tiny", "gone") == kept_motion(library, "tiny", None) == key
    assert kept_motion(library, "tiny", "") == ""
    card = motion_card(library, key)
    assert "a red circle" in card and "rank 2" in card and "data:image/png" in card
    assert motion_card(library, "") == ""


def test_a_motion_that_was_just_learned_is_chosen_once(studio: Studio, place: Place, learned: str) -> None:
    page, free = _MixPage(studio, lambda _: place), [""] * (MOST_MOTIONS - 1)
    update, *others, offered = page.refresh(None, learned, None, "", *free)
    assert update["value"] == offered == learned and not any("value" in other for other in others)
    again, *_ = page.refresh(None, learned, offered, "", *free)  # the bare base was chosen since
    assert "value" not in again and again["choices"] == update["choices"]
    for nothing in ("", None):  # what the browser says of a job that has learned nothing yet
        kept, *_, still = page.refresh(None, nothing, offered, learned, *free)
        assert "value" not in kept and still == offered
    assert "value" not in page.refresh(None, "", None, None, *free)[0]
    gone, _, second, *_ = page.refresh(None, "", None, "gone", "", "gone too", "")
    assert gone["value"] is second["value"] is None  # another motion would be another order


def test_a_page_that_opens_is_told_the_newest_motion(place: Place, studio: Studio, learned: str) -> None:
    *lists, newest = _MixPage(studio, lambda _: place).begin(None)
    assert newest == learned and len(lists) == MOST_MOTIONS
    assert all("value" not in one and learned in dict(map(reversed, one["choices"])) for one in lists)


def test_an_imported_motion_takes_the_first_free_place(
    studio: Studio, place: Place, library: Library, learned: str
) -> None:
    page, file = _MixPage(studio, lambda _: place), str(library.motion(learned).path)
    for keys, wanted in ((("", "", "", ""), 0), (("x", "", "", ""), 1), (("x", "y", "z", "w"), 0)):
        lists = page.take_in(None, file, *keys)
        assert lists[wanted].value == learned and lists[MOST_MOTIONS + wanted].visible


def test_a_random_seed_is_drawn() -> None:
    assert used_seed(5.0) == 5
    assert len({used_seed(-1) for _ in range(5)}) > 1
