"""A learned motion and a camera at once: does each go as far as it was asked to?

`python -m motion_transfer.nano check-pairs` remakes `docs/results/pairs.json` and `pairs.md`. Motions that ship, each
beside the three cameras forward and backward, together and one after the other, with contents that nothing was learned
from; and each of the two alone. How far the camera goes shows in what it changes of the motion alone, with the same
prompt and seed; what is left without it is the true path, so large. Pairs that go the same way are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from motion_transfer.evaluate.amplitude import PAN, TILT, ZOOM
from motion_transfer.evaluate.checker import Sighting, find_object
from motion_transfer.evaluate.resumed import conclude, measure_missing
from motion_transfer.evaluate.stamps import ResultFile, Row, stamp
from motion_transfer.evaluate.thing_camera import MIN_SEEN, radii, seen_whole
from motion_transfer.lora.files import load_lora
from motion_transfer.methods.lion_fusion import mixed
from motion_transfer.nano.clips import EXAMPLES
from motion_transfer.nano.controls import PREFIX, Case, cases, opened
from motion_transfer.transfer import render_work
from motion_transfer.types import CONTROLS_FIRST, MOTIONS_FIRST, TOGETHER, Clip, Lora, RenderSpec
from motion_transfer.video.kept import RENDERS, kept
from motion_transfer.video.synth.controls import CONTROLS
from motion_transfer.video.synth.scene import sample_scene
from motion_transfer.work import drive

MOTIONS = tuple(name for name, (_, kind) in EXAMPLES.items() if kind == "single")
AXES = {PAN: 0, TILT: 1}  # along which a camera slides
CAMERAS = (*AXES, ZOOM)
MOST_ALIKE = 0.8  # |cosine| of a motion's path and a camera's: beyond, nobody can tell them apart
MOTION_ALONE, CAMERA_ALONE = "motion alone", "camera alone"
CAMERA, MOTION, PATH = "shown of camera", "shown of motion", "path off by"  # columns
ALONE: Mapping[str, tuple[str, ...]] = {MOTION_ALONE: (MOTION, PATH), CAMERA_ALONE: (CAMERA,)}
WAYS = (MOTION_ALONE, CAMERA_ALONE, TOGETHER, CONTROLS_FIRST, MOTIONS_FIRST)
NEAR = 0.1  # of what was asked; the path, of the frame's width


@dataclass(frozen=True, kw_only=True)
class Item:
    """One render: what acts in it and when, and which pair it is."""

    way: str
    number: int  # of `pairs`

    @property
    def key(self) -> str:
        """Of its row, and of its file."""
        return f"{self.way} {self.number}"


def true_path(motion: str) -> np.ndarray:
    """`(T, 2)`: the path of the thing in the clip that a motion was learned from, in frame widths from its middle."""
    name, kind = EXAMPLES[motion]
    path_T2 = np.array(sample_scene(name, kind=kind, effects=0.0).track(0))
    return path_T2 - path_T2.mean(0)


def _ramp(length: int) -> np.ndarray:
    return np.linspace(-0.5, 0.5, length)


def goes_along(motion: str, camera: str) -> bool:
    """Whether a motion's path is all but what the camera would make of a thing at rest."""
    if camera == ZOOM:
        return False
    path_T2 = true_path(motion)
    ramp_T = _ramp(len(path_T2))
    along = path_T2[:, AXES[camera]] @ ramp_T / (np.linalg.norm(path_T2) * np.linalg.norm(ramp_T))
    return bool(abs(along) > MOST_ALIKE)


@lru_cache(maxsize=1)
def pairs() -> tuple[tuple[str, str, float], ...]:
    """Motion, camera and the camera's strength."""
    return tuple(one for one in product(MOTIONS, CAMERAS, (-1.0, 1.0)) if not goes_along(*one[:2]))


def camera_shown(sighting: Sighting, alone: Sighting | None, camera: str) -> float | None:
    """How far a camera goes evenly, in its unit, as a thing shows it; None where too little of the thing is seen.

    Args:
        sighting: of the thing.
        alone: of the same thing without the camera; None for a thing at rest.
        camera: "pan", "tilt" or "zoom".
    """
    known_T = seen_whole(sighting) & (seen_whole(alone) if alone is not None else True)
    if known_T.mean() < MIN_SEEN:
        return None
    found_T, before_T = (None if one is None else np.log(radii(one)[known_T]) if camera == ZOOM
                         else -one.path_T2[known_T, AXES[camera]] for one in (sighting, alone))  # fmt: skip
    changed_T = found_T if before_T is None else found_T - before_T
    return float(np.polyfit(_ramp(len(known_T))[known_T], changed_T, 1)[0])


def motion_shown(sighting: Sighting, true_T2: np.ndarray, camera: str, shown: float) -> tuple[float, float] | None:
    """How large a thing's motion is beside the true one, by least squares, once what a camera adds is taken away.

    Args:
        sighting: of the thing.
        true_T2: the path that it takes in the world if its motion is whole, in frame widths.
        camera: "pan", "tilt" or "zoom".
        shown: how far that goes, in its unit.

    Returns:
        The size, and the root mean square of what is left, in frame widths; None where too little of the thing is seen.
    """
    known_T = seen_whole(sighting)
    if known_T.mean() < MIN_SEEN:
        return None
    added_T, seen_T2 = shown * _ramp(len(known_T)), sighting.path_T2.copy()
    if camera == ZOOM:
        seen_T2 /= np.exp(added_T)[:, None]
    else:
        seen_T2[:, AXES[camera]] += added_T
    steady_T2, path_T2 = (one[known_T] - one[known_T].mean(0) for one in (seen_T2, true_T2))
    size = float((steady_T2 * path_T2).sum() / (path_T2**2).sum())
    return size, float(np.sqrt(((steady_T2 - size * path_T2) ** 2).sum(1).mean()))


