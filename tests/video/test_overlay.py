"""Pictures of head maps and tracks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motion_transfer.errors import BadClip
from motion_transfer.types import Clip, HeadMap
from motion_transfer.video.overlay import SPATIAL_RGB, TEMPORAL_RGB, draw_tracks, head_map_picture


def head_map(num_blocks: int = 3, num_heads: int = 4) -> HeadMap:
    """Ratios that grow from head to head; temporal from the middle on."""
    ratio = torch.logspace(-1, 1, num_blocks * num_heads).view(num_blocks, num_heads)
    mass = torch.stack([torch.full_like(ratio, 0.2), 0.2 * ratio], -1)
    return HeadMap(mass_LN2=mass, spatial_LN=ratio < 1, base_hash="nano")


def cell(picture: np.ndarray, heads: HeadMap, row: int, column: int, cell_px: int) -> tuple[int, ...]:
    """Color in the middle of a cell; the table ends as far from the picture's bottom as it starts from its top."""
    num_rows = heads.spatial_LN.shape[0]
    top = (picture.shape[0] - num_rows * cell_px) // 2
    full = np.argwhere((picture == SPATIAL_RGB).all(-1))
    left = int(full[full[:, 0] < top + num_rows * cell_px][:, 1].min())
    return tuple(int(v) for v in picture[top + row * cell_px + cell_px // 2, left + column * cell_px + cell_px // 2])


@pytest.mark.parametrize("cell_px", [24, 10])
def test_cells_have_their_kind_and_depth(cell_px: int) -> None:
    heads = head_map()
    picture = head_map_picture(heads, cell_px=cell_px)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert cell(picture, heads, 0, 0, cell_px) == SPATIAL_RGB  # farthest from the threshold: full color
    assert cell(picture, heads, 2, 3, cell_px) == TEMPORAL_RGB
    spatial = [sum(cell(picture, heads, i // 4, i % 4, cell_px)) for i in range(6)]
    temporal = [sum(cell(picture, heads, i // 4, i % 4, cell_px)) for i in range(6, 12)]
    assert spatial == sorted(spatial) and len(set(spatial)) == 6
    assert temporal == sorted(temporal, reverse=True) and len(set(temporal)) == 6


@pytest.mark.parametrize(("num_blocks", "num_heads"), [(1, 1), (8, 6), (30, 12)])
def test_any_base_fits(num_blocks: int, num_heads: int) -> None:
    picture = head_map_picture(head_map(num_blocks, num_heads))
    assert picture.shape[0] >= 24 * num_blocks and picture.shape[1] >= 24 * num_heads
    for color in (SPATIAL_RGB, TEMPORAL_RGB):
        assert (picture == color).all(-1).any()  # the legend shows both kinds even where one is absent


@pytest.mark.parametrize("spatial", [True, False])
def test_maps_of_one_kind_or_one_value(spatial: bool) -> None:
    heads = HeadMap(mass_LN2=torch.zeros(2, 2, 2), spatial_LN=torch.full((2, 2), spatial), base_hash="nano")
    picture = head_map_picture(heads)
    kind = SPATIAL_RGB if spatial else TEMPORAL_RGB
    assert (picture == kind).all(-1).sum() >= 4 * 24 * 24


def test_tracks_are_drawn_where_the_points_are() -> None:
    clip = Clip(frames_THWC=np.zeros((5, 40, 60, 3), np.uint8), fps=10, caption="dark")
    tracks = np.stack([np.stack([10.0 + 8 * np.arange(5), np.full(5, 12.0)], -1), np.full((5, 2), np.nan)])
    tracks[1, 4] = 50, 30
    drawn = draw_tracks(clip, tracks)
    assert not clip.frames_THWC.any() and drawn.caption == "dark"
    for i in range(5):
        assert drawn.frames_THWC[i, 12, 10 + 8 * i].max() > 200
        assert not drawn.frames_THWC[i, 12, 14 + 8 * i :].any()  # nothing ahead of the point
    assert drawn.frames_THWC[4, 12, 12].any()  # the tail
    assert not drawn.frames_THWC[3, 20:].any()
    assert drawn.frames_THWC[4, 30, 50].max() > 200
    assert not draw_tracks(clip, tracks, tail_frames=1).frames_THWC[4, 12, :30].any()


def test_far_off_points_do_no_harm() -> None:
    clip = Clip(frames_THWC=np.zeros((3, 16, 16, 3), np.uint8), fps=10)
    tracks = np.array([[[1e12, 0], [-1e300, np.inf], [8, 8]]])
    drawn = draw_tracks(clip, tracks)
    assert not drawn.frames_THWC[:2].any() and drawn.frames_THWC[2, 8, 8].any()


def test_tracks_of_another_length_are_refused() -> None:
    clip = Clip(frames_THWC=np.zeros((3, 16, 16, 3), np.uint8), fps=10)
    with pytest.raises(BadClip, match="track this same clip"):
        draw_tracks(clip, np.zeros((2, 4, 2)))
    assert draw_tracks(clip, np.zeros((0, 3, 2))).num_frames == 3
