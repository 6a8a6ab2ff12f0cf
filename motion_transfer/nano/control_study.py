"""Why controls are learned as they are: what each part of learning one is for.

`python -m motion_transfer.nano study-controls` remakes `docs/results/control-study.json` and `.md`, variant by variant,
and goes on where it was stopped: how the strength reaches the network, which blocks learn, whether layers are made
equally loud, from how many clips. Each variant learns one control and shows it at seven strengths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from motion_transfer.evaluate.amplitude import amplitudes
from motion_transfer.evaluate.linearity import Reading, linearity
from motion_transfer.evaluate.resumed import conclude
from motion_transfer.evaluate.stamps import ResultFile, Row, stamp
from motion_transfer.evaluate.tables import paired_interval
from motion_transfer.lora.files import load_lora, save_lora
from motion_transfer.methods.lion_strength import ARMS, UNKEPT_ARMS, ControlSpec, learn_control
from motion_transfer.model.strength import Acting
from motion_transfer.nano.controls import NUM_CLIPS, cases, examples, levels, opened, spec_of
from motion_transfer.processes import each
from motion_transfer.transfer import carried_work
from motion_transfer.types import Lora, Progress, RenderSpec, Work
from motion_transfer.video.kept import RENDERS
from motion_transfer.video.synth.controls import CONTROLS
from motion_transfer.work import drive

STOPS, NUM_CASES = 7, 8
SHALLOW, DEEP = (0, 1, 2, 3), (4, 5, 6, 7)
CLIP_COUNTS = (8, 16, 32, 64)
OWN = "own"  # column: the control's own amplitude, in units of its most
OURS, VANILLA = "ours", "arm vanilla"
USUAL_LORAS = RENDERS / "usual-loras"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A control, learned in one way."""

    name: str
    control: str
    spec: ControlSpec
    clips: int = NUM_CLIPS


def variants() -> Iterator[Variant]:
    """All that are compared, by the control that is learned."""
    for control in ("pan", "zoom"):
        ours = spec_of(CONTROLS[control])
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
        yield Variant(name=VANILLA, control=control, spec=replace(spec_of(CONTROLS[control]), arm="vanilla"))
    for clips in CLIP_COUNTS:
        yield Variant(name=f"{clips} clips", control="pan", spec=spec_of(CONTROLS["pan"]), clips=clips)


def key_of(control: str, name: str) -> str:
    """Of a variant, in the results."""
    return f"{control}, {name}"


def file_name(control: str, name: str) -> str:
    """Of a variant's LoRA."""
    return f"{key_of(control, name)}.safetensors".replace(", ", "-").replace(" ", "-")


def _key(variant: Variant) -> str:
    return key_of(variant.control, variant.name)


def _studied(loras: Path, variant: Variant) -> list[Row]:
    """Learns a variant and shows it at all strengths; keeps the LoRA that is learned in the usual way."""
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

    lora = drive(learn_control(base, list(examples(base, control, variant.clips)), variant.spec, show))
    if variant.name == VANILLA:
        save_lora(lora, loras / study_stamp() / file_name(variant.control, variant.name))
    return rows


def _usual(control: str) -> Lora:
    spec = replace(spec_of(CONTROLS[control]), arm="vanilla")
    whole = examples(opened(), CONTROLS[control], strengths=(1.0,))
    return drive(learn_control(opened(), list(whole), spec))


def usual_loras(controls: Sequence[str], folder: Path = USUAL_LORAS, num_processes: int = 2) -> dict[str, Lora]:
    """LoRAs of single motions, learned in the usual way; those that today's code has not learned yet are learned.

    Args:
        controls: their names.
        folder: where they are kept.
        num_processes: that share the work.
    """
    kept_in = folder / study_stamp()
    kept_in.mkdir(parents=True, exist_ok=True)
    paths = {name: kept_in / file_name(name, VANILLA) for name in controls}
    missing = [name for name, path in paths.items() if not path.is_file()]
    for name, lora in each(_usual, missing, num_processes=num_processes):
        save_lora(lora, paths[name])
    return {name: load_lora(path) for name, path in paths.items()}


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


def summary(rows: Mapping[str, Row]) -> dict[str, Any]:
    """By variant: its curve, and how much further its readings lie off the line than ours, with a 95% interval."""
    of: dict[str, list[Row]] = {}
    for row in rows.values():
        of.setdefault(str(row["variant"]), []).append(row)
    found = {}
    for name, some in of.items():
        found[name] = _curve(some)
        ours = of.get(f"{name.split(', ')[0]}, {OURS}")
        if ours is not None and ours is not some:
            theirs, own = by_prompt_error(some), by_prompt_error(ours)
            more = [theirs[prompt] - own[prompt] for prompt in own if prompt in theirs]
            interval = paired_interval(more)
            found[name] |= {"further off": round(mean(more), 4) if more else None,
                            "interval": None if interval is None else [round(end, 4) for end in interval]}  # fmt: skip
    return found


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
    )
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, one in found.items():
        percent = [f"{100 * one[key]:.1f}" for key in ("nonlinearity", "offset", "slope_spread")]
        more = "" if one.get("further off") is None else f"{one['further off']:+.3f}"
        if one.get("interval"):
            more += " ({:+.3f} to {:+.3f})".format(*one["interval"])
        slope, r2 = f"{one['slope']:.2f}", f"{one['r2']:.3f}"
        lines.append(f"| {' | '.join((name, slope, r2, *percent, more))} |")
    return "\n".join(lines) + "\n"


def study_controls(results: Path, num_processes: int = 2, loras: Path = USUAL_LORAS) -> dict[str, Any]:
    """Learns and shows all variants; writes `control-study.json` and `.md`, and goes on where it was stopped.

    Args:
        results: where the figures go.
        num_processes: that share the variants.
        loras: where LoRAs that are learned in the usual way go.
    """
    file = ResultFile(results / "control-study.json", study_stamp())
    rows_of = Counter(str(row["variant"]) for row in file.rows.values())
    done = {name for name, count in rows_of.items() if count == NUM_CASES * STOPS}
    missing = [variant for variant in variants() if _key(variant) not in done]
    (loras / file.stamp).mkdir(parents=True, exist_ok=True)
    for variant, rows in each(partial(_studied, loras), missing, num_processes=num_processes):
        for number, row in enumerate(rows):
            file.add(f"{_key(variant)} {number}", {"variant": _key(variant), **row})
        print(_key(variant), flush=True)
    return conclude(file, summary, table)
