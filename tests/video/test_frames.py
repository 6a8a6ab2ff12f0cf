"""Fitting clips in time and space, sparse frames, contact sheets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from motion_transfer.errors import BadClip, BadSpec
from motion_transfer.types import Clip
from motion_transfer.video.frames import contact_sheet, fit_clip, save_png, slowed, sparse_indices

SPEED_WIDTHS_PER_S = 0.31


def ball_place(time_s: float) -> tuple[float, float]:
    """Where the ball is, in frame heights from the frame's center: even across, and bouncing."""
    return -0.3 + SPEED_WIDTHS_PER_S * time_s, 0.25 - 0.5 * abs(np.sin(2.0 * time_s))


def ball_clip(num_frames: int, fps: float, height: int = 96, width: int = 128) -> Clip:
    """A white ball on black, drawn with soft edges so that its centroid is exact."""
    y, x = np.mgrid[:height, :width] + 0.5
    frames = []
    for i in range(num_frames):
        ball_x, ball_y = ball_place(i / fps)
        distance = np.hypot(x - width / 2 - ball_x * height, y - height / 2 - ball_y * height) - 0.08 * height
        frames.append(np.clip(0.5 - distance, 0, 1)[..., None] * 255)
    return Clip(frames_THWC=np.rint(np.stack(frames)).astype(np.uint8).repeat(3, axis=3), fps=fps, caption="a ball")


def centroid(frame_HWC: np.ndarray) -> tuple[float, float]:
    """Center of brightness in frame heights from the frame's center."""
    weight = frame_HWC.mean(-1)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    height, width = weight.shape
    return (weight * x).sum() / weight.sum() / height - width / height / 2, (
        weight * y
    ).sum() / weight.sum() / height - 0.5


@pytest.mark.parametrize(
    ("num_source", "fps", "num_frames", "height", "width"),
    [(61, 30, 49, 64, 64), (121, 60, 17, 64, 64), (25, 12, 49, 64, 96), (9, 25, 9, 192, 192), (40, 23.976, 13, 50, 31)],
)
def test_the_ball_keeps_its_timing(num_source: int, fps: float, num_frames: int, height: int, width: int) -> None:
    clip = ball_clip(num_source, fps)
    fitted = fit_clip(clip, num_frames=num_frames, height=height, width=width)
    assert fitted.frames_THWC.shape == (num_frames, height, width, 3)
    assert (num_frames - 1) / fitted.fps == pytest.approx((num_source - 1) / fps)
    assert fitted.caption == "a ball"
    fastest_per_s = np.hypot(SPEED_WIDTHS_PER_S, 1.0)
    shown = min(1.0, 128 / 96 * height / width)  # share of the source's height that the crop leaves
    for i, frame in enumerate(fitted.frames_THWC):
        x, y = ball_place(i / fitted.fps)
        if abs(x) + 0.1 > shown * width / height / 2 or abs(y) + 0.1 > shown / 2:
            continue  # partly cropped away
        # Nearest frames are at most half a source frame off in time; the crop is off by half a source pixel at most.
        error = np.hypot(*(np.array(centroid(frame)) * shown - (x, y)))
        assert error < 0.5 / fps * fastest_per_s + 0.5 / 96 + 0.1 / height


def test_first_and_last_frame_are_kept() -> None:
    clip = ball_clip(11, 10)
    fitted = fit_clip(clip, num_frames=4, height=96, width=128)
    np.testing.assert_array_equal(fitted.frames_THWC[[0, -1]], clip.frames_THWC[[0, -1]])


def test_fitting_what_fits_changes_nothing() -> None:
    clip = ball_clip(5, 10)
    fitted = fit_clip(clip, num_frames=5, height=96, width=128)
    np.testing.assert_array_equal(fitted.frames_THWC, clip.frames_THWC)
    assert fitted.fps == pytest.approx(10)


