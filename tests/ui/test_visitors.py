"""A shared machine: visitors see their own things only, and have so much room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from motion_transfer.errors import BadSpec
from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.ui.desk import Place
from motion_transfer.ui.learn import (
    order_learning,
)
from motion_transfer.ui.render import (
    look_at_rendering,
    order_rendering,
)
from motion_transfer.workspace import FOR_VISITORS, UnknownVisitor, Workspace
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
