"""A learned motion and a camera at once: does each go as far as it was asked to?

`python -m motion_transfer.nano check-pairs` remakes `docs/results/pairs.json` and `pairs.md`. Four motions that ship,
each beside the three cameras forward and backward, together and one after the other, with contents that nothing was
learned from; and each of the two alone. What is seen of the thing is the motion's true path, so large, as a camera that
goes so far would show it; both are fitted to it at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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

MOTIONS = ("single-bounce", "single-line", "single-spiral", "single-wave")
CAMERAS = (PAN, TILT, ZOOM)
PAIRS = tuple(product(MOTIONS, CAMERAS, (-1.0, 1.0)))  # motion, camera, the camera's strength
MOTION_ALONE, CAMERA_ALONE = "motion alone", "camera alone"
ALONE: Mapping[str, tuple[str, ...]] = {MOTION_ALONE: ("motion",), CAMERA_ALONE: ("camera",)}
WAYS = (TOGETHER, CONTROLS_FIRST, MOTIONS_FIRST, MOTION_ALONE, CAMERA_ALONE)
NEAR = 0.1  # of what was asked


@dataclass(frozen=True, kw_only=True)
class Item:
    """One render: what acts in it and when, and which pair it is."""

    way: str
    number: int  # of `PAIRS`

    @property
    def key(self) -> str:
        """Of its row, and of its file."""
        return f"{self.way} {self.number}"


@dataclass(frozen=True, kw_only=True)
class Apart:
    """What a thing's path is made of: the camera's motion in its unit, and how large the thing's own is beside the true
    one; `off` is the root mean square of the rest, in frame widths.
    """

    camera: float
    motion: float
    off: float


def taken_apart(sighting: Sighting, true_T2: np.ndarray, camera: str) -> Apart | None:
    """Finds how far a camera goes and how large a thing's motion is, by least squares; None where too little is seen.

    Args:
        sighting: of the thing.
        true_T2: the path that it takes in the world if its motion is whole, in frame widths.
        camera: which one goes evenly: "pan", "tilt" or "zoom".
    """
    known_T = seen_whole(sighting)
    if known_T.mean() < MIN_SEEN:
        return None
    ramp_T, seen_T2 = np.linspace(-0.5, 0.5, len(known_T)), sighting.path_T2.copy()
    zoom = 0.0
    if camera == ZOOM:
        zoom = float(np.polyfit(ramp_T[known_T], np.log(radii(sighting)[known_T]), 1)[0])
        seen_T2 /= np.exp(zoom * ramp_T)[:, None]
    axes = np.eye(2)
    columns = [np.outer(np.ones_like(ramp_T), axes[0]), np.outer(np.ones_like(ramp_T), axes[1])]
    if true_T2.any():
        columns.append(true_T2)
    if camera != ZOOM:
        columns.append(np.outer(-ramp_T, axes[0 if camera == PAN else 1]))
    parts = np.stack([column[known_T].ravel() for column in columns], 1)
    found, *_ = np.linalg.lstsq(parts, seen_T2[known_T].ravel(), rcond=None)
    off = float(np.sqrt(2 * np.mean((parts @ found - seen_T2[known_T].ravel()) ** 2)))
    return Apart(camera=zoom if camera == ZOOM else float(found[-1]), motion=float(found[2]) if true_T2.any() else 0.0,
                 off=off)  # fmt: skip


@lru_cache(maxsize=1)
def _loras(folder: Path) -> Mapping[str, Lora]:
    return {name: load_lora(folder / f"{name}.safetensors") for name in (*MOTIONS, *(PREFIX + c for c in CAMERAS))}


def true_path(motion: str) -> np.ndarray:
    """`(T, 2)`: the path of the thing in the clip that a motion was learned from, in frame widths from its middle."""
    name, kind = EXAMPLES[motion]
    path_T2 = np.array(sample_scene(name, kind=kind, effects=0.0).things[0].path)
    return path_T2 - path_T2.mean(0)


def _case(number: int) -> Case:
    return cases(CONTROLS[PAN], number + 1, "pairs")[-1]


def _render(folder: Path, item: Item) -> Clip:
    motion, camera, strength = PAIRS[item.number]
    loras, case = _loras(folder), _case(item.number)
    acting = [(loras[motion], 1.0)] if item.way != CAMERA_ALONE else []
    acting += [(loras[PREFIX + camera], strength)] if item.way != MOTION_ALONE else []
    schedule = item.way if item.way in (CONTROLS_FIRST, MOTIONS_FIRST) else TOGETHER
    lora, spec = mixed(acting, RenderSpec(prompt=case.prompt, seed=case.seed, schedule=schedule))
    return drive(render_work(opened(), lora, spec))


def _measured(folder: Path, renders: Path, item: Item) -> Row:
    motion, camera, strength = PAIRS[item.number]
    clip, case = kept(renders / f"{item.key.replace(' ', '_')}.npz", lambda: _render(folder, item)), _case(item.number)
    true_T2 = true_path(motion) * (item.way != CAMERA_ALONE)
    found = taken_apart(find_object(clip.frames_THWC, case.look[1], case.look[0]), true_T2, camera)
    return {
        "way": item.way, "motion": motion, "camera": camera, "prompt": case.prompt,
        "asked of camera": strength * _loras(folder)[PREFIX + camera].info["amplitude"],
        "shown of camera": None if found is None else round(found.camera, 5),
        "shown of motion": None if found is None else round(found.motion, 5),
        "off": None if found is None else round(found.off, 5),
    }  # fmt: skip


def _errors(rows: Sequence[Row], of: str) -> list[float]:
    """How far the camera, or the motion, is from what was asked, over that."""
    asked = [float(row["asked of camera"] or 0.0) if of == "camera" else 1.0 for row in rows]
    return [abs(float(row[f"shown of {of}"] or 0.0) / one - 1) for row, one in zip(rows, asked, strict=True)]


def summary(rows: Mapping[str, Row]) -> dict[str, Any]:
    """By way: mean errors of camera and motion over what was asked, and which share of the pairs is within a tenth of
    it, and could be read.
    """
    out: dict[str, Any] = {}
    for way in WAYS:
        of_way = [row for row in rows.values() if row["way"] == way]
        read = [row for row in of_way if row["off"] is not None]
        if not read:
            continue
        errors = {of: _errors(read, of) for of in ALONE.get(way, ("camera", "motion"))}
        near = [all(error <= NEAR for error in both) for both in zip(*errors.values(), strict=True)]
        out[way] = {
            **{f"{of} off by": round(mean(found), 4) for of, found in errors.items()},
            **{f"{of} near": round(mean(error <= NEAR for error in found), 4) for of, found in errors.items()},
            "all near": round(mean(near), 4), "path off by": round(mean(float(row["off"] or 0.0) for row in read), 4),
            "read": round(len(read) / len(of_way), 4),
        }  # fmt: skip
    return out


def table(found: Mapping[str, Any]) -> str:
    """The summary as a table in Markdown."""
    head = ("acting", "camera off by %", "motion off by %", "camera within 10 %", "motion within 10 %",
            "both within 10 %", "path off by, % of the width", "could be read")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for way, one in found.items():
        columns = ("camera off by", "motion off by", "camera near", "motion near", "all near", "path off by")
        cells = [f"{100 * one[column]:.1f}" if column in one else "" for column in columns]
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
    items: Iterator[Item] = (Item(way=way, number=number) for way, number in product(WAYS, range(len(PAIRS))))
    file = ResultFile(results / "pairs.json", made_by)
    measure_missing(file, items, partial(_measured, folder, renders / f"pairs-{made_by}"), num_processes=num_processes)
    return conclude(file, summary, table)
