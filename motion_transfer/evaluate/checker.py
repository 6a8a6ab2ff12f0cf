"""The exact checker of the procedural world: reads back from frames what is seen, without knowing the scene.

Colors are read pixel by pixel (`colors`), objects are connected pixels of one color, and shapes are told apart
by their outline (`silhouettes`). Renders of a generative model may be a little blurred and off-color.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from motion_transfer.atomic import write_json
from motion_transfer.errors import BadSpec
from motion_transfer.evaluate.backdrops import background_pattern
from motion_transfer.evaluate.colors import BACKGROUND, GRID_PX, NAMES, background_color, label_pixels, to_grid
from motion_transfer.evaluate.motion import trajectory_error
from motion_transfer.evaluate.silhouettes import KINDS, overlaps
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import sample_scene

MIN_SHARE = 0.012  # of the frame: a smaller blob is a speck (the world's objects fill more, but for rare zooms)
VOTES = 7  # frames that vote on the shape
RIVAL = 0.4  # an object at least this large, compared with the largest, is a main object too
_WHOLENESS = 12.0  # how steeply a frame's vote falls with the part of the object that is cut off or hidden


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """Where an object of one color is seen, frame by frame, and what it is.

    `path_T2` is the centroid in frame widths from the frame's center (x right, y down), NaN where absent.
    `masks_THW` is bool at the width of `colors.GRID_PX`. `scores` says how well each shape fits, in 0..1.
    """

    color: str
    present_T: np.ndarray
    path_T2: np.ndarray
    masks_THW: np.ndarray
    shape: str | None
    scores: dict[str, float]

    @property
    def present_share(self) -> float:
        """Share of frames in which the object is seen."""
        return float(self.present_T.mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """Whether a clip shows what was asked; `path_T2` as in `Sighting`. Read values are None if nothing is seen."""

    color_right: bool
    shape_right: bool
    present_share: float
    path_T2: np.ndarray
    read_color: str | None
    read_shape: str | None


def _require(word: str, known: tuple[str, ...], what: str) -> None:
    if word not in known:
        raise BadSpec(
            f"the checker knows the {what}s {', '.join(known)}, but was asked for {word!r}; ask for one of them."
        )


def _read(frames_THWC: np.ndarray) -> np.ndarray:
    """Labels of every pixel, as from `colors.label_pixels`."""
    pixels_THWC = to_grid(frames_THWC)
    return label_pixels(pixels_THWC, background_color(pixels_THWC[::4]))


def read_background(frames_THWC: np.ndarray) -> tuple[str, str | None]:
    """The background's color, and its pattern or None where the pattern can't be told."""
    pixels_THWC = to_grid(frames_THWC)[::4]
    color = background_color(pixels_THWC)
    labels_THW = label_pixels(pixels_THWC, color)
    return color, background_pattern(pixels_THWC, labels_THW == BACKGROUND, color)


@dataclass(frozen=True, eq=False)
class _Blob:
    """Connected pixels of one color; `center_2` in pixels, x first."""

    area_px: int
    center_2: np.ndarray
    mask_HW: np.ndarray

    def distance(self, other: _Blob) -> float:
        return float(np.hypot(*(self.center_2 - other.center_2)))


def _blobs(mask_HW: np.ndarray) -> list[_Blob]:
    """Connected parts of a mask that are no specks, largest first."""
    count, labels, stats, centers = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    keep = [i for i in range(1, count) if areas[i] >= MIN_SHARE * mask_HW.size]
    return [_Blob(int(areas[i]), centers[i], labels == i) for i in sorted(keep, key=lambda i: -areas[i])]


def _follow(blobs_T: list[list[_Blob]], first: int) -> list[_Blob | None]:
    """One blob a frame, or None: the `first` of the first frame that has any, then always the nearest one."""
    followed: list[_Blob | None] = []
    last: _Blob | None = None
    for blobs in blobs_T:
        now = None
        if blobs:
            rivals = [blob for blob in blobs if blob.area_px >= RIVAL * blobs[0].area_px]
            now = rivals[min(first, len(rivals) - 1)] if last is None else min(rivals, key=last.distance)
            last = now
        followed.append(now)
    return followed


def _completeness(mask_HW: np.ndarray, labels_HW: np.ndarray) -> float:
    """Near 1 for an object in full view, less the more of its outline lies on the border or on another object."""
    edge = np.pad(mask_HW, 1).astype(np.uint8)
    outside = cv2.dilate(edge, np.ones((3, 3), np.uint8)) - edge
    hidden = np.pad(labels_HW != BACKGROUND, 1, constant_values=True)
    return 1.0 - float((outside * hidden).sum() / max(1, outside.sum()))


def _vote(blobs: list[_Blob], labels_NHW: np.ndarray) -> dict[str, float]:
    """How well each kind fits the blobs: mean overlap over the most complete one of each span of time."""
    whole = [_completeness(blob.mask_HW, labels) for blob, labels in zip(blobs, labels_NHW, strict=True)]
    areas = np.array([blob.area_px for blob in blobs])
    unusual = np.abs(np.log(areas / np.median(areas)))  # two objects that touch, or one half hidden
    spans = np.array_split(np.arange(len(blobs)), min(VOTES, len(blobs)))
    chosen = [int(max(span, key=lambda n: (round(whole[n], 2), -unusual[n]))) for span in spans]
    weights = np.array([whole[n] ** _WHOLENESS + 1e-6 for n in chosen])
    scores = weights @ overlaps([blobs[n].mask_HW for n in chosen]) / weights.sum()
    return dict(zip(KINDS, scores.tolist(), strict=True))


def _sighting(followed: list[_Blob | None], labels_THW: np.ndarray, color: str) -> Sighting:
    height, width = labels_THW.shape[1:]
    present_T = np.array([blob is not None for blob in followed])
    blobs = [blob for blob in followed if blob is not None]
    masks_THW, path_T2 = np.zeros(labels_THW.shape, dtype=bool), np.full((len(followed), 2), np.nan)
    scores: dict[str, float] = {}
    if blobs:
        masks_THW[present_T] = [blob.mask_HW for blob in blobs]
        path_T2[present_T] = [(blob.center_2 + 0.5 - np.array([width / 2, height / 2])) / width for blob in blobs]
        scores = _vote(blobs, labels_THW[present_T])
    best = max(scores, key=scores.__getitem__) if scores else None
    return Sighting(color=color, present_T=present_T, path_T2=path_T2, masks_THW=masks_THW, shape=best, scores=scores)


def _sight(labels_THW: np.ndarray, color: str, shape: str | None) -> Sighting:
    blobs_T = [_blobs(labels_HW == NAMES.index(color)) for labels_HW in labels_THW]
    start = next((blobs for blobs in blobs_T if blobs), [])
    num_starts = 1 if shape is None else max(1, sum(blob.area_px >= RIVAL * start[0].area_px for blob in start))
    sightings = [_sighting(_follow(blobs_T, first), labels_THW, color) for first in range(num_starts)]
    return next((sighting for sighting in sightings if sighting.shape == shape), sightings[0])


def find_object(frames_THWC: np.ndarray, color: str, shape: str | None = None) -> Sighting:
    """Looks for an object of a named color, in every frame.

    Where there are several of the color, the largest of the first frame is followed, or the first that has
    the asked shape. `Sighting.shape` is what is seen, whatever was asked.

    Raises:
        BadSpec: for a color or shape the world doesn't know.
    """
    _require(color, NAMES, "color")
    if shape is not None:
        _require(shape, KINDS, "shape")
    return _sight(_read(frames_THWC), color, shape)


def find_main_object(frames_THWC: np.ndarray, *, color: str | None, shape: str | None) -> Sighting:
    """The object that stands for an asked one: that of the asked color if it is there, else the largest.

    Raises:
        BadSpec: for a color or shape the world doesn't know.
    """
    for word, known, what in ((color, NAMES, "color"), (shape, KINDS, "shape")):
        if word is not None:
            _require(word, known, what)
    labels_THW = _read(frames_THWC)
    if color is not None and _is_main(labels_THW, color):
        return _sight(labels_THW, color, shape)
    return _sight(labels_THW, NAMES[int(_areas(labels_THW).argmax())], shape)


def _areas(labels_THW: np.ndarray) -> np.ndarray:
    """Pixels of each color, the background's left out."""
    return np.bincount(labels_THW.ravel(), minlength=len(NAMES) + 1)[: len(NAMES)]


