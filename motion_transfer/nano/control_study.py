"""Why controls are learned as they are: what each part of learning one is for.

`python -m motion_transfer.nano study-controls` remakes `docs/results/control-study.json` and `.md`, variant by variant,
and goes on where it was stopped: how the strength reaches the network, which blocks learn, whether layers are made
equally loud, from how many clips. Each variant learns one control, for a shorter time than those that ship, and shows
it at seven strengths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from statistics import mean
from typing import Any

from motion_transfer.evaluate.amplitude import amplitudes
from motion_transfer.evaluate.linearity import Reading, linearity
from motion_transfer.evaluate.resumed import conclude
from motion_transfer.evaluate.stamps import ResultFile, Row, stamp
from motion_transfer.evaluate.tables import paired_interval
from motion_transfer.methods.lion_strength import ARMS, UNKEPT_ARMS, ControlSpec, Example, learn_control
from motion_transfer.model.strength import Acting
from motion_transfer.nano.controls import cases, examples, levels, opened, spec_of
from motion_transfer.processes import each
from motion_transfer.transfer import carried_work
from motion_transfer.types import Progress, RenderSpec, Work
from motion_transfer.video.synth.controls import CONTROLS
from motion_transfer.work import drive

STOPS, NUM_CASES = 7, 8
STEPS, CLIPS = 600, 64  # of each variant
SHALLOW, DEEP = (0, 1, 2, 3), (4, 5, 6, 7)
CLIP_COUNTS = (8, 16, 32)
LEAST_OWN = 0.05  # of its most: a control that moves less is counted as if it moved so
OWN = "own"  # column: the control's own amplitude, in units of its most
OURS, VANILLA = "ours", "arm vanilla"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A control, learned in one way."""

    name: str
    control: str
    spec: ControlSpec
    clips: int = CLIPS


def _ours(control: str) -> ControlSpec:
    return replace(spec_of(CONTROLS[control]), steps=STEPS)


def variants() -> Iterator[Variant]:
    """All that are compared, by the control that is learned."""
    for control in ("pan", "zoom"):
        ours = _ours(control)
        twice = 2 * ours.rank  # half as many blocks, as many parameters
        yield Variant(name=OURS, control=control, spec=ours)
        for arm in (*ARMS, *UNKEPT_ARMS):
            if arm != ours.arm:
                yield Variant(name=f"arm {arm}", control=control, spec=replace(ours, arm=arm))
        loudness = "uneven layers" if ours.even else "even layers"
        yield Variant(name=loudness, control=control, spec=replace(ours, even=not ours.even))
        yield Variant(name="shallow blocks", control=control, spec=replace(ours, blocks=SHALLOW, rank=twice))
        yield Variant(name="deep blocks", control=control, spec=replace(ours, blocks=DEEP, rank=twice))
    for control in ("tilt", "speed"):  # with the others, what `control-features` looks at
        yield Variant(name=VANILLA, control=control, spec=replace(_ours(control), arm="vanilla"))
    for clips in CLIP_COUNTS:
        yield Variant(name=f"{clips} clips", control="pan", spec=_ours("pan"), clips=clips)


def key_of(control: str, name: str) -> str:
    """Of a variant, in the results."""
    return f"{control}, {name}"


def _key(variant: Variant) -> str:
    return key_of(variant.control, variant.name)


@lru_cache(maxsize=1)
def _examples(control: str, clips: int) -> list[Example]:
    return list(examples(opened(), CONTROLS[control], clips))


def _studied(compiled: bool, variant: Variant) -> list[Row]:
    """Learns a variant and shows it at all strengths."""
    base, control = opened(), CONTROLS[variant.control]
    rows: list[Row] = []

    def show(feel: Callable[[float], None], acting: Sequence[Acting]) -> Work[None]:
        for case in cases(control, NUM_CASES, "study"):
            for strength in levels(control, STOPS):
                feel(strength)
                spec = RenderSpec(prompt=case.prompt, seed=case.seed)
                clip = yield from carried_work(base, spec, tokens=acting)
                found = amplitudes(clip, case.look)
                shown = {name: None if found[name] is None else round(found[name] / CONTROLS[name].most, 5)
                         for name in CONTROLS}  # fmt: skip
                rows.append({"prompt": case.prompt, "strength": round(strength, 6), OWN: shown[control.name], **shown})
                yield Progress(stage="study", step=len(rows), total=NUM_CASES * STOPS)

    drive(learn_control(base, _examples(control.name, variant.clips), variant.spec, show, compiled=compiled))
    return rows


def study_stamp() -> str:
    """What the figures follow from."""
    return stamp(modules=[__name__], folders=[opened().spec.folder], settings={})


def _curve(rows: list[Row]) -> dict[str, Any]:
    readings = [Reading(prompt=str(row["prompt"]), strength=float(row["strength"]), amplitude=float(own))
                for row in rows if (own := row[OWN]) is not None]  # fmt: skip
    return {name: round(value, 4) for name, value in vars(linearity(readings)).items()} | {"read": len(readings)}


