"""Tells shapes and figures apart by their outline: analysis by synthesis.

The procedural world draws every shape, and every figure in many poses. A seen mask is laid over all of
them, turned and mirrored, and the one that covers it best names it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from random import Random

import cv2
import numpy as np

from motion_transfer.video.synth.backgrounds import Background
from motion_transfer.video.synth.camera import Camera
from motion_transfer.video.synth.draw import draw_masks
from motion_transfer.video.synth.figures import GAITS, sample_gait
from motion_transfer.video.synth.palette import DIRECTIONAL, FIGURES, SHAPES
from motion_transfer.video.synth.scene import Scene, Thing

KINDS = SHAPES + FIGURES
CANVAS_PX = 32
REACH = 2.6  # the canvas is this many times wider than the root of the mask's area
DRAWN_PX = 96
WEAR_PX = 4.5  # blur of a worn mask, at DRAWN_PX
SHAPE_TURNS = 60  # rotations of a shape, over the full circle
FIGURE_TURNS = tuple(math.radians(a) for a in range(-28, 29, 8))  # figures stand; only the camera rolls
POSES = 14  # per gait


def normalized(mask_HW: np.ndarray, *, turn: float = 0.0, mirror: bool = False) -> np.ndarray:
    """A mask moved to its centroid and scaled to a fixed area, as a flat `(CANVAS_PX²,)` float32 of unit length.

    Args:
        mask_HW: bool or 0..1, not empty.
        turn: rotation in radians.
        mirror: flip left and right before turning.
    """
    mask: np.ndarray = mask_HW.astype(np.float32)
    moments = cv2.moments(mask)
    center = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    scale = CANVAS_PX / (REACH * math.sqrt(moments["m00"]))
    c, s = math.cos(turn) * scale, math.sin(turn) * scale
    matrix = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if mirror else 1.0, 1.0])
    shift = (CANVAS_PX - 1) / 2 - matrix @ center
    if scale < 1:
        mask = cv2.GaussianBlur(mask, (0, 0), 0.4 / scale)
    canvas = cv2.warpAffine(mask, np.column_stack([matrix, shift]), (CANVAS_PX, CANVAS_PX), flags=cv2.INTER_LINEAR)
    canvas = cv2.GaussianBlur(canvas, (0, 0), 0.8).ravel()
    return canvas / np.linalg.norm(canvas)


def drawn_masks(things: list[Thing], num_frames: int) -> np.ndarray:
    """Masks `(num_things, T, H, W)` of objects before a still camera."""
    still = (0.0,) * num_frames
    camera = Camera(kind="static", x=still, y=still, zoom=(1.0,) * num_frames, roll=still)
    background = Background(color="white", pattern="plain", angle=0.0, period=1.0, seed=0)
    scene = Scene(name="", things=tuple(things), background=background, camera=camera, caption="", motion="",
                  num_frames=num_frames)  # fmt: skip
    return draw_masks(scene, DRAWN_PX).numpy()


def _worn(mask_HW: np.ndarray) -> np.ndarray:
    """The mask as a blurred render shows it: corners rounded, small holes closed."""
    return cv2.GaussianBlur(mask_HW.astype(np.float32), (0, 0), WEAR_PX) > 0.5


def _shape_templates(kind: str) -> list[np.ndarray]:
    thing = Thing(kind=kind, color="black", size=0.6, shading="flat", path=((0.0, 0.0),), angles=(0.0,),
                  scales=(1.0,), facing=(1.0,))  # fmt: skip
    mask = drawn_masks([thing], 1)[0, 0]
    turns = [2 * math.pi * i / SHAPE_TURNS for i in range(SHAPE_TURNS)]
    mirrors = (False, True) if kind in DIRECTIONAL else (False,)
    looks = (mask, _worn(mask))
    return [normalized(m, turn=turn, mirror=mirror) for m in looks for mirror in mirrors for turn in turns]


def _figure_templates(figure: str) -> list[np.ndarray]:
    things = []
    for seed, kind in enumerate(GAITS):
        gait = sample_gait(Random(seed), figure, POSES, kind)
        things.append(Thing(kind=figure, color="black", size=0.6, shading="flat", path=((0.0, 0.0),) * POSES,
                            angles=(0.0,) * POSES, scales=(1.0,) * POSES, facing=gait.facing, gait=gait))  # fmt: skip
    masks = drawn_masks(things, POSES).reshape(-1, DRAWN_PX, DRAWN_PX)
    return [normalized(m, turn=turn, mirror=flip) for m in masks for flip in (False, True) for turn in FIGURE_TURNS]


@lru_cache(maxsize=1)
def _templates() -> tuple[np.ndarray, np.ndarray]:
    """All templates `(num, CANVAS_PX²)` float32, and where each kind's begin."""
    by_kind = [_figure_templates(kind) if kind in FIGURES else _shape_templates(kind) for kind in KINDS]
    starts = np.cumsum([0, *(len(templates) for templates in by_kind[:-1])])
    return np.stack([template for templates in by_kind for template in templates]), starts


def overlaps(masks: list[np.ndarray]) -> np.ndarray:
    """How well each kind covers each mask at best: intersection over union, `(num_masks, num_kinds)`.

    Masks are soft, so both are read as inner products (Tanimoto): a·b / (|a|² + |b|² - a·b), with unit lengths.
    """
    templates, starts = _templates()
    inner = np.stack([normalized(mask) for mask in masks]) @ templates.T
    return np.maximum.reduceat(inner / (2 - inner), starts, axis=1)
