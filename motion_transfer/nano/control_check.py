"""Are the controls' sliders linear, and do they leave each other alone?

`python -m motion_transfer.nano check-controls` remakes `docs/results/controls.json` and `controls.md`. Every control is
rendered at seven strengths, with and without its curve, with contents that neither learning nor its curve saw; the
bare base too, for how well renders fit their prompts and how steady they are; and all controls loaded at once, one of
them set and the others at 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from motion_transfer.evaluate.amplitude import PAN, SHAKE, SPEED, TILT, ZOOM, amplitudes
from motion_transfer.evaluate.camera_motion import camera_error, true_camera_path
from motion_transfer.evaluate.checker import find_object
from motion_transfer.evaluate.embedders import world_embedder
from motion_transfer.evaluate.flicker import flicker
from motion_transfer.evaluate.linearity import Reading, linearity
from motion_transfer.evaluate.resumed import conclude, measure_missing
from motion_transfer.evaluate.stamps import ResultFile, Row, stamp
from motion_transfer.evaluate.text_match import text_match
from motion_transfer.evaluate.thing_camera import camera_by_thing
from motion_transfer.lora.algebra import uncalibrated
from motion_transfer.lora.files import load_lora
from motion_transfer.methods.lion_fusion import compile_mix
from motion_transfer.nano.controls import PREFIX, SHIPPED, Case, cases, levels, opened, rendered
from motion_transfer.types import Clip, Lora, Mix
from motion_transfer.video.kept import RENDERS, kept
from motion_transfer.video.synth.controls import CONTROLS, Control

STOPS = 7
SEEDS = 2
BEFORE, AFTER, BARE, LOADED = "before", "after", "bare", "loaded"  # how a row was rendered
LOADED_SEEDS = 1
AMPLITUDE = "amplitude of "  # before a control's name: a row's column, in units of the control's most


@dataclass(frozen=True, kw_only=True)
class Item:
    """One render: which control is how strong, with what, and what else is loaded."""

    way: str
    control: str
    strength: float
    number: int  # of the content
    seed: int

    @property
    def key(self) -> str:
        """Of its row, and of its file."""
        return f"{self.way} {self.control} {self.number} {self.seed} {self.strength:+.3f}"


def items(num_contents: int) -> Iterator[Item]:
    """All renders of a check."""
    for name in SHIPPED:
        control = CONTROLS[name]
        for number in range(num_contents):
            for seed in range(SEEDS):
                yield Item(way=BARE, control=name, strength=0.0, number=number, seed=seed)
                for strength in levels(control, STOPS):
                    for way in (BEFORE, AFTER):
                        yield Item(way=way, control=name, strength=strength, number=number, seed=seed)
            for seed in range(LOADED_SEEDS):
                for strength in sorted({control.lowest, 0.0, 1.0}):
                    yield Item(way=LOADED, control=name, strength=strength, number=number, seed=seed)


@lru_cache(maxsize=1)
def _loras(folder: Path) -> Mapping[str, Lora]:
    return {name: load_lora(folder / f"{PREFIX}{name}.safetensors") for name in SHIPPED}


def _case(item: Item) -> Case:
    return cases(CONTROLS[item.control], item.number + 1, "check", seeds=item.seed + 1)[-1]


def _render(loras: Path, item: Item) -> Clip:
    lora, case = _loras(loras)[item.control], _case(item)
    if item.way == BARE:
        return rendered(None, 1.0, case)
    if item.way == LOADED:
        mix = Mix(items=tuple((other, item.strength if name == item.control else 0.0)
                              for name, other in _loras(loras).items()))  # fmt: skip
        return rendered(compile_mix(mix), 1.0, case)
    return rendered(lora if item.way == AFTER else uncalibrated(lora), item.strength, case)


def _off(clip: Clip, item: Item, amount: float) -> float | None:
    """How far the camera is from the true one with such a motion, in percent of the width; None where neither knows."""
    control, case = CONTROLS[item.control], _case(item)
    if control.name in (SHAKE, SPEED):
        return None
    found_T4 = camera_by_thing(find_object(clip.frames_THWC, case.look[1], case.look[0]))
    if found_T4 is None or np.isnan(found_T4).all(0).any():
        return None
    true = case.shown(control, amount, f"check/{control.name}/{item.number}")
    return camera_error(true_camera_path(true), found_T4)


def _measured(loras: Path, renders: Path, item: Item) -> Row:
    clip = kept(renders / f"{item.key.replace(' ', '_')}.npz", lambda: _render(loras, item))
    case = _case(item)
    found = amplitudes(clip, case.look)
    row: dict[str, float | str | None] = {
        "way": item.way, "control": item.control, "strength": round(item.strength, 6), "prompt": case.prompt,
        "seed": case.seed, "text match": text_match(clip, case.prompt, world_embedder()), "flicker": flicker(clip),
    }  # fmt: skip
    for name, amount in found.items():
        row[AMPLITUDE + name] = None if amount is None else round(amount / CONTROLS[name].most, 5)
    if item.way == AFTER:
        whole = _loras(loras)[item.control].info["amplitude"] / CONTROLS[item.control].most
        row["camera error"] = _off(clip, item, item.strength * whole)
    return row


def controls_stamp(folder: Path, num_contents: int) -> str:
    """What the figures follow from."""
    return stamp(modules=[__name__], folders=[opened().spec.folder, folder], settings={"contents": num_contents})


def _readings(rows: Iterable[Row], control: str) -> list[Reading]:
    return [Reading(prompt=str(row["prompt"]), strength=float(row["strength"]), amplitude=float(amount))
            for row in rows if (amount := row[AMPLITUDE + control]) is not None]  # fmt: skip


def _known(rows: Iterable[Row], column: str) -> list[float]:
    return [float(value) for row in rows if (value := row.get(column)) is not None]


def _quality(rows: Sequence[Row], bare: Sequence[Row], column: str, control: Control) -> list[float]:
    """The column's mean at each stop, over the bare base's."""
    base = mean(_known(bare, column))
    return [round(mean(_known([r for r in rows if r["strength"] == round(s, 6)], column)) / base, 4)
            for s in levels(control, STOPS)]  # fmt: skip


def crosstalk(rows: Sequence[Row], of: str) -> dict[str, float | None]:
    """How much every other control's motion changes while one is moved, over how much that one's does.

    Of one that can go backwards the change from end to end counts, of another the largest from where the moved one is
    at 0; renders of the same content and seed are compared. A thing's own speed can't be told from the camera's, so of
    those two neither is said.

    Args:
        rows: of renders at the ends of one control's range and at 0, all others loaded at 0.
        of: the control that is moved.
    """
    shown: dict[tuple[str, int], dict[float, Row]] = {}
    for row in rows:
        shown.setdefault((str(row["prompt"]), int(row["seed"])), {})[float(row["strength"])] = row  # type: ignore[arg-type]
    low, high = min(float(row["strength"]) for row in rows), max(float(row["strength"]) for row in rows)  # type: ignore[arg-type]

    def change(name: str) -> float | None:
        found = []
        for at in shown.values():
            values = {strength: row[AMPLITUDE + name] for strength, row in at.items()}
            if len(values) < len({low, 0.0, high}) or None in values.values():
                continue
            if name == of or CONTROLS[name].reversible:
                found.append(values[high] - values[low])  # type: ignore[operator]
            else:
                found.append(max(abs(values[end] - values[0.0]) for end in (low, high)))  # type: ignore[operator]
        return mean(found) if found else None

    own = change(of)
    moving = {PAN, TILT, SHAKE, ZOOM}
    hidden = {SPEED} if of in moving else moving if of == SPEED else set()
    others = {name: change(name) for name in CONTROLS if name != of and name not in hidden}
    return {name: None if other is None or not own else round(other / own, 4) for name, other in others.items()}


def summary(rows: Mapping[str, Row]) -> dict[str, Any]:
    """By control: how linear its slider is, before and after its curve, and what else changes with it."""
    out: dict[str, Any] = {}
    for name in SHIPPED:
        control = CONTROLS[name]
        of = {way: [row for row in rows.values() if row["control"] == name and row["way"] == way]
              for way in (BEFORE, AFTER, BARE, LOADED)}  # fmt: skip
        if not all(of.values()):
            continue
        one: dict[str, Any] = {way: {k: round(v, 4) for k, v in vars(linearity(_readings(of[way], name))).items()}
                               for way in (BEFORE, AFTER)}  # fmt: skip
        one["read"] = round(len(_readings(of[AFTER], name)) / len(of[AFTER]), 4)
        one["camera error %"] = round(mean(errors), 2) if (errors := _known(of[AFTER], "camera error")) else None
        one |= {f"{column} to bare": _quality(of[AFTER], of[BARE], column, control)
                for column in ("text match", "flicker")}  # fmt: skip
        one["crosstalk"] = crosstalk(of[LOADED], name)
        out[name] = one
    return out


def check_controls(
    folder: Path, num_contents: int, results: Path, num_processes: int = 2, renders: Path = RENDERS
) -> dict[str, Any]:
    """Renders and measures; writes `controls.json` and `controls.md` into `results`, going on where it was stopped.

    Args:
        folder: of the controls' files.
        num_contents: contents a control.
        results: where the figures go.
        num_processes: that share the renders.
        renders: folder of the renders, to go on from.
    """
    made_by = controls_stamp(folder, num_contents)
    file = ResultFile(results / "controls.json", made_by)
    measure = partial(_measured, folder, renders / f"controls-{made_by}")
    measure_missing(file, items(num_contents), measure, num_processes=num_processes)
    return conclude(file, summary, table)


def table(found: Mapping[str, Any]) -> str:
    """The summary as a table in Markdown."""
    head = ("control", "R2", "INL %", "offset %", "slope spread %", "R2 with curve", "camera error %",
            "text match", "flicker", "largest cross-talk")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, one in found.items():
        before, after = one[BEFORE], one[AFTER]
        others = {other: value for other, value in one["crosstalk"].items() if value is not None}
        worst = max(others, key=lambda other: abs(others[other]), default="")
        percent = [f"{100 * before[key]:.1f}" for key in ("nonlinearity", "offset", "slope_spread")]
        quality = [
            f"{min(one[f'{c} to bare']):.2f} to {max(one[f'{c} to bare']):.2f}" for c in ("text match", "flicker")
        ]
        error = "" if one["camera error %"] is None else f"{one['camera error %']:.1f}"
        cells = (name, f"{before['r2']:.3f}", *percent, f"{after['r2']:.3f}", error, *quality,
                 f"{others[worst]:+.3f} ({worst})" if worst else "")  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