def test_slow_clips_repeat_frames_and_never_blend_them() -> None:
    clip = ball_clip(3, 2)
    fitted = fit_clip(clip, num_frames=9, height=96, width=128)
    known = {frame.tobytes() for frame in clip.frames_THWC}
    assert {frame.tobytes() for frame in fitted.frames_THWC} == known


@pytest.mark.parametrize(("pace", "places"), [(1.0, [0, 1, 2, 3, 4]), (0.5, [1, 2, 2, 3, 3]), (0.0, [2, 2, 2, 2, 2])])
def test_slowed_clips_show_the_middle_of_their_time(pace: float, places: list[int]) -> None:
    clip = ball_clip(5, 10)
    np.testing.assert_array_equal(slowed(clip, pace).frames_THWC, clip.frames_THWC[places])


@pytest.mark.parametrize(("height", "width"), [(20, 60), (60, 20), (7, 7), (200, 10)])
def test_the_crop_is_central(height: int, width: int) -> None:
    """A bright center stays in the center, whatever the aspect."""
    frames = np.zeros((2, 90, 120, 3), np.uint8)
    frames[:, 43:47, 58:62] = 255
    fitted = fit_clip(Clip(frames_THWC=frames, fps=5), num_frames=2, height=height, width=width)
    np.testing.assert_allclose(centroid(fitted.frames_THWC[0]), (0, 0), atol=0.02)


def test_shrinking_averages() -> None:
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    frames[:, :, ::2] = 255
    fitted = fit_clip(Clip(frames_THWC=frames, fps=5), num_frames=2, height=16, width=16)
    np.testing.assert_allclose(fitted.frames_THWC, 127.5, atol=1)


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(BadClip, match="at least two frames"):
        fit_clip(ball_clip(1, 10), num_frames=5, height=8, width=8)
    for num_frames, height, width in ((1, 8, 8), (5, 0, 8), (5, 8, -1)):
        with pytest.raises(BadSpec, match="ask for more"):
            fit_clip(ball_clip(3, 10), num_frames=num_frames, height=height, width=width)


def test_sparse_indices_worked_cases() -> None:
    assert sparse_indices(13, 7) == (0, 2, 4, 6, 8, 10, 12)
    assert sparse_indices(49, 5) == (0, 12, 24, 36, 48)
    assert sparse_indices(4, 4) == (0, 1, 2, 3)
    assert sparse_indices(9, 2) == (0, 8)


@pytest.mark.parametrize(("num_frames", "num_sparse"), [(13, 6), (13, 1), (3, 7), (1, 1), (0, 2), (5, -3)])
def test_sparse_indices_that_do_not_divide(num_frames: int, num_sparse: int) -> None:
    with pytest.raises(BadSpec, match="choose"):
        sparse_indices(num_frames, num_sparse)


def test_sparse_error_names_what_fits() -> None:
    with pytest.raises(BadSpec, match="choose 2 or 3 or 4 or 5 or 7 or 13"):
        sparse_indices(13, 6)


def test_contact_sheet_shows_a_row_per_clip() -> None:
    clip, small = ball_clip(9, 10), ball_clip(5, 10, 48, 64)
    sheet = contact_sheet([clip, small], columns_frames=3, scale=2)
    assert sheet.shape == (2 * 96 * 2, 3 * 128 * 2, 3)
    np.testing.assert_array_equal(sheet[:192:2, 128 * 2 : 256 * 2 : 2], clip.frames_THWC[4])
    np.testing.assert_array_equal(sheet[:192:2, 256 * 2 :: 2], clip.frames_THWC[8])
    assert contact_sheet([clip], columns_frames=1).shape == (96, 128, 3)
    with pytest.raises(BadSpec):
        contact_sheet([], columns_frames=3)


def test_png_holds_the_same_pixels(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    save_png(picture, tmp_path / "a.png")
    back_BGR = cv2.imread(str(tmp_path / "a.png"))
    assert back_BGR is not None
    np.testing.assert_array_equal(back_BGR[..., ::-1], picture)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
