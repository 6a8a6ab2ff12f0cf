"""Does the bare base move as the world does? Speeds, curvature, rest and flicker of renders beside true ones.

`python -m motion_transfer.nano check-motion` remakes `docs/results/base_motion.json`. The same checker reads both, so
what it misses, it misses in both; true renders pass through the codec, whose flicker is not the base's.

What the base has learned of motion shows without guidance ("base"). Captions don't speak of motion, and guidance drives
towards the mean picture of a caption, whose object rests in the middle, the more so at high noise (arXiv 2404.07724);
what it costs at stock's default is measured beside it ("guided").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count as numbers
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import AutoencoderKLWan

from motion_transfer.atomic import write_json
from motion_transfer.evaluate.checker import find_object
from motion_transfer.evaluate.flicker import flicker
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.model.catalog import weights_hash
from motion_transfer.nano.codec import SIZE_PX
from motion_transfer.nano.codec_check import pass_through
from motion_transfer.nano.folder import load_codec
from motion_transfer.nano.prompts import render_stock
from motion_transfer.processes import each
from motion_transfer.types import Clip
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.palette import SHAPES
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene

ARMS = {"base": {"guidance_scale": 1.0}, "guided": {}}  # settings of `WanPipeline`, at its defaults otherwise
QUANTILES = (0.1, 0.5, 0.9)
STRIDE = 3  # frames: a quarter of a second
REST = 0.02  # of the width: an object whose path spans less rests
MOVING = 0.1  # widths a second: slower, and a direction says little
STATIC_SPAN = 0.04  # of the width: a clip whose object stays within it counts as static, for flicker


@dataclass(frozen=True, kw_only=True, eq=False)
class Moves:
    """How clips of one object move: speeds in widths a second, turning in radians a width, paths' spans in widths."""

    speeds: np.ndarray
    curvatures: np.ndarray
    spans: np.ndarray


def path_moves(path_T2: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Speeds and curvatures over quarter seconds, and the longer side of the box around the path.

    Args:
        path_T2: in widths, NaN where the object is not seen.
    """
    steps = path_T2[STRIDE::STRIDE] - path_T2[:-STRIDE:STRIDE]
    lengths = np.hypot(*steps.T)
    speeds = lengths * FPS / STRIDE
    turns = np.diff(np.arctan2(steps[:, 1], steps[:, 0]))
    turns = np.abs((turns + np.pi) % (2 * np.pi) - np.pi)
    moving = np.minimum(speeds[1:], speeds[:-1]) >= MOVING
    curvatures = turns[moving] / ((lengths[1:] + lengths[:-1]) / 2)[moving]
    seen = path_T2[~np.isnan(path_T2).any(1)]
    span = float(np.ptp(seen, axis=0).max()) if len(seen) else 0.0
    return speeds[~np.isnan(speeds)], curvatures, span


def moves_of(paths: list[np.ndarray]) -> Moves:
    """All paths together."""
    speeds, curvatures, spans = zip(*map(path_moves, paths), strict=True)
    return Moves(speeds=np.concatenate(speeds), curvatures=np.concatenate(curvatures), spans=np.array(spans))


def _scenes() -> Iterator[Scene]:
    """The world's scenes of one object, moved by itself or by the camera, as often as it draws them."""
    scenes = (sample_scene(f"check-motion/{i}", effects=0.0) for i in numbers())
    return (scene for scene in scenes if len(scene.things) == 1 and scene.things[0].kind in SHAPES)


def compare(moves: dict[str, Moves]) -> dict[str, Any]:
    """Of the world and of each arm: quantiles, those of arms also as ratios to the world's, and shares at rest."""
    out: dict[str, Any] = {"quantiles": QUANTILES}
    for name in ("speeds", "curvatures"):
        found = {arm: np.quantile(getattr(of_arm, name), QUANTILES) for arm, of_arm in moves.items()}
        out[name] = {arm: values.round(4).tolist() for arm, values in found.items()}
        out[f"{name} to the world's"] = {arm: (values / np.maximum(found["world"], 1e-9)).round(3).tolist()
                                         for arm, values in found.items() if arm != "world"}  # fmt: skip
    out["resting"] = {arm: round(float((of_arm.spans < REST).mean()), 4) for arm, of_arm in moves.items()}
    return out


def motion_stamp(folder: Path, count: int) -> str:
    """What the figures of `count` clips follow from."""
    return stamp(modules=[__name__], folders=[folder], settings={"clips": count})


@lru_cache(maxsize=1)
def _codec(folder: Path) -> AutoencoderKLWan:
    return load_codec(folder)


def _seen(folder: Path, asked: tuple[int, Scene]) -> dict[str, tuple[np.ndarray, float | None]]:
    """Of the world and of each arm: the object's path in one scene, and the picture's flicker."""
    number, scene = asked
    through, _ = pass_through(_codec(folder), draw([scene], SIZE_PX)[0].numpy())
    shown = {"world": Clip(frames_THWC=through, fps=FPS)}
    shown |= {arm: render_stock(folder, scene.caption, number, **how) for arm, how in ARMS.items()}
    thing = scene.things[0]
    return {name: (find_object(clip.frames_THWC, thing.color, thing.kind).path_T2, flicker(clip))
            for name, clip in shown.items()}  # fmt: skip


def check_motion(folder: Path, count: int, results: Path, num_processes: int = 2) -> dict[str, Any]:
    """Renders `count` captions of unseen scenes and compares; writes `base_motion.json` into `results`."""
    facts = {"stamp": motion_stamp(folder, count), "base": weights_hash(folder), "clips": count}
    paths: dict[str, list[np.ndarray]] = {arm: [] for arm in ("world", *ARMS)}
    flickers: dict[str, list[float]] = {arm: [] for arm in paths}
    asked = list(zip(range(count), _scenes(), strict=False))
    for done, ((_, scene), seen) in enumerate(each(partial(_seen, folder), asked, num_processes=num_processes), 1):
        for name, (path_T2, change) in seen.items():
            paths[name].append(path_T2)
            if change is not None and path_moves(path_T2)[2] < STATIC_SPAN:
                flickers[name].append(change)
        print(f"{done}/{count} {scene.caption}", flush=True)
    figures = compare({arm: moves_of(of_arm) for arm, of_arm in paths.items()})
    means = {name: float(np.mean(values)) if values else None for name, values in flickers.items()}
    figures["flicker of static scenes"] = means | {"clips": {name: len(values) for name, values in flickers.items()}}
    write_json(results / "base_motion.json", facts | figures)
    return figures
