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
from motion_transfer.video.kept import RENDERS, kept
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.palette import SHAPES
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene

ARMS = {"base": {"guidance_scale": 1.0}, "guided": {}}  # settings of `WanPipeline`, at its defaults otherwise
QUANTILES = (0.1, 0.5, 0.9)
STRIDE = 3  # frames: a quarter of a second
SEEN = 0.5  # of the frames must show the object; of other clips nothing is said but that
REST = 0.02  # of the width: an object whose path spans less rests
MOVING = 0.1  # widths a second: slower, and a direction says little
STATIC_SPAN = 0.04  # of the width: a clip whose object stays within it counts as static, for flicker


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A clip's path of its object, in widths and NaN where it is not seen, and flicker if anything can be compared."""

    path_T2: np.ndarray
    flicker: float | None

    @property
    def is_seen(self) -> bool:
        """Whether the object is there for long enough to say how it moves."""
        return float(np.isnan(self.path_T2[:, 0]).mean()) <= 1 - SEEN

    @property
    def is_static(self) -> bool:
        """Whether the object hardly leaves its place."""
        return self.is_seen and path_moves(self.path_T2)[2] < STATIC_SPAN


@dataclass(frozen=True, kw_only=True, eq=False)
class Moves:
    """How clips of one object move: speeds in widths a second, turning in radians a width, paths' spans in widths."""

    speeds: np.ndarray
    curvatures: np.ndarray
    spans: np.ndarray


def path_moves(path_T2: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Speeds and curvatures over quarter seconds, and the longer side of the box around the path.

    Args:
        path_T2: in widths, NaN where the object is not seen; it is in some frame.
    """
    steps = path_T2[STRIDE::STRIDE] - path_T2[:-STRIDE:STRIDE]
    lengths = np.hypot(*steps.T)
    speeds = lengths * FPS / STRIDE
    turns = np.diff(np.arctan2(steps[:, 1], steps[:, 0]))
    turns = np.abs((turns + np.pi) % (2 * np.pi) - np.pi)
    moving = np.minimum(speeds[1:], speeds[:-1]) >= MOVING
    curvatures = turns[moving] / ((lengths[1:] + lengths[:-1]) / 2)[moving]
    span = float(np.ptp(path_T2[~np.isnan(path_T2).any(1)], axis=0).max())
    return speeds[~np.isnan(speeds)], curvatures, span


def moves_of(paths: list[np.ndarray]) -> Moves:
    """All paths together."""
    speeds, curvatures, spans = zip(*map(path_moves, paths), strict=True)
    return Moves(speeds=np.concatenate(speeds), curvatures=np.concatenate(curvatures), spans=np.array(spans))


def _scenes() -> Iterator[Scene]:
    """The world's scenes of one object, moved by itself or by the camera, as often as it draws them."""
    scenes = (sample_scene(f"check-motion/{i}", effects=0.0) for i in numbers())
    return (scene for scene in scenes if len(scene.things) == 1 and scene.things[0].kind in SHAPES)


def _quantiles(values: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to take them of."""
    return np.quantile(values, QUANTILES) if len(values) else np.full(len(QUANTILES), np.nan)


def _rounded(values: np.ndarray, digits: int) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), digits) for value in values]


def compare(moves: dict[str, Moves]) -> dict[str, Any]:
    """Of the world and of each arm: quantiles, those of arms also as ratios to the world's, and shares at rest.

    Args:
        moves: by arm, one of which is "world".
    """
    out: dict[str, Any] = {"quantiles": QUANTILES}
    for name in ("speeds", "curvatures"):
        found = {arm: _quantiles(getattr(of_arm, name)) for arm, of_arm in moves.items()}
        out[name] = {arm: _rounded(values, 4) for arm, values in found.items()}
        out[f"{name} to the world's"] = {arm: _rounded(values / np.maximum(found["world"], 1e-9), 3)
                                         for arm, values in found.items() if arm != "world"}  # fmt: skip
    out["resting"] = {arm: round(float((of_arm.spans < REST).mean()), 4) for arm, of_arm in moves.items()}
    return out


def compare_flicker(seen: dict[str, list[Seen]]) -> dict[str, Any]:
    """Mean flicker by arm, of clips whose object stays in its place and of all, with ratios to the world's.

    A caption doesn't say whether its object rests, so each arm's static clips are its own.
    """
    out: dict[str, Any] = {}
    static = {arm: [one for one in of_arm if one.is_static] for arm, of_arm in seen.items()}
    for name, clips in (("static clips", static), ("all clips", seen)):
        values = {arm: [one.flicker for one in of_arm if one.flicker is not None] for arm, of_arm in clips.items()}
        means = {arm: round(float(np.mean(of_arm)), 4) if of_arm else None for arm, of_arm in values.items()}
        world = means["world"]
        out[name] = {"clips": {arm: len(of_arm) for arm, of_arm in values.items()}, "mean": means,
                     "to the world's": {arm: round(mean / world, 3) if mean is not None and world else None
                                        for arm, mean in means.items() if arm != "world"}}  # fmt: skip
    return out


def motion_stamp(folder: Path, count: int) -> str:
    """What the figures of `count` clips follow from."""
    return stamp(modules=[__name__], folders=[folder], settings={"clips": count})


@lru_cache(maxsize=1)
def _codec(folder: Path) -> AutoencoderKLWan:
    return load_codec(folder)


def _seen(folder: Path, renders: Path, asked: tuple[int, Scene]) -> dict[str, Seen]:
    """Of the world and of each arm: the object of one scene, and the picture's flicker."""
    number, scene = asked
    through, _ = pass_through(_codec(folder), draw([scene], SIZE_PX)[0].numpy())
    shown = {"world": Clip(frames_THWC=through, fps=FPS)}
    for arm, settings in ARMS.items():
        render = partial(render_stock, folder, scene.caption, number, **settings)
        shown[arm] = kept(renders / f"{number}-{arm}.npz", render)
    thing = scene.things[0]
    return {name: Seen(path_T2=find_object(clip.frames_THWC, thing.color, thing.kind).path_T2, flicker=flicker(clip))
            for name, clip in shown.items()}  # fmt: skip


def check_motion(
    folder: Path, count: int, results: Path, num_processes: int = 2, renders: Path = RENDERS
) -> dict[str, Any]:
    """Renders `count` captions of unseen scenes and compares; writes `base_motion.json` into `results`.

    Args:
        folder: of the base.
        count: captions.
        results: where the figures go.
        num_processes: that share the captions.
        renders: folder of the renders, to go on from.
    """
    made_by = motion_stamp(folder, count)
    facts = {"stamp": made_by, "base": weights_hash(folder), "clips": count}
    look = partial(_seen, folder, renders / f"check-motion-{made_by}")
    asked, found = list(zip(range(count), _scenes(), strict=False)), dict[int, dict[str, Seen]]()
    for (number, scene), seen in each(look, asked, num_processes=num_processes):
        found[number] = seen
        print(f"{len(found)}/{count} {scene.caption}", flush=True)
    of_arms = {arm: [found[number][arm] for number in range(count)] for arm in ("world", *ARMS)}
    paths = {arm: [one.path_T2 for one in of_arm if one.is_seen] for arm, of_arm in of_arms.items()}
    figures = {"seen": {arm: round(len(seen) / count, 4) for arm, seen in paths.items()},
               **compare({arm: moves_of(seen) for arm, seen in paths.items() if seen}),
               "flicker": compare_flicker(of_arms)}  # fmt: skip
    write_json(results / "base_motion.json", facts | figures)
    return figures
