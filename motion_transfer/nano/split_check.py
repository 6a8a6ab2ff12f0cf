"""Can one clip's camera and things be learned apart? Clips in which both move, split, tuned and shown on other content.

`python -m motion_transfer.nano check-split` remakes `docs/results/split.json` and `split.png`. Errors are in percent of
how far the camera, or the thing, goes in the clip: a camera's LoRA should move the background as the truth does while
the thing keeps its place in the world; a thing's LoRA the other way round. The same is read off the split clips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import numpy as np

from motion_transfer.atomic import write_json
from motion_transfer.evaluate.camera_motion import camera_error, camera_path, carried, steadied, true_camera_path
from motion_transfer.evaluate.checker import find_object
from motion_transfer.evaluate.motion import resample_path, trajectory_error
from motion_transfer.evaluate.motionbench import CORE, BenchCase, Target
from motion_transfer.evaluate.retarget import Look, named_in_full, other_looks, seen_colors
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.methods.split_clip import movement_of
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.catalog import weights_hash
from motion_transfer.processes import each
from motion_transfer.transfer import fit, render_work, tune_work
from motion_transfer.types import Clip, RenderSpec, TuneSpec
from motion_transfer.video.frames import contact_sheet, save_png
from motion_transfer.video.kept import RENDERS, kept
from motion_transfer.video.strip import CAMERA, THINGS
from motion_transfer.video.synth.backgrounds import sample_background
from motion_transfer.video.synth.camera import sample_camera
from motion_transfer.video.synth.palette import COLORS
from motion_transfer.video.synth.scene import Scene, sample_scene
from motion_transfer.work import drive

PARTS = (CAMERA, THINGS)
CAMERAS = ("pan", "tilt", "zoom", "roll")  # what a similarity can undo, and goes far enough to be told from rest
TEXTURES = ("checkered", "dotted")  # on which a camera is read best
MIN_RANGE = 0.25  # of the width: how far camera and thing go at least
SHEET_FRAMES = 9
_CORNERS = np.array([[x, y] for x in (-0.35, 0.35) for y in (-0.35, 0.35)])  # places as near as things come


def _diagonal(path_T2: np.ndarray) -> float:
    """Of the box around a path."""
    return math.hypot(*np.ptp(path_T2[~np.isnan(path_T2[:, 0])], axis=0))


def camera_range(camera_T4: np.ndarray) -> float:
    """How far a camera carries the frame's places, in widths."""
    return mean(_diagonal(path_T2) for path_T2 in carried(camera_T4, _CORNERS))


def _look(scene: Scene) -> Look:
    return scene.things[0].kind, scene.things[0].color


def _own_path(scene: Scene) -> np.ndarray:
    """The thing's path as the middle frame's camera would have seen it, `(T, 2)`."""
    return steadied(true_camera_path(scene), np.array([scene.track(0)]))[0]


def _can_be_split(scene: Scene) -> bool:
    """Whether both move far enough, and the thing is always in view, before either camera."""
    reach, views = CORE * scene.things[0].size, (np.array(scene.track(0)), _own_path(scene))
    in_view = all(np.abs(view).max() + reach * max(scene.camera.zoom) <= 0.5 for view in views)
    goes_far = min(camera_range(true_camera_path(scene)), _diagonal(views[1])) >= MIN_RANGE
    return in_view and goes_far


def _target(scene: Scene) -> Target:
    """Other content, on a background on which the camera can be read."""
    rng = Random(f"check-split/target/{scene.name}")
    free = [color for color in COLORS if color not in seen_colors(scene)]
    while True:
        background = sample_background(rng, rng.choice(free), rng.choice(TEXTURES))
        looks = other_looks(rng, scene, background.color, figure=None)
        if looks is not None:
            return Target(prompt=named_in_full(rng, looks, background), looks=looks, background=background)


@lru_cache(maxsize=4)
def split_cases(count: int) -> tuple[BenchCase, ...]:
    """Clips of one thing on its way before a camera on its own, kind by kind of camera."""
    cases: list[BenchCase] = []
    number = 0
    while len(cases) < count:
        name, kind = f"check-split/{number}", CAMERAS[len(cases) % len(CAMERAS)]
        rng, scene = Random(name), sample_scene(name, kind="single", effects=0.0)
        background = sample_background(rng, scene.background.color, rng.choice(TEXTURES))
        caption = named_in_full(rng, (_look(scene),), background)
        scene = replace(
            scene, camera=sample_camera(rng, scene.num_frames, kind), background=background, caption=caption
        )
        number += 1
        if _can_be_split(scene):
            cases.append(BenchCase(name=name, kind=kind, scene=scene, targets=(_target(scene),)))
    return tuple(cases)


