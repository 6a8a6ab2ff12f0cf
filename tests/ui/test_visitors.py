"""A shared machine: visitors see their own things only, and have so much room."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motion_transfer.errors import BadSpec
from motion_transfer.jobs.store import ENDED, Job
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.ui.app import MAX_UPLOAD, MAX_VISITOR_UPLOAD, build_app, launch_options
from motion_transfer.ui.desk import Place
from motion_transfer.ui.learn import order_learning
from motion_transfer.ui.render import look_at_rendering, order_rendering
from motion_transfer.ui.shelf import MOTIONS
from motion_transfer.workspace import FOR_A_VISITOR, FOR_ALL_VISITORS, VISITOR_SECONDS, UnknownVisitor, Workspace
from tests.ui.orders import learn_order, render_order


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


def test_visitors_send_smaller_files_and_keep_no_one_waiting(tmp_path: Path, studio: Studio) -> None:
    shared, home = (Workspace(tmp_path / name, isolated=name == "shared") for name in ("shared", "home"))
    assert launch_options(shared)["max_file_size"] == MAX_VISITOR_UPLOAD
    assert launch_options(home)["max_file_size"] == MAX_UPLOAD
    waiting = [event for event in build_app(studio, shared).fns.values() if event.queue and event.fn]
    assert all(event.concurrency_limit == "default" for event in waiting)
    assert build_app(studio, shared)._queue.default_concurrency_limit > 1


def test_a_visitor_has_so_much_room(tmp_path: Path, clip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a shared machine; at home there is no limit."""
    shared, home = (Workspace(tmp_path / name, isolated=name == "shared") for name in ("shared", "home"))
    visitor = Place(workspace=shared, owner=shared.owner("a" * 32))
    for _ in range(FOR_A_VISITOR.open_jobs // 4):
        order_rendering(visitor, render_order(videos=4))
    with pytest.raises(BadSpec, match="open jobs"):
        order_learning(visitor, learn_order(clip_path))
    other = Place(workspace=shared, owner=shared.owner("b" * 32))
    order_learning(other, learn_order(clip_path))
    job = shared.jobs.cancel(order_learning(other, learn_order(clip_path)).key)  # its copy of the clip counts
    (shared.jobs.files(job.key) / "large").write_bytes(bytes(2000))
    monkeypatch.setattr("motion_transfer.workspace.FOR_A_VISITOR", replace(FOR_A_VISITOR, kept_mb=0.001))
    with pytest.raises(BadSpec, match="remove some jobs"):
        order_rendering(other, render_order())
    monkeypatch.setattr("motion_transfer.workspace.FOR_A_VISITOR", FOR_A_VISITOR)
    with monkeypatch.context() as later:
        later.setattr("motion_transfer.workspace.ENDED_JOB_SECONDS", -1.0)
        order_rendering(other, render_order())
    assert not (shared.jobs.folder / job.key).exists()  # it ended too long ago
    monkeypatch.setattr(Library, "size_mb", lambda _: FOR_A_VISITOR.kept_mb + 1)
    with pytest.raises(BadSpec, match="delete"):
        order_rendering(other, render_order())
    for _ in range(FOR_A_VISITOR.open_jobs + 1):
        order_rendering(Place(workspace=home, owner=""), render_order())


def test_what_was_deleted_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path, isolated=True)
    visitor = _visitor(workspace, 1)
    library = workspace.library(visitor.owner)
    in_bin = library.bin / "ticket" / "loras" / "large.safetensors"
    in_bin.parent.mkdir(parents=True)
    in_bin.write_bytes(bytes(20_000))
    order_rendering(visitor, render_order())
    assert in_bin.is_file()
    kept = library.loras / "kept.mp4"
    kept.parent.mkdir()
    kept.write_bytes(bytes(20_000))
    monkeypatch.setattr("motion_transfer.workspace.FOR_A_VISITOR", replace(FOR_A_VISITOR, kept_mb=0.01))
    with pytest.raises(BadSpec, match="may keep"):
        order_rendering(visitor, render_order())
    assert in_bin.is_file()  # for that would not have been enough
    kept.unlink()
    order_rendering(visitor, render_order())
    assert not in_bin.exists()


def test_a_visitor_learns_for_so_long(tmp_path: Path, clip_path: Path) -> None:
    long = learn_order(clip_path, knobs={"temporal_steps": 3000, "temporal_batch": 2})
    checked = learn_order(clip_path, knobs={"temporal_steps": 1000, "temporal_batch": 1, "check_every": 1})
    for order in (long, checked):
        with pytest.raises(BadSpec, match="fewer steps"):
            order_learning(_visitor(Workspace(tmp_path / "shared", isolated=True), 1), order)
    order_learning(Place(workspace=Workspace(tmp_path / "home"), owner=""), long)


