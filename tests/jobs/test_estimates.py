"""Estimates: right for the same settings, in proportion for others, none from what can't tell."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from motion_transfer.jobs.estimates import estimate_rendering, estimate_tuning, ran_on, with_room
from motion_transfer.jobs.store import CANCELLED, DONE, Job
from motion_transfer.lora.files import save_lora
from motion_transfer.model.catalog import find_base
from motion_transfer.planner import Planned
from motion_transfer.types import Lora, LowRank, RenderSpec, TuneSpec

BASE = find_base("nano")
SPEC = TuneSpec(spatial_steps=50, temporal_steps=200, gradient_draws=0)
SECONDS = {"encode": 1.0, "heads": 2.0, "spatial": 5.0, "temporal": 60.0}
STEPS = {"spatial": 50, "temporal": 200}


def _job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "key": "k", "kind": "tune", "owner": "", "title": "", "orders": {"spec": asdict(SPEC)}, "state": DONE,
        "wish": "", "place": 1.0, "made_s": 0.0, "begun_s": 0.0, "told_s": 0.0, "ended_s": 1.0, "worked_s": 70.0,
        "stage": "", "step": 0, "total": 0, "rate": None, "loss": None, "peak_memory_mb": 800.0, "tries": 1,
        "note": "", "results": {"seconds": SECONDS, "steps": STEPS, "ran_on": ran_on("nano", "nf4")},
    }  # fmt: skip
    return Job(**values | changes)


def _estimate(past: list[Job], spec: TuneSpec = SPEC) -> Any:
    return estimate_tuning(past, BASE, "nf4", spec)


def test_the_same_settings_take_the_same() -> None:
    found = _estimate([_job()])
    assert found.seconds == pytest.approx(68.0) and found.memory_mb == 800.0 and found.num_jobs == 1


def test_other_settings_take_in_proportion() -> None:
    spec = replace(SPEC, temporal_steps=100, temporal_batch=4, spatial_steps=0)
    assert _estimate([_job()], spec).seconds == pytest.approx(1 + 2 + 60)
    assert _estimate([_job()], replace(SPEC, sparse_latents=13)).seconds == pytest.approx(68.0)
    assert _estimate([_job()], replace(SPEC, sparse_latents=7)).seconds == pytest.approx(8 + 60 * 7 / 13)
    longer = SECONDS["spatial"] + SECONDS["temporal"] / 4  # 50 draws before each stage, whose steps are 50 and 200
    assert _estimate([_job()], replace(SPEC, gradient_draws=50)).seconds == pytest.approx(68.0 + longer)


def test_the_median_of_the_latest_counts() -> None:
    slow = {**SECONDS, "temporal": 600.0}
    results = {"seconds": slow, "steps": STEPS, "ran_on": ran_on("nano", "nf4")}
    assert _estimate([_job(), _job(results=results), _job()]).seconds == pytest.approx(68.0)
    new = [_job(results=results, ended_s=10.0 + i) for i in range(5)]
    assert _estimate([_job()] * 9 + new).seconds == pytest.approx(608.0)


def test_a_job_that_was_interrupted_tells_the_pace_of_what_it_did_last() -> None:
    late = {"encode": 1.0, "heads": 2.0, "spatial": 0.1, "temporal": 30.0}
    results = {"seconds": late, "steps": {"temporal": 100}, "ran_on": ran_on("nano", "nf4")}
    assert _estimate([_job(results=results, tries=2)]).seconds is None  # nothing is known of the first stage
    assert _estimate([_job(results=results, tries=2), _job()]).seconds == pytest.approx(68.0)


def test_renders_take_as_long_as_those_before() -> None:
    spec = RenderSpec(steps=10)
    results = {"seconds": {"open": 3.0, "render": 20.0, "judge": 2.0}, "steps": {"render": 10}, "file_mb": 0.5,
               "ran_on": ran_on("nano", "nf4")}  # fmt: skip
    past = [_job(), _job(kind="render", orders={"spec": asdict(spec)}, results=results)]
    found = estimate_rendering(past, BASE, "nf4", replace(spec, steps=20), 3)
    assert found.seconds == pytest.approx(3 * (5 + 40)) and found.kept_mb == 1.5 and found.num_jobs == 1
    unguided = replace(spec, guidance=1.0, early_guidance=1.0)
    assert estimate_rendering(past, BASE, "nf4", unguided).seconds == pytest.approx(5 + 10)
    unknown = estimate_rendering([], BASE, "nf4", spec)
    assert unknown.seconds is None and unknown.num_jobs == 0 and 0 < unknown.kept_mb < 1


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    found = estimate_rendering([], BASE, "nf4", RenderSpec())
    assert with_room(found, tmp_path / "not" / "there").no_room is None
    assert with_room(replace(found, disk_mb=1e15), tmp_path).no_room


def test_a_lora_is_as_large_as_what_it_holds() -> None:
    plain, no_output, both = (_estimate([], replace(SPEC, **changes)) for changes in (
        {}, {"include_output": False}, {"keep": "both"}))  # fmt: skip
    assert no_output.kept_mb == pytest.approx(0.75 * plain.kept_mb) and both.kept_mb == 2 * plain.kept_mb
    assert both.disk_mb - both.kept_mb == plain.disk_mb - plain.kept_mb


@pytest.mark.parametrize(
    "changes", [{"state": CANCELLED}, {"kind": "render"}, {"results": {"seconds": SECONDS}},
                {"results": {"seconds": SECONDS, "steps": STEPS, "ran_on": ran_on("nano", "bf16")}}]
)  # fmt: skip
def test_what_cannot_tell_does_not_count(changes: dict[str, Any]) -> None:
    found = _estimate([_job(**changes)])
    assert found.seconds is None and found.memory_mb is None and found.num_jobs == 0


def test_the_lora_is_as_large_as_said(tmp_path: Path) -> None:
    paths = [f"blocks.{i}.attn1.{name}" for i in range(8) for name in ("to_q", "to_k", "to_v", "to_out.0")]
    layers = {path: LowRank(down_RI=torch.zeros(8, 256), up_OR=torch.zeros(256, 8)) for path in paths}
    save_lora(Lora(layers=layers, info={}), tmp_path / "lora.safetensors")
    size_mb = (tmp_path / "lora.safetensors").stat().st_size / 1e6
    assert _estimate([], replace(SPEC, rank=8)).kept_mb == pytest.approx(size_mb, rel=0.05)


def test_before_the_first_job_a_plan_tells() -> None:
    plan = Planned(memory_mb=9000.0, seconds=300.0, fits=False)
    found = estimate_tuning([], BASE, "nf4", SPEC, plan)
    assert (found.seconds, found.memory_mb, found.tight, found.num_jobs) == (300.0, 9000.0, True, 0)
    told = estimate_tuning([_job()], BASE, "nf4", SPEC, plan)
    assert (told.seconds, told.memory_mb, told.tight) == (pytest.approx(68.0), 800.0, None)
    renders = estimate_rendering([], BASE, "nf4", RenderSpec(), 3, plan)
    assert (renders.seconds, renders.memory_mb, renders.tight) == (900.0, 9000.0, True)
    assert estimate_tuning([], BASE, "nf4", SPEC, replace(plan, fits=True)).tight is None