def errors(clip: Clip, scene: Scene, look: Look, part: str) -> dict[str, float | None]:
    """How far a clip is from showing one part of a scene's motion alone, in percent of each part's range.

    Args:
        clip: a split clip or a render, as long as the scene.
        scene: with one thing, and the true camera.
        look: shape and color of the thing in the clip.
        part: whose motion should be seen.

    Returns:
        "camera": distance of the background from where it should be, on average; "thing": likewise of the thing, as
        the middle frame's camera would see it. None where it can't be read.
    """
    true_T4, own_T2 = true_camera_path(scene), _own_path(scene)
    found_T4, seen_T2 = camera_path(clip), find_object(clip.frames_THWC, look[1], look[0]).path_T2
    found: dict[str, float | None] = {"camera": None, "thing": None}
    if found_T4 is None:
        return found
    asked_T4 = true_T4 if part == CAMERA else np.zeros_like(true_T4)
    found["camera"] = camera_error(asked_T4, found_T4) / camera_range(true_T4)
    path_T2 = steadied(found_T4, resample_path(seen_T2, len(own_T2))[None])[0]
    if not np.isnan(path_T2[:, 0]).all():
        asked_T2 = own_T2 if part == THINGS else np.broadcast_to(np.nanmedian(path_T2, axis=0), own_T2.shape)
        distance = trajectory_error(asked_T2, path_T2)
        found["thing"] = None if distance is None else distance / _diagonal(own_T2)
    return found


@dataclass(frozen=True, kw_only=True)
class _Item:
    case: BenchCase
    part: str
    path: Path  # of the render


@lru_cache(maxsize=1)
def _base(folder: Path) -> VideoBase:
    return open_base(str(folder))


def _measured(folder: Path, item: _Item) -> tuple[dict[str, Any], Clip]:
    """Errors of a split clip and of its motion's render on other content, and the render."""
    base, case, target = _base(folder), item.case, item.case.targets[0]
    clip = movement_of(case.reference(), item.part)

    def render() -> Clip:
        lora = drive(tune_work(base, clip, TuneSpec(caption=clip.caption))).lora
        return drive(render_work(base, lora, RenderSpec(prompt=target.prompt)))

    shown = kept(item.path, render)
    row = {"clip": case.name, "camera": case.kind, "part": item.part, "prompt": target.prompt,
            "split": errors(clip, case.scene, _look(case.scene), item.part),
            "render": errors(shown, case.scene, target.looks[0], item.part)}  # fmt: skip
    return row, shown


def _means(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By part: mean errors of split clips and renders, and in how many they could be read."""
    out: dict[str, Any] = {}
    for part in PARTS:
        for stage in ("split", "render"):
            of_part = [row[stage] for row in rows if row["part"] == part]
            for name in ("camera", "thing"):
                known = [found[name] for found in of_part if found[name] is not None]
                key = f"{part}, {stage}: {name}"
                out[key] = {"error_percent": round(mean(known), 2) if known else None, "read": len(known)}
    return out


def split_stamp(folder: Path, count: int) -> str:
    """What the figures of `count` clips follow from."""
    return stamp(modules=[__name__], folders=[folder], settings={"clips": count})


def check_split(
    folder: Path, count: int, results: Path, num_processes: int = 2, renders: Path = RENDERS
) -> dict[str, Any]:
    """Splits and shows `count` clips; writes `split.json` and `split.png` into `results`.

    Args:
        folder: of the base.
        count: clips.
        results: where the figures go.
        num_processes: that share the clips.
        renders: folder of the renders, to go on from.
    """
    made_by, cases = split_stamp(folder, count), split_cases(count)
    items = [_Item(case=case, part=part, path=renders / f"split-{made_by}" / f"{number}-{part}.npz")
             for number, case in enumerate(cases) for part in PARTS]  # fmt: skip
    found_of = {(item.case.name, item.part): one
                for item, one in each(partial(_measured, folder), items, num_processes=num_processes)}  # fmt: skip
    rows, renders_of = zip(*(found_of[item.case.name, item.part] for item in items), strict=True)
    found = {"stamp": made_by, "base": weights_hash(folder), "means": _means(rows), "clips": list(rows)}
    write_json(results / "split.json", found)
    pictures: list[Clip] = []
    for case, *of_case in zip(cases, renders_of[::2], renders_of[1::2], strict=True):
        pictures += [case.reference(), *of_case]
    fitted = [fit(_base(folder).spec, clip) for clip in pictures]
    save_png(contact_sheet(fitted, columns_frames=SHEET_FRAMES, scale=1), results / "split.png")
    return found["means"]