@lru_cache(maxsize=1)
def _loras(folder: Path) -> Mapping[str, Lora]:
    return {name: load_lora(folder / f"{name}.safetensors") for name in (*MOTIONS, *(PREFIX + c for c in CAMERAS))}


def _case(number: int) -> Case:
    return cases(CONTROLS[PAN], number + 1, "pairs")[-1]


def _render(folder: Path, item: Item) -> Clip:
    motion, camera, strength = pairs()[item.number]
    loras, case = _loras(folder), _case(item.number)
    acting = [(loras[motion], 1.0)] if item.way != CAMERA_ALONE else []
    acting += [(loras[PREFIX + camera], strength)] if item.way != MOTION_ALONE else []
    schedule = item.way if item.way in (CONTROLS_FIRST, MOTIONS_FIRST) else TOGETHER
    lora, spec = mixed(acting, RenderSpec(prompt=case.prompt, seed=case.seed, schedule=schedule))
    return drive(render_work(opened(), lora, spec))


def _sighting(folder: Path, renders: Path, item: Item) -> Sighting:
    clip = kept(renders / f"{item.key.replace(' ', '_')}.npz", lambda: _render(folder, item))
    shape, color = _case(item.number).look
    return find_object(clip.frames_THWC, color, shape)


def _measured(folder: Path, renders: Path, item: Item) -> Row:
    motion, camera, strength = pairs()[item.number]
    seen = _sighting(folder, renders, item)
    shown: float | None = 0.0
    if item.way != MOTION_ALONE:
        alone = None if item.way == CAMERA_ALONE else _sighting(folder, renders, replace(item, way=MOTION_ALONE))
        shown = camera_shown(seen, alone, camera)
    of_motion = None
    if item.way != CAMERA_ALONE and shown is not None:
        of_motion = motion_shown(seen, true_path(motion), camera, shown)
    size, off = of_motion if of_motion is not None else (None, None)
    return {
        "way": item.way, "motion": motion, "camera": camera, "prompt": _case(item.number).prompt,
        "asked of camera": strength * _loras(folder)[PREFIX + camera].info["amplitude"],
        CAMERA: None if shown is None else round(shown, 5), MOTION: None if size is None else round(size, 5),
        PATH: None if off is None else round(off, 5),
    }  # fmt: skip


def _errors(row: Row, parts: Sequence[str]) -> list[float] | None:
    """How far each part is from what was asked, over that; of the motion's path, over the frame's width. None where one
    can't be read.
    """
    found = []
    for part in parts:
        shown = row[part]
        if shown is None:
            return None
        asked = {CAMERA: float(row["asked of camera"] or 0.0), MOTION: 1.0}.get(part)
        found.append(float(shown) if asked is None else abs(float(shown) / asked - 1))
    return found


def summary(rows: Mapping[str, Row]) -> dict[str, Any]:
    """By way: mean errors of camera, motion and path, and which share of all pairs is within a tenth of what was asked;
    what can't be read is not.
    """
    out: dict[str, Any] = {}
    for way in WAYS:
        of_way, parts = [row for row in rows.values() if row["way"] == way], ALONE.get(way, (CAMERA, MOTION, PATH))
        errors = [found for row in of_way if (found := _errors(row, parts)) is not None]
        one: dict[str, Any] = {"read": round(len(errors) / len(of_way), 4) if of_way else 0.0}
        for place, part in enumerate(parts):
            values = [found[place] for found in errors]
            one[part] = round(mean(values), 4) if values else None
            one[f"{part} near"] = round(sum(value <= NEAR for value in values) / max(1, len(of_way)), 4)
        one["all near"] = round(sum(max(found) <= NEAR for found in errors) / max(1, len(of_way)), 4)
        out[way] = one
    return out


def table(found: Mapping[str, Any]) -> str:
    """The summary as a table in Markdown."""
    head = ("acting", "camera off by %", "motion off by %", "path off by, % of the width", "camera within 10 %",
            "motion within 10 %", "all within 10 %", "could be read")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    columns = (CAMERA, MOTION, PATH, f"{CAMERA} near", f"{MOTION} near", "all near")
    for way, one in found.items():
        cells = ["" if one.get(column) is None else f"{100 * one[column]:.1f}" for column in columns]
        lines.append(f"| {way} | {' | '.join(cells)} | {one['read']:.2f} |")
    return "\n".join(lines) + "\n"


def pairs_stamp(folder: Path) -> str:
    """What the figures follow from."""
    return stamp(modules=[__name__], folders=[opened().spec.folder, folder], settings={})


def check_pairs(folder: Path, results: Path, num_processes: int = 2, renders: Path = RENDERS) -> dict[str, Any]:
    """Renders and measures; writes `pairs.json` and `pairs.md`, going on where it was stopped.

    Args:
        folder: of the motions and controls that ship.
        results: where the figures go.
        num_processes: that share the renders.
        renders: folder of the renders, to go on from.
    """
    made_by = pairs_stamp(folder)
    items: Iterator[Item] = (Item(way=way, number=number) for way, number in product(WAYS, range(len(pairs()))))
    file = ResultFile(results / "pairs.json", made_by)
    measure_missing(file, items, partial(_measured, folder, renders / f"pairs-{made_by}"), num_processes=num_processes)
    return conclude(file, summary, table)
