"""Small orders on a toy base, and what comes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from motion_transfer.jobs.store import RUNNING, Job
from motion_transfer.jobs.worker import Worker
from motion_transfer.ui.desk import Place
from motion_transfer.ui.learn import (
    LearnOrder,
    LearnView,
    look_at_learning,
    order_learning,
)
from motion_transfer.ui.render import (
    MixOrder,
    RenderView,
    in_places,
    look_at_rendering,
    order_rendering,
)

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


def render_order(**changes: Any) -> MixOrder:
    """`motions` are keys and strengths."""
    values: dict[str, Any] = {"prompt": "a green star on a white background", "seed": 3}
    places = in_places(changes.pop("motions", []))
    return MixOrder(**values | places | {"knobs": {"steps": 2, "guidance": 2.0}} | changes)


def learn(place: Place, worker: Worker, order: LearnOrder) -> LearnView:
    job = order_learning(place, order)
    worker.work()
    view = look_at_learning(place, job.key, None)
    assert view is not None
    return view


def render(place: Place, worker: Worker, order: MixOrder) -> RenderView:
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
