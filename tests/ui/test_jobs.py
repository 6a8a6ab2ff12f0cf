"""The Jobs tab as plain functions: the list, moving, removing, ordering again."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from motion_transfer.jobs.store import DONE, QUEUED, NoSuchJob
from motion_transfer.jobs.worker import Worker
from motion_transfer.library import Library
from motion_transfer.ui.desk import Place
from motion_transfer.ui.jobs import (
    DOWN,
    UP,
    job_facts,
    look_at_jobs,
    movable,
    move_job,
    picture_job,
    removable,
    remove_job,
)
from motion_transfer.ui.learn import order_learning, ordered_learning
from motion_transfer.ui.render import order_rendering, ordered_rendering
from motion_transfer.ui.tab_jobs import _JobsPage
from tests.ui.orders import learn_order, render_order


def test_the_list_tells_kind_and_state_and_keeps_the_choice(place: Place, worker: Worker) -> None:
    assert look_at_jobs(place, None).job is None and "no job yet" in look_at_jobs(place, None).facts
    first, second = (order_rendering(place, render_order(prompt=prompt)).key for prompt in ("one", "<two>"))
    view = look_at_jobs(place, second)
    assert [key for _, key in view.choices] == [first, second]
    assert "one · render · waiting" in view.choices[0][0]
    assert view.job is not None and view.job.key == second and "&lt;two&gt;" in view.facts
    gone = look_at_jobs(place, "gone").job
    assert gone is not None and gone.key == first
    worker.work()
    done = look_at_jobs(place, first)
    assert done.job is not None and done.job.state == DONE and "seed 3" in done.status and removable(done.job)


def test_a_look_renews_what_changed_and_leaves_another_choice_alone(place: Place, worker: Worker) -> None:
    first, second = (order_rendering(place, render_order(prompt=prompt)).key for prompt in ("one", "two"))
    look = _JobsPage(lambda _: place).look
    seen, line, _, jobs, key, *_ = look(None, None, None)
    assert key == first and [chosen for _, chosen in jobs.choices] == [first, second] and "role" in line
    assert all(part == gr.skip() for part in look(None, first, seen))
    other, _, _, jobs, key, *_ = look(None, second, seen)
    assert key == gr.skip() and jobs.value == second  # it was chosen on the page, and may be another by now
    worker.work()
    now, line, _, jobs, key, *_ = look(None, second, other)
    assert now != other and "begin" in line and len(jobs.choices) == 2 and key == gr.skip()


def test_a_job_shows_its_curve_and_its_newest_video(place: Place, worker: Worker, clip_path: Path) -> None:
    learning = order_learning(place, learn_order(clip_path, start_s=0.5, end_s=2.0, zoom=2.0))
    rendering = order_rendering(place, render_order(prompt="one"))
    waiting = picture_job(place, learning, None)
    assert waiting is not None and waiting.losses is None and waiting.video is None
    worker.work()
    jobs = place.workspace.jobs
    done = picture_job(place, jobs.job(learning.key), waiting.seen)
    assert done is not None and done.losses is not None and done.video is not None and done.video.is_file()
    assert picture_job(place, jobs.job(learning.key), done.seen) is None
    worker.work()
    render = picture_job(place, jobs.job(rendering.key), None)
    assert render is not None and render.losses is None and render.video is not None
    library = place.workspace.library(place.owner)
    facts = job_facts(library, jobs.job(learning.key))
    assert "0 s to 2 s" in facts and "zoom 2" in facts and "All motion" in facts and "Temporal steps" in facts
    assert "{" not in facts and "bare base" in job_facts(library, jobs.job(rendering.key))
    page = _JobsPage(lambda _: place)
    losses, video, seen = page.picture(None, learning.key, None)
    assert losses.visible and video.value is not None and page.picture(None, learning.key, seen) == (gr.skip(),) * 3


def test_waiting_jobs_move_among_their_owners(place: Place) -> None:
    a, b, c = (order_rendering(place, render_order(prompt=prompt)).key for prompt in "abc")
    for key, by, order in ((c, UP, [a, c, b]), (c, UP, [c, a, b]), (c, UP, [c, a, b]), (c, DOWN, [a, c, b]),
                           (b, DOWN, [a, c, b]), (a, DOWN, [c, a, b])):  # fmt: skip
        move_job(place, key, by)
        assert [key for _, key in look_at_jobs(place, None).choices] == order
    place.workspace.jobs.cancel(a)
    assert not movable(look_at_jobs(place, a).job)
    with pytest.raises(NoSuchJob):
        move_job(place, a, UP)


def test_a_removed_job_takes_its_files_and_leaves_its_motion(
    place: Place, library: Library, worker: Worker, clip_path: Path
) -> None:
    job = order_learning(place, learn_order(clip_path))
    with pytest.raises(NoSuchJob):
        remove_job(place, job.key)
    assert (place.workspace.jobs.folder / job.key).is_dir()
    worker.work()
    remove_job(place, job.key)
    assert not (place.workspace.jobs.folder / job.key).exists() and len(library.motions()) == 1
    assert look_at_jobs(place, None).choices == []


def test_a_job_can_be_ordered_again(place: Place, worker: Worker, clip_path: Path) -> None:
    order = learn_order(clip_path, start_s=0.5, end_s=2.0, preview_prompt="a red star")
    learning = order_learning(place, order)
    again = ordered_learning(place, learning.key)
    assert again is not None and ordered_rendering(place, learning.key) is None
    assert again.knobs.items() >= order.knobs.items() and Path(again.path or "").read_bytes() == clip_path.read_bytes()
    for name in ("start_s", "end_s", "caption", "name", "preview_prompt"):
        assert getattr(again, name) == getattr(order, name)
    assert order_learning(place, again).orders == learning.orders
    worker.work()
    motion = str(place.workspace.jobs.job(learning.key).results["motion"])
    rendering = order_rendering(place, render_order(motions=[(motion, 0.7)]))
    back = ordered_rendering(place, rendering.key)
    assert back is not None and (back.motions[0], back.seed, back.strengths[0]) == (motion, 3, 0.7)
    assert place.workspace.jobs.job(rendering.key).state == QUEUED


def test_all_that_is_done_goes_at_once(place: Place, worker: Worker) -> None:
    keys = [order_rendering(place, render_order(prompt=prompt)).key for prompt in ("one", "two", "three")]
    worker.work()
    place.workspace.jobs.cancel(keys[1])
    _JobsPage(lambda _: place).clear(None)
    assert [job.key for job in place.workspace.jobs.jobs()] == [keys[2], keys[1]]  # what was cancelled may go on
    assert len(place.workspace.library("").made_renders()) == 1
