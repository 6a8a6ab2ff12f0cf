"""Reads named colors back from pixels of the procedural world, without knowing the scene.

A background color is a line in RGB, from its first to its second tone; an object color is a line through
black, as far as shading reaches. A pixel belongs to the line it lies nearest to, which leaves room for
blurred edges and for the off-colors of a generative model.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from motion_transfer.video.synth.backgrounds import TONE
from motion_transfer.video.synth.palette import COLORS

GRID_PX = 64  # every clip is read at this width, the world's own
NAMES = tuple(COLORS)
BACKGROUND = len(NAMES)  # the label of background pixels
SHADE = (0.84, 1.14)  # darkest and brightest shading of an object
MIN_CORE_SHARE = 0.003  # of a frame: an object's color fills at least this much, edges aside
MIN_CORE_FRAMES = 2
_BORDER_VOTES = 3  # pixels on the frame's border are background more often
_NEAR = 0.25  # RGB distance within which a pixel may be an off-color background


def to_grid(frames_THWC: np.ndarray) -> np.ndarray:
    """Frames `(T, h, GRID_PX, 3)` as float32 in 0..1, with the clip's aspect ratio."""
    height, width = frames_THWC.shape[1:3]
    size = (GRID_PX, max(1, round(height * GRID_PX / width)))
    if (width, height) != size:
        how = cv2.INTER_AREA if width > GRID_PX else cv2.INTER_LINEAR
        frames_THWC = np.stack([cv2.resize(frame, size, interpolation=how) for frame in frames_THWC])
    return np.ascontiguousarray(frames_THWC, dtype=np.float32) / 255


@lru_cache(maxsize=1)
def _background_lines() -> tuple[np.ndarray, np.ndarray]:
    """Start and direction of each color's background line, both `(num_colors, 3)`."""
    base = np.array(list(COLORS.values()), dtype=np.float32)
    toward = (base @ np.array([0.3, 0.59, 0.11], dtype=np.float32) < 0.5)[:, None]
    return base, (TONE * (toward - base)).astype(np.float32)


@lru_cache(maxsize=1)
def _object_lines() -> tuple[np.ndarray, np.ndarray]:
    """Start and direction of each color's shading line, both `(num_colors, 3)`."""
    base = np.array(list(COLORS.values()), dtype=np.float32)
    return SHADE[0] * base, (SHADE[1] - SHADE[0]) * base


def _line_distances(pixels: np.ndarray, lines: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Squared distances of pixels `(..., 3)` to lines of finite length, `(..., num_lines)`."""
    start, along = lines
    length = (along * along).sum(1)
    ahead = pixels @ along.T - (start * along).sum(1)
    part = np.clip(ahead / length, 0, 1)
    from_start = (pixels * pixels).sum(-1, keepdims=True) - 2 * pixels @ start.T + (start * start).sum(1)
    return from_start + part * (part * length - 2 * ahead)


def background_color(pixels_THWC: np.ndarray) -> str:
    """The named color whose tones most pixels lie nearest to; `pixels_THWC` as from `to_grid`."""
    nearest_THW = _line_distances(pixels_THWC, _background_lines()).argmin(-1)
    votes = np.bincount(nearest_THW.ravel(), minlength=len(NAMES))
    edges = (nearest_THW[:, 0], nearest_THW[:, -1], nearest_THW[:, :, 0], nearest_THW[:, :, -1])
    for edge in edges:
        votes += _BORDER_VOTES * np.bincount(edge.ravel(), minlength=len(NAMES))
    return NAMES[int(votes.argmax())]


def background_mix(pixels_THWC: np.ndarray, color: str) -> np.ndarray:
    """How far each pixel lies from the first (0) toward the second tone (1) of a background, unclipped `(T, H, W)`."""
    start, along = (line[NAMES.index(color)] for line in _background_lines())
    return (pixels_THWC - start) @ along / (along @ along)


def _seen_background(pixels_THWC: np.ndarray, color: str) -> tuple[np.ndarray, np.ndarray]:
    """The background's line as this clip shows it: moved by the mean color error of the pixels near it."""
    start, along = (line[NAMES.index(color)] for line in _background_lines())
    part = np.clip((pixels_THWC - start) @ along / (along @ along), 0, 1)[..., None]
    error = pixels_THWC - start - part * along
    near = (error * error).sum(-1) < _NEAR**2
    return (start + error[near].mean(0) if near.any() else start)[None], along[None]


def _nearest(pixels_THWC: np.ndarray, behind: tuple[np.ndarray, np.ndarray], colors: list[int]) -> np.ndarray:
    """Labels `(T, H, W)` uint8: an index into `NAMES` among `colors`, or `BACKGROUND` for the line `behind`."""
    start, along = _object_lines()
    front = _line_distances(pixels_THWC, (start[colors], along[colors]))
    labels = np.array([*colors, BACKGROUND], dtype=np.uint8)
    return labels[np.concatenate([front, _line_distances(pixels_THWC, behind)], -1).argmin(-1)]


def _core_shares(labels_THW: np.ndarray) -> np.ndarray:
    """Share of each frame that each color fills, counting only pixels whose neighbors agree, `(T, num_colors)`."""
    box = np.ones((3, 3), np.uint8)
    shares = []
    for labels in labels_THW:
        core = labels[cv2.erode(labels, box) == cv2.dilate(labels, box)]
        shares.append(np.bincount(core, minlength=len(NAMES) + 1)[: len(NAMES)] / labels.size)
    return np.stack(shares)


def label_pixels(pixels_THWC: np.ndarray, background: str) -> np.ndarray:
    """Names every pixel: the background, or one of the colors that objects are seen to have.

    Blends at an object's edge look like third colors, but are thin. So the colors with a solid core are found
    first, and each pixel then goes to the nearest of those.

    Returns:
        Labels `(T, H, W)` uint8, indices into `NAMES` or `BACKGROUND`.
    """
    others = [i for i, name in enumerate(NAMES) if name != background]
    behind = _seen_background(pixels_THWC, background)
    shares = _core_shares(_nearest(pixels_THWC, behind, others))
    solid = (shares >= MIN_CORE_SHARE).sum(0) >= min(MIN_CORE_FRAMES, len(pixels_THWC))
    return _nearest(pixels_THWC, behind, [i for i in others if solid[i]])