def _is_main(labels_THW: np.ndarray, color: str) -> bool:
    """Whether objects of that color are seen, and fill nearly as much as those of any other."""
    areas, at = _areas(labels_THW), NAMES.index(color)
    large = bool(areas[at] >= RIVAL * areas.max())
    return large and any(_blobs(labels_HW == at) for labels_HW in labels_THW)


def count_objects(frames_THWC: np.ndarray, color: str | None = None) -> int:
    """How many objects are seen at once, of one color or of all: the commonest count over the frames with any."""
    names = NAMES if color is None else (color,)
    labels_THW = _read(frames_THWC)[::4]
    counts = [sum(len(_blobs(labels_HW == NAMES.index(name))) for name in names) for labels_HW in labels_THW]
    return int(np.bincount([c for c in counts if c] or [0]).argmax())


def check_clip(frames_THWC: np.ndarray, *, color: str, shape: str) -> Verdict:
    """Checks a clip against what was asked for.

    The color is right if it is the main object's; where several objects are of like size (each at least 0.4
    times as large as the largest), any of them may have it. The shape is read off the object of the asked color or,
    if there is none, off the main object.

    Raises:
        BadSpec: for a color or shape the world doesn't know.
    """
    _require(color, NAMES, "color")
    _require(shape, KINDS, "shape")
    labels_THW = _read(frames_THWC)
    areas, asked = _areas(labels_THW), _sight(labels_THW, color, shape)
    color_right = _is_main(labels_THW, color)
    main = NAMES[int(areas.argmax())] if areas.any() else None
    read_color = color if color_right else main
    seen = asked if color_right or main is None else _sight(labels_THW, main, shape)
    return Verdict(color_right=color_right, shape_right=seen.shape == shape, present_share=asked.present_share,
                   path_T2=asked.path_T2, read_color=read_color, read_shape=seen.shape)  # fmt: skip


