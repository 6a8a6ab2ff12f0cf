"""Methods at equal tuning time: as many steps for each as fit into the same seconds on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean

from motion_transfer.contenders import Case, Contender
from motion_transfer.evaluate.stamps import ResultFile, Row, stamp
from motion_transfer.pipeline import Studio
from motion_transfer.processes import each
from motion_transfer.transfer import tune_work
from motion_transfer.types import TuneSpec
from motion_transfer.work import drive

TIMED_STEPS, TIMED_CASES = 20, 4
TIMED_BY = ("motion_transfer.transfer",)


def steps_within(studio: Studio, case: Case, seconds: float, learns: TuneSpec) -> tuple[int, int]:
    """Steps of both stages, in their own proportion, that fit into some seconds with all that comes before them."""

    def took(spec: TuneSpec) -> dict[str, float]:
        return drive(tune_work(studio.base, case.reference(), spec)).seconds

    few = replace(learns, spatial_steps=min(TIMED_STEPS, learns.spatial_steps), temporal_steps=TIMED_STEPS)
    took(replace(few, spatial_steps=min(1, few.spatial_steps), temporal_steps=2))  # a process's first steps are slow
    took_s = took(replace(few, gradient_draws=0))
    first_s = took_s["heads"] + took_s["encode"]
    if learns.gradient_draws:
        with_start_s = took(few)
        first_s += sum(max(0.0, with_start_s[stage] - took_s[stage]) for stage in ("spatial", "temporal"))
    each_s = {"spatial": took_s["spatial"] / max(1, few.spatial_steps), "temporal": took_s["temporal"] / TIMED_STEPS}
    whole_s = learns.spatial_steps * each_s["spatial"] + learns.temporal_steps * each_s["temporal"]
    factor = max(0.0, seconds - first_s) / whole_s
    return round(factor * learns.spatial_steps), max(1, round(factor * learns.temporal_steps))


def _timed(studio: Studio, seconds: float, one: tuple[Contender, Case]) -> tuple[int, int]:
    contender, case = one
    return steps_within(studio, case, seconds, contender.tune_spec(studio.base))


def _kept(studio: Studio, cases: Sequence[Case], seconds: float, num_processes: int, path: Path) -> ResultFile:
    settings = {
        "timed_steps": TIMED_STEPS,
        "timed_cases": [case.name for case in cases],
        "seconds": seconds,
        "processes": num_processes,
        "precision": studio.precision,
    }
    return ResultFile(path, stamp(modules=TIMED_BY, folders=[studio.spec.folder], settings=settings))


def _key(contender: Contender) -> str:
    settings = json.dumps(contender.settings(), sort_keys=True)
    return f"{contender.name}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


def _with_steps(contender: Contender, row: Row) -> Contender:
    if contender.learns is None:
        return contender
    steps = {name: int(row[name]) for name in ("spatial_steps", "temporal_steps")}  # type: ignore[arg-type]
    return replace(contender, learns=replace(contender.learns, **steps))


def of_equal_seconds(
    studio: Studio,
    cases: Sequence[Case],
    contenders: Sequence[Contender],
    seconds: float,
    path: Path,
    *,
    num_processes: int,
) -> list[Contender]:
    """The contenders with the steps that fit into some seconds of tuning; those that learn nothing as they are.

    One that checks what it has learned may end before, and its checks come on top.

    Args:
        studio: with the base.
        cases: some of them, evenly chosen, are what the contenders are timed on; the mean holds for all.
        contenders: with the proportion of their stages' steps.
        seconds: of tuning.
        path: JSON file of the steps, kept so that a benchmark that goes on later compares the same.
        num_processes: all of them work while timing, as in the benchmark.
    """
    cases = cases[:: max(1, len(cases) // TIMED_CASES)][:TIMED_CASES]
    kept = _kept(studio, cases, seconds, num_processes, path)
    new = [one for one in contenders if one.learns is not None and _key(one) not in kept.rows]
    found: dict[str, list[tuple[int, int]]] = {}
    rounds = [(one, case) for case in cases for one in new]
    for (one, _), steps in each(partial(_timed, studio, seconds), rounds, num_processes=num_processes):
        found.setdefault(_key(one), []).append(steps)
    for key, steps in found.items():
        spatial, temporal = (round(mean(of_stage)) for of_stage in zip(*steps, strict=True))
        kept.add(key, {"spatial_steps": spatial, "temporal_steps": temporal})
    return [_with_steps(one, kept.rows.get(_key(one), {})) for one in contenders]
