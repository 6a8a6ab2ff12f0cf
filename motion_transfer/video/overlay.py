"""Pictures of what the methods see: the map of attention heads, and tracks drawn into a clip."""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import torch

from motion_transfer.errors import BadClip
from motion_transfer.types import Clip, HeadMap

Color = tuple[int, int, int]

# Okabe and Ito's blue and vermilion, which people with any color vision tell apart.
SPATIAL_RGB: Color = (0, 114, 178)
TEMPORAL_RGB: Color = (213, 94, 0)

_INK: Color = (40, 40, 40)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE = 0.35
_LETTER_PX = 7  # width of a letter at that scale, with a little room
_LINE_PX = 16
_SUBPIXEL_BITS = 4
_SUBPIXELS = 2**_SUBPIXEL_BITS


def head_map_picture(heads: HeadMap, *, cell_px: int = 24) -> np.ndarray:
    """The heads of a base as a table: a row per block, a column per head, with labels and a legend.

    A cell is deeper in color the farther the ratio of temporal to spatial attention lies from where the map
    turns from spatial to temporal, on a logarithmic scale.

    Args:
        heads: the map; `mass_LN2` holds each head's spatial and temporal share.
        cell_px: width and height of a cell.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    table = _cell_colors(heads).repeat(cell_px, axis=0).repeat(cell_px, axis=1)
    num_rows, num_columns = heads.spatial_LN.shape
    legend = (("spatial", SPATIAL_RGB), ("temporal", TEMPORAL_RGB))
    left, top = _LETTER_PX * len("block 00"), 2 * _LINE_PX
    width = max(left + table.shape[1], left + sum(_legend_width(name) for name, _ in legend)) + _LETTER_PX
    picture = np.full((top + table.shape[0] + 2 * _LINE_PX, width, 3), 255, np.uint8)
    picture[top : top + table.shape[0], left : left + table.shape[1]] = table
    for row in _labelled(num_rows, cell_px):
        _write(picture, f"block {row}", 2, top + row * cell_px + (cell_px + 8) // 2)
    _write(picture, "head", left, _LINE_PX - 4)
    for column in _labelled(num_columns, cell_px):
        _write(picture, str(column), left + column * cell_px + 2, top - 4)
    _draw_legend(picture, legend, left, top + table.shape[0] + _LINE_PX // 2)
    return picture


def _cell_colors(heads: HeadMap) -> np.ndarray:
    """Colors of the cells, `(L, N, 3)` uint8: pale at the threshold, full at the farthest head of its kind."""
    tiny = torch.finfo(torch.float32).tiny
    mass_LN2 = heads.mass_LN2.detach().float().cpu().clamp_min(tiny)
    ratio_LN = (mass_LN2[..., 1] / mass_LN2[..., 0]).log().numpy()
    spatial_LN = heads.spatial_LN.cpu().numpy()
    distance_LN = np.abs(ratio_LN - _threshold(ratio_LN, spatial_LN))
    depth_LN = np.zeros_like(distance_LN)
    for kind_LN in (spatial_LN, ~spatial_LN):
        farthest = distance_LN[kind_LN].max(initial=0.0)
        depth_LN[kind_LN] = distance_LN[kind_LN] / farthest if farthest > 0 else 1.0
    color_LN3 = np.where(spatial_LN[..., None], np.array(SPATIAL_RGB), np.array(TEMPORAL_RGB))
    mix_LN1 = 0.25 + 0.75 * depth_LN[..., None]
    return np.rint(255 + mix_LN1 * (color_LN3 - 255)).astype(np.uint8)


def _threshold(ratio_LN: np.ndarray, spatial_LN: np.ndarray) -> float:
    """Log ratio at which the map turns temporal: halfway between the nearest heads of the two kinds."""
    if spatial_LN.all():
        return float(ratio_LN.max())
    if not spatial_LN.any():
        return float(ratio_LN.min())
    return float(ratio_LN[spatial_LN].max() + ratio_LN[~spatial_LN].min()) / 2


def _labelled(count: int, cell_px: int) -> range:
    """Numbers of the rows or columns that get a label, so that labels do not run into each other."""
    return range(0, count, -(-_LINE_PX // cell_px))


def _write(picture: np.ndarray, text: str, x_px: int, y_px: int) -> None:
    cv2.putText(picture, text, (x_px, y_px), _FONT, _FONT_SCALE, _INK, 1, cv2.LINE_AA)


def _legend_width(name: str) -> int:
    return _LINE_PX + _LETTER_PX * (len(name) + 2)


def _draw_legend(picture: np.ndarray, entries: Sequence[tuple[str, Color]], x_px: int, y_px: int) -> None:
    """A colored square and a word per entry, side by side, from the corner at `x_px`, `y_px`."""
    for name, color in entries:
        picture[y_px : y_px + 10, x_px : x_px + 10] = color
        _write(picture, name, x_px + _LINE_PX, y_px + 9)
        x_px += _legend_width(name)


def draw_tracks(clip: Clip, tracks_PT2_px: np.ndarray, *, tail_frames: int = 12) -> Clip:
    """The clip with a dot on every track point and a line along where it has been.

    Args:
        clip: what to draw on.
        tracks_PT2_px: `(P, T, 2)` places as x and y in pixels, where whole numbers are pixel centers; a point
            with NaN is not drawn in that frame.
        tail_frames: how many earlier frames the line reaches back.

    Raises:
        BadClip: the tracks are not as long as the clip.
    """
    tracks_PT2 = np.asarray(tracks_PT2_px, dtype=np.float64)
    if tracks_PT2.ndim != 3 or tracks_PT2.shape[1:] != (clip.num_frames, 2):
        wanted = f"(P, {clip.num_frames}, 2)"
        raise BadClip(f"tracks of shape {wanted} are expected, but got {tracks_PT2.shape}; track this same clip.")
    frames_THWC = clip.frames_THWC.copy()
    colors = _track_colors(len(tracks_PT2))
    for frame, picture_HWC in enumerate(frames_THWC):
        for path_T2, color in zip(tracks_PT2[:, max(0, frame - tail_frames) : frame + 1], colors, strict=True):
            _draw_path(picture_HWC, path_T2, color)
    return dataclasses.replace(clip, frames_THWC=frames_THWC)


def _track_colors(count: int) -> list[Color]:
    """Bright colors, evenly around the hue circle."""
    shades = (colorsys.hsv_to_rgb(i / max(1, count), 0.85, 1.0) for i in range(count))
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in shades]


def _draw_path(picture_HWC: np.ndarray, path_T2: np.ndarray, color: Color) -> None:
    """A line through the points that are there, in place, and a dot on the last one."""
    limit = 16 * max(picture_HWC.shape)  # far-off points would overflow the drawing's fixed-point numbers
    there_T = np.isfinite(path_T2).all(1) & (np.abs(np.nan_to_num(path_T2)) < limit).all(1)
    fixed = [tuple(int(v) for v in point) for point in np.rint(np.where(there_T[:, None], path_T2, 0) * _SUBPIXELS)]
    for i in range(1, len(fixed)):
        if there_T[i - 1] and there_T[i]:
            cv2.line(picture_HWC, fixed[i - 1], fixed[i], color, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    if there_T[-1]:
        radius = max(1.5, min(picture_HWC.shape[:2]) / 64)
        for rim, shade in ((0.75, _INK), (0.0, color)):  # the rim keeps the dot visible on its own color
            cv2.circle(
                picture_HWC, fixed[-1], round((radius + rim) * _SUBPIXELS), shade, -1, cv2.LINE_AA, _SUBPIXEL_BITS
            )
