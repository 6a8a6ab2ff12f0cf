"""The strip of frames and the crop box: what is chosen lies exactly where it is shown."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest

from motion_transfer.errors import BadClip, BadSpec
from motion_transfer.types import Clip
from motion_transfer.video.strip import (
    CHOSEN_RGB,
    CUT_RGB,
    Box,
    box_picture,
    crop_box,
    cropped,
    frame_strip,
    strip_time,
)
from tests.video.files import numbered


def clip_of(num_frames: int = 48, height: int = 36, width: int = 64) -> Clip:
    return Clip(frames_THWC=numbered(num_frames, height, width), fps=12, caption="gray")


def columns(picture_HWC: np.ndarray, color: tuple[int, int, int], row: int) -> list[int]:
    """Columns of one row that have a color."""
    return np.flatnonzero((picture_HWC[row] == color).all(-1)).tolist()


def middles(found: list[int]) -> list[float]:
    """Middles of the runs of neighboring columns."""
    runs = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1)
    return [float(np.mean(run)) for run in runs]


@pytest.mark.parametrize(("num_frames", "height_px"), [(12, 72), (1, 40), (7, 16), (30, 144)])
def test_frames_stand_side_by_side(num_frames: int, height_px: int) -> None:
    picture = frame_strip(clip_of(), start_s=0, end_s=4, num_frames=num_frames, height_px=height_px)
    assert picture.shape == (height_px, num_frames * round(height_px * 64 / 36), 3)
    assert picture.dtype == np.uint8


def test_each_frame_is_the_one_shown_at_its_place() -> None:
    clip = clip_of()
    picture = frame_strip(clip, start_s=0, end_s=clip.seconds, num_frames=12)
    thumb = picture.shape[1] // 12
    for place in range(12):
        shown = (int(picture[36, place * thumb + thumb // 2, 0]) - 16) / 4
        time_s = strip_time(place * thumb + thumb / 2, picture.shape[1], clip.seconds)
        assert abs(shown - time_s * clip.fps) <= 1


def test_short_clips_repeat_frames() -> None:
    assert frame_strip(clip_of(1), start_s=0, end_s=1 / 12, num_frames=5).shape[1] == 5 * 128


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 4.0), (0.37, 2.11), (1.0, 1.3), (3.2, 4.0)])
def test_handles_stand_at_the_exact_ends(start_s: float, end_s: float) -> None:
    clip = clip_of()
    picture = frame_strip(clip, start_s=start_s, end_s=end_s)
    shown = middles(columns(picture, CHOSEN_RGB, picture.shape[0] // 2))
    found = [strip_time(x, picture.shape[1], clip.seconds) for x in shown]
    assert found == pytest.approx([start_s, end_s], abs=2 * clip.seconds / picture.shape[1])


def test_flags_point_into_the_span() -> None:
    picture = frame_strip(clip_of(), start_s=1, end_s=3)
    top, bottom = (columns(picture, CHOSEN_RGB, row) for row in (9, 62))
    left, right = (round(share * (picture.shape[1] - 1)) for share in (0.25, 0.75))
    assert max(x for x in top if x < 700) > left + 8 and min(x for x in bottom if x > 700) < right - 8
    assert min(top) == left - 1 and max(bottom) == right + 1


def test_outside_the_span_is_dark() -> None:
    whole = frame_strip(clip_of(), start_s=0, end_s=4)
    picture = frame_strip(clip_of(), start_s=1, end_s=3)
    quarter = picture.shape[1] // 4
    inside = slice(quarter + 40, 3 * quarter - 40)
    np.testing.assert_array_equal(picture[10:-10, inside], whole[10:-10, inside])
    for outside in (slice(40, quarter - 10), slice(3 * quarter + 10, 4 * quarter - 40)):
        assert picture[10:-10, outside].mean() < 0.45 * whole[10:-10, outside].mean()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_cuts_are_dashed_lines_at_their_exact_time(level: int) -> None:
    clip = Clip(frames_THWC=np.full((48, 36, 64, 3), level, np.uint8), fps=12)
    picture = frame_strip(clip, start_s=1, end_s=3, cuts=[5, 24, 40])
    x_px = [round(cut / 48 * (picture.shape[1] - 1)) for cut in (5, 24, 40)]
    assert middles(columns(picture, CUT_RGB, 4)) == x_px
    for x in x_px:
        blue_H = (picture[4:-4, x] == CUT_RGB).all(-1)
        assert 0.3 < blue_H.mean() < 0.7 and np.abs(np.diff(blue_H.astype(int))).sum() >= 6
        assert (picture[4:-4, [x - 2, x + 2]].max(-1) < 40).all()  # ink on both sides


def test_marks_differ_for_every_kind_of_eye() -> None:
    """By hue along the axis that color-blind people keep, by brightness, and by their shape."""
    (yellow, blue), weights = (CHOSEN_RGB, CUT_RGB), (0.2126, 0.7152, 0.0722)
    light = [sum(w * (v / 255) ** 2.2 for w, v in zip(weights, color, strict=True)) for color in (yellow, blue)]
    assert (light[0] + 0.05) / (light[1] + 0.05) > 1.5
    hues = [colorsys.rgb_to_hsv(*(v / 255 for v in color))[0] for color in (yellow, blue)]
    assert abs(hues[0] - hues[1]) > 0.3


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(-0.1, 2), (2, 2), (3, 1), (5, 6), (1, 4.5), (math.nan, 2), (1, math.nan)]
)
def test_spans_outside_the_clip_are_refused(start_s: float, end_s: float) -> None:
    with pytest.raises(BadClip, match="the span must"):
        frame_strip(clip_of(), start_s=start_s, end_s=end_s)


def test_an_end_typed_back_rounded_is_taken() -> None:
    picture = frame_strip(clip_of(47), start_s=0, end_s=3.95)
    assert columns(picture, CHOSEN_RGB, 36)[-1] == picture.shape[1] - 1


@pytest.mark.parametrize("wrong", [{"num_frames": 0}, {"height_px": 3}, {"cuts": [48]}, {"cuts": [3, -1]}])
def test_impossible_strips_are_refused(wrong: dict) -> None:
    with pytest.raises(BadSpec, match="; "):
        frame_strip(clip_of(), start_s=0, end_s=1, **wrong)


def test_a_click_means_a_time() -> None:
    assert strip_time(0, 1000, 8.0) == 0
    assert strip_time(999, 1000, 8.0) == 8
    assert strip_time(499.5, 1000, 8.0) == pytest.approx(4)
    assert strip_time(-20, 1000, 8.0) == 0
    assert strip_time(5000, 1000, 8.0) == 8
    assert strip_time(1, 1, 8.0) == 8


@pytest.mark.parametrize(
    ("aspect", "zoom", "x", "y", "box"),
    [
        (16 / 9, 1, 0.5, 0.5, (0, 0, 160, 90)),
        (1, 1, 0, 0, (0, 0, 90, 90)),
        (1, 1, 0.5, 1, (35, 0, 125, 90)),
        (1, 1, 1, 0, (70, 0, 160, 90)),
        (1, 2, 1, 1, (115, 45, 160, 90)),
        (4, 1, 0, 0.5, (0, 25, 160, 65)),
        (0.5, 3, 0.5, 0, (72, 0, 87, 30)),
        (1, 1000, 1, 1, (158, 88, 160, 90)),
        (1000, 1, 0, 0, (0, 0, 160, 2)),
    ],
)
def test_boxes(aspect: float, zoom: float, x: float, y: float, box: Box) -> None:
    got = crop_box(160, 90, aspect, zoom, x, y)
    assert got == pytest.approx(box, abs=1)
    assert (got[2] - got[0], got[3] - got[1]) == (box[2] - box[0], box[3] - box[1])


def test_boxes_lie_inside_and_keep_their_aspect() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        width, height = (int(v) for v in rng.integers(2, 900, 2))
        aspect, zoom = float(2 ** rng.uniform(-3, 3)), float(2 ** rng.uniform(0, 5))
        left, top, right, bottom = crop_box(width, height, aspect, zoom, *rng.random(2).tolist())
        assert 0 <= left <= right - 2 and right <= width and 0 <= top <= bottom - 2 and bottom <= height
        if min(right - left, bottom - top) > 2:
            assert abs((right - left) - aspect * (bottom - top)) <= 0.51 * (1 + aspect)


@pytest.mark.parametrize(
    "wrong",
    [
        {"aspect": 0}, {"aspect": -1}, {"aspect": math.inf}, {"aspect": math.nan}, {"zoom": 0.99}, {"zoom": math.nan},
        {"zoom": math.inf}, {"x": -0.01}, {"x": 1.01}, {"y": 2}, {"y": math.nan},
    ],
)  # fmt: skip
def test_impossible_boxes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadSpec, match="but is"):
        crop_box(160, 90, **{"aspect": 1.0, "zoom": 1.0, "x": 0.5, "y": 0.5, **wrong})


def test_pictures_of_one_pixel_cannot_be_cropped() -> None:
    with pytest.raises(BadClip, match="2 x 2"):
        crop_box(1, 90, 1)


def test_a_clip_is_cropped_to_the_box() -> None:
    frames_THWC = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    clip = Clip(frames_THWC=frames_THWC, fps=5, caption="noise", source="a.mp4")
    part = cropped(clip, (4, 3, 24, 18))
    np.testing.assert_array_equal(part.frames_THWC, frames_THWC[:, 3:18, 4:24])
    assert (part.fps, part.caption, part.source) == (5, "noise", "a.mp4")
    assert part.frames_THWC.base is None and part.frames_THWC.flags.c_contiguous
    np.testing.assert_array_equal(cropped(clip, crop_box(30, 20, 1.5)).frames_THWC, frames_THWC)


@pytest.mark.parametrize("box", [(-1, 0, 9, 9), (0, 0, 31, 9), (0, 5, 9, 21), (9, 0, 9, 9), (9, 0, 3, 9), (0, 4, 9, 5)])
def test_boxes_outside_the_picture_are_refused(box: Box) -> None:
    clip = clip_of(2, 20, 30)
    with pytest.raises(BadSpec, match="within 30 x 20"):
        cropped(clip, box)
    with pytest.raises(BadSpec, match="within 30 x 20"):
        box_picture(clip.frames_THWC[0], box)


@pytest.mark.parametrize("size", [(120, 200), (20, 30), (600, 400)])
def test_the_box_is_framed_and_all_else_is_dark(size: tuple[int, int]) -> None:
    height, width = size
    frame = np.random.default_rng(0).integers(40, 256, (height, width, 3), dtype=np.uint8)
    before = frame.copy()
    left, top, right, bottom = box = crop_box(width, height, 1, 1.5, 0.7, 0.2)
    picture = box_picture(frame, box)
    np.testing.assert_array_equal(frame, before)
    edge = (picture == CHOSEN_RGB).all(-1)
    assert edge[top, left:right].all() and edge[bottom - 1, left:right].all()
    assert edge[top:bottom, left].all() and edge[top:bottom, right - 1].all()
    np.testing.assert_array_equal(picture[top + 10 : bottom - 10, left + 10 : right - 10],
                                  frame[top + 10 : bottom - 10, left + 10 : right - 10])  # fmt: skip
    outside = np.ones((height, width), bool)
    outside[top:bottom, left:right] = False
    assert not edge[outside].any() and picture[outside].max() <= 0.41 * 255


@pytest.mark.parametrize("box", [(0, 0, 2, 2), (28, 18, 30, 20), (5, 5, 8, 20), (0, 0, 30, 20)])
def test_small_boxes_are_framed_without_spilling(box: Box) -> None:
    left, top, right, bottom = box
    edge = (box_picture(np.full((20, 30, 3), 90, np.uint8), box) == CHOSEN_RGB).all(-1)
    assert edge[top, left:right].all() and edge.sum() == edge[top:bottom, left:right].sum()
