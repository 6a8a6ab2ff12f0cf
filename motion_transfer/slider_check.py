"""Is the motion strength of a motion that was learned from one clip a slider?

`python -m motion_transfer check-sliders` remakes `docs/results/sliders.json` and `sliders.md`: twelve clips of the
benchmark, learned with and without slower examples and as a plain LoRA, each shown at seven strengths from 0 to 1.5 on
other content. What counts is how fast things move on screen, over how fast they do in the true clip with that content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from motion_transfer.contenders import seed_of
from motion_transfer.evaluate.amplitude import speed_seen
from motion_transfer.evaluate.bench_row import measured
from motion_transfer.evaluate.linearity import Reading, linearity
from motion_transfer.evaluate.motionbench import SIZE_PX, BenchCase, Target, bench_cases
from motion_transfer.evaluate.resumed import conclude
from motion_transfer.evaluate.stamps import ResultFile, Row, stamp
from motion_transfer.evaluate.tables import paired_interval
from motion_transfer.lineup import EVENLY, NAIVE
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.catalog import find_base
from motion_transfer.processes import each
from motion_transfer.transfer import render_work, tune_work
from motion_transfer.types import Clip, RenderSpec, TuneSpec
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS
from motion_transfer.work import drive

BASE, PRECISION = "nano", "nf4"
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
PLAIN, SCALED, SLOWER = "plain LoRA", "ours, scaled", "ours, learned slower too"
LEARNS = {PLAIN: NAIVE, SCALED: TuneSpec(), SLOWER: TuneSpec(slow_share=0.4, temporal_steps=195)}
RENDERS: Mapping[str, Mapping[str, float]] = {PLAIN: EVENLY, SCALED: {}, SLOWER: {}}
AMPLITUDE, FIDELITY = "amplitude", "motion_fidelity"
KINDS = ("camera", "single", "multiple")  # a gait is no way across the picture
PER_KIND, MIN_SPEED = 4, 0.1  # clips, and how fast things move in them at least, in frame widths a second


@dataclass(frozen=True, kw_only=True)
class Item:
    """A clip of the benchmark, learned in one way."""

    way: str
    number: int


@lru_cache(maxsize=1)
def _base() -> VideoBase:
    return open_base(BASE, precision=PRECISION, device="cpu")


@lru_cache(maxsize=1)
def slider_cases() -> tuple[BenchCase, ...]:
    """The first clips of each kind of the benchmark in which things go fast enough to be told slower from faster."""
    found: list[BenchCase] = []
    for kind in KINDS:
        fast = (case for case in bench_cases() if case.kind == kind and _true_speed(case, case.targets[0]) >= MIN_SPEED)
        found += islice(fast, PER_KIND)
    return tuple(found)


def _true(case: BenchCase, target: Target) -> Clip:
    return Clip(frames_THWC=draw([target.scene(case)], SIZE_PX)[0].numpy(), fps=FPS)


def _true_speed(case: BenchCase, target: Target) -> float:
    """Of the slowest of the target's things."""
    return min(speed_seen(_true(case, target), look) or 0.0 for look in target.looks)


def speed_over_true(render: Clip, case: BenchCase, target: Target) -> float | None:
    """How fast the target's things move on screen over how fast they should, on average; None where none is seen."""
    true, found = _true(case, target), []
    for look in target.looks:
        shown, wanted = (speed_seen(clip, look) for clip in (replace(render, fps=FPS), true))
        if shown is not None and wanted:
            found.append(shown / wanted)
    return mean(found) if found else None


def _shown(num_prompts: int, item: Item) -> list[Row]:
    """Learns a clip and shows it at all strengths."""
    case, base = slider_cases()[item.number], _base()
    reference = case.reference()
    spec = replace(LEARNS[item.way], caption=reference.caption, seed=seed_of(0, case.name))
    lora, rows = drive(tune_work(base, reference, spec)).lora, list[Row]()
    for target in case.targets[:num_prompts]:
        for strength in STRENGTHS:
            asked = RenderSpec(prompt=target.prompt, seed=seed_of(0, case.name, target.prompt), strength=strength)
            render = drive(render_work(base, lora, replace(asked, **RENDERS[item.way])))  # type: ignore[arg-type]
            row: dict[str, float | str | None] = {
                "way": item.way, "clip": case.name, "prompt": target.prompt, "strength": strength,
                AMPLITUDE: speed_over_true(render, case, target),
            }  # fmt: skip
            if strength == 1.0:
                whole = measured(reference, render, prompt=target.prompt, scene=case.scene, looks=target.looks)
                row[FIDELITY] = whole[FIDELITY]
            rows.append(row)
    return rows