def _visitor(workspace: Workspace, number: int) -> Place:
    return Place(workspace=workspace, owner=workspace.owner(f"{number:032}"))


def test_all_visitors_together_have_so_much_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever invents many tokens gets no more than that."""
    workspace = Workspace(tmp_path, isolated=True)
    for number in range(FOR_ALL_VISITORS.open_jobs // 8):
        order_rendering(_visitor(workspace, number), render_order(videos=8))
    with pytest.raises(BadSpec, match="all visitors together"):
        order_rendering(_visitor(workspace, 99), render_order())
    workspace.check_room(_visitor(workspace, 99).owner, 0)
    monkeypatch.setattr("motion_transfer.workspace.FOR_ALL_VISITORS", replace(FOR_ALL_VISITORS, kept_mb=0.0))
    with pytest.raises(BadSpec, match="some days"):
        workspace.check_room(_visitor(workspace, 99).owner, 0)


def test_jobs_that_nobody_is_at_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else paused ones would close a shared machine for good. What was ordered at home is not touched."""
    home, workspace = Workspace(tmp_path), Workspace(tmp_path, isolated=True)
    own = order_rendering(Place(workspace=home, owner=""), render_order())
    ended = home.jobs.cancel(order_rendering(Place(workspace=home, owner=""), render_order()).key)
    waiting, running = (order_rendering(_visitor(workspace, number), render_order()) for number in range(2))
    workspace.jobs.take([running.kind], running.owner)
    monkeypatch.setattr("motion_transfer.workspace.IDLE_JOB_SECONDS", -1.0)
    monkeypatch.setattr("motion_transfer.workspace.ENDED_JOB_SECONDS", -1.0)
    workspace.check_room(_visitor(workspace, 9).owner)
    assert {job.key for job in workspace.jobs.jobs()} == {own.key, ended.key, running.key} and waiting.key


def test_another_request_may_have_removed_a_job_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path, isolated=True)
    job = workspace.jobs.cancel(order_rendering(_visitor(workspace, 0), render_order()).key)
    monkeypatch.setattr("motion_transfer.workspace.ENDED_JOB_SECONDS", -1.0)
    listed = workspace.jobs.jobs

    def before_it_goes(*args: Any, **kwargs: Any) -> list[Job]:
        return [*listed(*args, **kwargs), *([job] if kwargs.get("states") == ENDED else [])]

    monkeypatch.setattr(workspace.jobs, "jobs", before_it_goes)
    workspace.check_room(_visitor(workspace, 1).owner)


def test_a_library_that_nobody_opens_is_removed(tmp_path: Path) -> None:
    workspace, long_ago = Workspace(tmp_path, isolated=True), time.time() - VISITOR_SECONDS - 60
    places = [_visitor(workspace, number) for number in range(5)]
    for place in places:
        library = workspace.library(place.owner)
        library.presets.mkdir(parents=True)
    order_rendering(places[1], render_order())  # has work under way
    (workspace.library(places[2].owner).presets / "new.json").write_text("{}")
    for number in (0, 1, 2, 3, 4):
        root = workspace.library(places[number].owner).presets.parent
        for path in (root, *root.iterdir())[: 1 if number == 2 else None]:
            os.utime(path, (long_ago, long_ago))
    workspace.greet(places[3].owner)  # who opens the page comes back in time,
    workspace.check_room(places[4].owner, 0)  # and who asks is there
    kept = [workspace.library(place.owner).presets.parent.exists() for place in places]
    assert kept == [False, True, True, True, True]


@pytest.mark.parametrize("isolated", [False, True])
def test_publishing_is_offered_where_somebody_can_log_in(tmp_path: Path, studio: Studio, isolated: bool) -> None:
    """Beside a motion that was chosen."""
    workspace = Workspace(tmp_path, isolated=isolated)
    key, app = workspace.library("").shipped_motions()[0].key, build_app(studio, workspace)
    parts = {getattr(block, "elem_id", None): block for block in app.blocks.values()}
    shown = next(event for event in app.fns.values() if event.fn and parts["publishing"] in event.outputs)
    assert not parts["publishing"].visible
    assert shown.fn("a" * 32 if isolated else None, MOTIONS, key)[-1].visible == (not isolated)