def by_prompt_error(rows: list[Row]) -> dict[str, float]:
    """Mean distance of each prompt's readings from its own line, over the line's range."""
    found = {}
    for prompt in sorted({str(row["prompt"]) for row in rows}):
        own = [row for row in rows if row["prompt"] == prompt and row[OWN] is not None]
        if len({row["strength"] for row in own}) > 2:
            readings = [Reading(prompt=prompt, strength=float(r["strength"]), amplitude=float(r[OWN])) for r in own]  # type: ignore[arg-type]
            found[prompt] = linearity(readings).worst
    return found


def by_prompt_leak(rows: Sequence[Row], control: str) -> dict[str, float]:
    """How much other cameras' motion changes from the least strength to 1, over how much the control's own does.

    Returns:
        By prompt the mean over the others, of those that go backwards too; the control's own is its mean over prompts.
    """
    others = [name for name, one in CONTROLS.items() if one.reversible and name != control]
    ends = {prompt: {float(row["strength"]): row for row in rows if row["prompt"] == prompt}  # type: ignore[arg-type]
            for prompt in sorted({str(row["prompt"]) for row in rows})}  # fmt: skip

    def change(prompt: str, column: str) -> float | None:
        low, high = (ends[prompt][end(ends[prompt])][column] for end in (min, max))
        return None if low is None or high is None else float(high) - float(low)

    own = [found for prompt in ends if (found := change(prompt, OWN)) is not None]
    leaks = {}
    for prompt in ends:
        found = [abs(one) for name in others if (one := change(prompt, name)) is not None]
        if found and own:
            leaks[prompt] = mean(found) / max(abs(mean(own)), LEAST_OWN)
    return leaks


def _beside(theirs: Mapping[str, float], own: Mapping[str, float]) -> tuple[float | None, list[float] | None]:
    """Mean difference over the prompts that both have, with its 95% interval."""
    more = [theirs[prompt] - own[prompt] for prompt in own if prompt in theirs]
    interval = paired_interval(more)
    return round(mean(more), 4) if more else None, None if interval is None else [round(end, 4) for end in interval]


def summary(rows: Mapping[str, Row]) -> dict[str, Any]:
    """By variant: its curve and cross-talk, and how much further its readings lie off the line than ours and how much
    more it leaks, with 95% intervals.
    """
    of: dict[str, list[Row]] = {}
    for row in rows.values():
        of.setdefault(str(row["variant"]), []).append(row)
    found = {}
    for name, some in of.items():
        control = name.split(", ")[0]
        leaks = by_prompt_leak(some, control)
        found[name] = _curve(some) | {"crosstalk": round(mean(leaks.values()), 4) if leaks else None}
        ours = of.get(key_of(control, OURS))
        if ours is not None and ours is not some:
            further, interval = _beside(by_prompt_error(some), by_prompt_error(ours))
            leaking, leak_interval = _beside(leaks, by_prompt_leak(ours, control))
            found[name] |= {"further off": further, "interval": interval,
                            "leaks more": leaking, "leak interval": leak_interval}  # fmt: skip
    return found


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    ends = "" if not interval else " ({:+.3f} to {:+.3f})".format(*interval)
    return "" if value is None else f"{value:+.3f}{ends}"


def table(found: Mapping[str, Any]) -> str:
    """The summary as a table in Markdown."""
    head = (
        "control, variant",
        "shown at 1",
        "R2",
        "INL %",
        "offset %",
        "slope spread %",
        "further off than ours",
        "cross-talk",
        "beside ours",
    )
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, one in found.items():
        percent = [f"{100 * one[key]:.1f}" for key in ("nonlinearity", "offset", "slope_spread")]
        beside = [_with_interval(one.get(value), one.get(interval))
                  for value, interval in (("further off", "interval"), ("leaks more", "leak interval"))]  # fmt: skip
        leak = "" if one["crosstalk"] is None else f"{one['crosstalk']:.3f}"
        cells = (name, f"{one['slope']:.2f}", f"{one['r2']:.3f}", *percent, beside[0], leak, beside[1])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def study_controls(results: Path, num_processes: int = 2, compiled: bool = False) -> dict[str, Any]:
    """Learns and shows all variants; writes `control-study.json` and `.md`, and goes on where it was stopped.

    Args:
        results: where the figures go.
        num_processes: that share the variants.
        compiled: learn with compiled blocks, in half the time.
    """
    file = ResultFile(results / "control-study.json", study_stamp())
    rows_of = Counter(str(row["variant"]) for row in file.rows.values())
    done = {name for name, count in rows_of.items() if count == NUM_CASES * STOPS}
    missing = [variant for variant in variants() if _key(variant) not in done]
    for variant, rows in each(partial(_studied, compiled), missing, num_processes=num_processes):
        for number, row in enumerate(rows):
            file.add(f"{_key(variant)} {number}", {"variant": _key(variant), **row})
        print(_key(variant), flush=True)
    return conclude(file, summary, table)