def _worn(rng: np.random.Generator, frames_THWC: np.ndarray) -> np.ndarray:
    """A true render as a generative model might give it: blurred, noisy, off-color by up to a tenth."""
    gain, shift = 1 + rng.uniform(-0.1, 0.1, 3), 255 * rng.uniform(-0.05, 0.05, 3)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.2) for frame in frames_THWC])
    return np.clip(soft * gain + shift + rng.normal(0, 8, soft.shape), 0, 255).astype(np.uint8)


def _trial(name: str, kind: str, worn: bool) -> dict[str, float]:
    """Checks one true render, asking for its first object."""
    scene = sample_scene(name, kind=kind, effects=0.0)
    frames_THWC = draw([scene], GRID_PX)[0].numpy()
    if worn:
        frames_THWC = _worn(np.random.default_rng(zlib.crc32(name.encode())), frames_THWC)
    thing, background = scene.things[0], scene.background
    verdict = check_clip(frames_THWC, color=thing.color, shape=thing.kind)
    color, pattern = read_background(frames_THWC)
    error = trajectory_error(np.array(scene.track(0)), verdict.path_T2)
    return {
        "color_right": float(verdict.color_right),
        "shape_right": float(verdict.shape_right),
        "object_present": verdict.present_share,
        "path_error_percent_of_width": math.nan if error is None else error,
        "background_color_right": float(color == background.color),
        "background_pattern_right": float(pattern == background.pattern),
    }


def measure_checker(num_scenes: int) -> dict[str, Any]:
    """How often the checker is right on true renders of each kind of scene, and on worn ones of single objects.

    Scenes whose object changes its look are left out. With several objects the first one is asked for, which
    may be hidden behind others or touch one of its color.
    """
    results: dict[str, Any] = {}
    for label, kind, worn in (("single", "single", False), ("single, blurred and off-color", "single", True),
                              ("multiple", "multiple", False), ("articulated", "articulated", False)):  # fmt: skip
        trials = {f"checker:{i}": _trial(f"checker:{i}", kind, worn) for i in range(num_scenes)}
        names = next(iter(trials.values()))
        results[label] = {name: round(float(np.nanmean([t[name] for t in trials.values()])), 4) for name in names}
        results[label]["wrong"] = [name for name, t in trials.items() if t["color_right"] * t["shape_right"] < 1]
    return results


def main(arguments: list[str] | None = None) -> None:
    """Measures the checker on true renders, and writes the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m motion_transfer.evaluate.checker", description=main.__doc__)
    parser.add_argument("--scenes", type=int, default=300, help="scenes of each kind")
    parser.add_argument("--json", type=Path, help="where to write the figures; they are printed in any case")
    options = parser.parse_args(arguments)
    made_by = stamp(modules=[Path(__file__)], folders=[], settings={"scenes": options.scenes})
    found = {"stamp": made_by, "num_scenes": options.scenes, "kinds": measure_checker(options.scenes)}
    print(json.dumps(found, indent=1))
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