def sliders_stamp(num_prompts: int) -> str:
    """What the figures follow from."""
    return stamp(modules=[__name__], folders=[find_base(BASE).folder], settings={"prompts": num_prompts})


def _readings(rows: Sequence[Row]) -> list[Reading]:
    return [Reading(prompt=f"{row['clip']} {row['prompt']}", strength=_number(row, "strength"),
                    amplitude=_number(row, AMPLITUDE)) for row in rows if row[AMPLITUDE] is not None]  # fmt: skip


def _number(row: Row, column: str) -> float:
    return float(row[column] or 0.0)


def _by_clip(rows: Sequence[Row]) -> dict[str, float]:
    """Mean fidelity at strength 1 of each clip."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.get(FIDELITY) is not None:
            found.setdefault(str(row["clip"]), []).append(_number(row, FIDELITY))
    return {clip: mean(values) for clip, values in sorted(found.items())}


def _summary_of(rows: Sequence[Row], plain: Mapping[str, float] | None) -> dict[str, Any]:
    """Of one way; `plain` is the plain LoRA's fidelity by clip."""
    readings, whole = _readings(rows), _by_clip(rows)
    one: dict[str, Any] = {name: round(value, 4) for name, value in vars(linearity(readings, own_slopes=False)).items()}
    one["shown"] = [round(mean(r.amplitude for r in readings if r.strength == strength), 4) for strength in STRENGTHS]
    one["read"] = round(len(readings) / len(rows), 4)
    one["fidelity at 1"] = round(mean(whole.values()), 4)
    more = [whole[clip] - plain[clip] for clip in whole if clip in plain] if plain is not None else []
    interval = paired_interval(more)
    one["beside the plain LoRA"] = round(mean(more), 4) if more else None
    one["interval"] = None if interval is None else [round(end, 4) for end in interval]
    return one


def summary(rows: Mapping[str, Row]) -> dict[str, Any]:
    """By way of learning: how linear the slider is, what it shows at each strength, fidelity at 1 beside the plain
    LoRA's, paired by clip, with a 95% interval.

    One line for all clips: strength 1 should show the true speed whatever the clip.
    """
    of = {way: [row for row in rows.values() if row["way"] == way] for way in LEARNS}
    plain = _by_clip(of[PLAIN])
    return {way: _summary_of(some, None if way == PLAIN else plain) for way, some in of.items() if some}


def table(found: Mapping[str, Any]) -> str:
    """The summary as a table in Markdown."""
    head = ("learned as", "R2", "INL %", "offset %", *(f"at {strength:g}" for strength in STRENGTHS), "fidelity at 1",
            "beside the plain LoRA")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for way, one in found.items():
        percent = [f"{100 * one[key]:.1f}" for key in ("nonlinearity", "offset")]
        beside = "" if one["beside the plain LoRA"] is None else f"{one['beside the plain LoRA']:+.3f}"
        if one["interval"]:
            beside += " ({:+.3f} to {:+.3f})".format(*one["interval"])
        cells = (way, f"{one['r2']:.3f}", *percent, *(f"{shown:.2f}" for shown in one["shown"]),
                 f"{one['fidelity at 1']:.3f}", beside)  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def check_sliders(num_prompts: int, results: Path, num_processes: int = 2) -> dict[str, Any]:
    """Learns, renders and measures; writes `sliders.json` and `sliders.md`, going on where it was stopped.

    Args:
        num_prompts: contents of each clip, 1 to 4.
        results: where the figures go.
        num_processes: that share the clips.
    """
    file = ResultFile(results / "sliders.json", sliders_stamp(num_prompts))
    missing = [item for number in range(len(slider_cases())) for way in LEARNS
               if f"{way} {number} {num_prompts * len(STRENGTHS) - 1}" not in file.rows
               for item in [Item(way=way, number=number)]]  # fmt: skip
    for item, rows in each(partial(_shown, num_prompts), missing, num_processes=num_processes):
        for place, row in enumerate(rows):
            file.add(f"{item.way} {item.number} {place}", row)
        print(f"{item.way}, clip {item.number}", flush=True)
    return conclude(file, summary, table)
