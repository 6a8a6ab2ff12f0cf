"""Writing of clips, and reading them back."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from motion_transfer.types import Clip
from motion_transfer.video.io import clip_comment, read_clip, write_clip
from tests.video.files import RED


def moving_square(num_frames: int = 10, height: int = 33, width: int = 47) -> np.ndarray:
    """A white square that moves 3 px per frame over red."""
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    frames[:] = RED
    for i in range(num_frames):
        frames[i, 8:16, 3 * i : 3 * i + 8] = 250
    return frames


@pytest.mark.parametrize("fps", [600 / 49, 30000 / 1001, 7.3219, 0.5, 60])
def test_a_written_clip_comes_back(tmp_path: Path, fps: float) -> None:
    clip = Clip(frames_THWC=moving_square(height=32, width=48), fps=fps)
    write_clip(clip, tmp_path / "a.mp4")
    back = read_clip(tmp_path / "a.mp4", max_s=60)
    assert back.fps == pytest.approx(fps, rel=1e-4)
    assert np.abs(back.frames_THWC.astype(int) - clip.frames_THWC).mean() < 4


def test_odd_sides_repeat_their_last_line(tmp_path: Path) -> None:
    write_clip(Clip(frames_THWC=moving_square(), fps=12), tmp_path / "a.mp4")
    frames = read_clip(tmp_path / "a.mp4").frames_THWC
    assert frames.shape[1:3] == (34, 48)
    np.testing.assert_allclose(frames[0, 33, 47], RED, atol=8)


def test_small_clips_are_enlarged_by_whole_pixels(tmp_path: Path) -> None:
    clip = Clip(frames_THWC=moving_square(3), fps=12)
    write_clip(clip, tmp_path / "a.mp4", min_side_px=100)
    frames = read_clip(tmp_path / "a.mp4").frames_THWC
    assert frames.shape[1:3] == (4 * 33, 4 * 47)
    assert np.abs(frames[:, 2::4, 2::4].astype(int) - clip.frames_THWC).mean() < 3


def test_equal_clips_give_equal_files_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_clip(Clip(frames_THWC=moving_square(), fps=12), tmp_path / name, comment="same")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_written_files_play_in_browsers(tmp_path: Path) -> None:
    write_clip(Clip(frames_THWC=moving_square(), fps=12), tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(BytesIO(data)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)


@pytest.mark.parametrize("comment", [None, "", '{"seed": 1, "prompt": "ein Hündchen, 小狗"}\n' * 50])
def test_comment_comes_back(tmp_path: Path, comment: str | None) -> None:
    write_clip(Clip(frames_THWC=moving_square(), fps=12), tmp_path / "a.mp4", comment=comment)
    assert clip_comment(tmp_path / "a.mp4") == (comment or None)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(UnicodeEncodeError):
        write_clip(Clip(frames_THWC=moving_square(), fps=12), path, comment="half a character: \ud83d")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
