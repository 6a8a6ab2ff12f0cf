"""Reading of video files: kinds, sizes, rates, spans."""

from __future__ import annotations

import importlib.resources
import importlib.util
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from motion_transfer.errors import BadClip
from motion_transfer.types import Clip
from motion_transfer.video import io
from motion_transfer.video.io import probe, read_clip, read_overview, write_clip
from tests.video.files import BLUE, KINDS, RED, make_video, numbered, numbers


@pytest.mark.parametrize("ending", KINDS)
def test_reads_every_kind_of_file(tmp_path: Path, ending: str) -> None:
    path = make_video(tmp_path / f"a.{ending}", numbered(20))
    clip = read_clip(path, caption="a gray wall")
    assert clip.frames_THWC.shape == (20, 32, 48, 3)
    assert clip.fps == pytest.approx(25, rel=1e-3)
    assert (clip.caption, clip.source) == ("a gray wall", f"a.{ending}")
    if ending == "gif":  # eight colors a channel: order is kept, values are not
        assert all(a <= b + 1 for a, b in zip(numbers(clip), numbers(clip)[1:], strict=False))
    else:
        assert numbers(clip) == list(range(20))


@pytest.mark.parametrize("ending", ["mp4", "mov", "webm", "mkv", "avi"])
def test_colors_survive(tmp_path: Path, ending: str) -> None:
    frames = np.empty((4, 32, 48, 3), np.uint8)
    frames[:, :16], frames[:, 16:] = BLUE, RED
    clip = read_clip(make_video(tmp_path / f"a.{ending}", frames))
    np.testing.assert_allclose(clip.frames_THWC[2, 4, 20], BLUE, atol=8)
    np.testing.assert_allclose(clip.frames_THWC[2, 28, 20], RED, atol=8)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (33, 47), (17, 200), (240, 16)])
def test_any_size(tmp_path: Path, height: int, width: int) -> None:
    path = make_video(tmp_path / "a.mov", np.full((3, height, width, 4), 255, np.uint8))
    assert read_clip(path).frames_THWC.shape == (3, height, width, 3)


def test_large_frames_are_shrunk_by_area(tmp_path: Path) -> None:
    stripes = np.zeros((2, 64, 96, 3), np.uint8)
    stripes[:, :, ::2] = 255
    clip = read_clip(make_video(tmp_path / "a.mp4", stripes), max_px=16)
    assert clip.frames_THWC.shape == (2, 16, 24, 3)
    np.testing.assert_allclose(clip.frames_THWC[0, 8], 127, atol=12)


def test_long_strips_are_shrunk_by_their_long_side(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", numbered(2, 16, 640))
    assert read_clip(path, max_px=16).frames_THWC.shape[1:3] == (2, 64)


@pytest.mark.parametrize(
    "rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(1), Fraction(50), Fraction(60)]
)
def test_odd_rates_are_kept(tmp_path: Path, rate: Fraction) -> None:
    clip = read_clip(make_video(tmp_path / "a.mp4", numbered(8), rate=rate))
    assert clip.fps == pytest.approx(float(rate), rel=1e-5)
    assert numbers(clip) == list(range(8))


def test_fast_video_is_thinned_to_sixty_frames_a_second(tmp_path: Path) -> None:
    clip = read_clip(make_video(tmp_path / "a.mp4", numbered(40), rate=120))
    assert clip.fps == pytest.approx(60)
    assert numbers(clip) == list(range(0, 40, 2))


def test_uneven_times_become_an_even_clip(tmp_path: Path) -> None:
    """Ten frames at 20 a second, then five at 5 a second: the slow ones are held for four frames each."""
    times = [i * 0.05 for i in range(10)] + [0.45 + 0.2 * (i + 1) for i in range(5)]
    clip = read_clip(make_video(tmp_path / "a.mkv", numbered(15), times_s=times))
    assert clip.fps == pytest.approx(20, rel=1e-3)
    assert clip.num_frames == round(times[-1] * 20) + 1
    for shown, number in enumerate(numbers(clip)):
        nearest = min(abs(t - shown / 20) for t in times)
        assert abs(times[number] - shown / 20) <= nearest + 2e-3


def test_rotation_is_undone(tmp_path: Path) -> None:
    frames = np.empty((3, 32, 48, 3), np.uint8)
    frames[:, :16], frames[:, 16:] = BLUE, RED
    path = make_video(tmp_path / "a.mp4", frames, rotation=90)
    clip, facts = read_clip(path), probe(path)
    assert clip.frames_THWC.shape == (3, 48, 32, 3)
    assert (facts.width, facts.height) == (32, 48)
    np.testing.assert_allclose(clip.frames_THWC[0, 24, 4], BLUE, atol=8)
    np.testing.assert_allclose(clip.frames_THWC[0, 24, 28], RED, atol=8)


def test_phone_portrait_matrix_turns_clockwise(tmp_path: Path) -> None:
    """A phone held upright stores a landscape picture and the matrix (0 1; -1 0): its left edge is shown on top."""
    frames = np.empty((3, 32, 48, 3), np.uint8)
    frames[:, :, :24], frames[:, :, 24:] = BLUE, RED
    path = make_video(tmp_path / "a.mp4", frames)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 32 << 16, 0, 1 << 30)
    path.write_bytes(data)
    clip = read_clip(path)
    assert clip.frames_THWC.shape == (3, 48, 32, 3)
    np.testing.assert_allclose(clip.frames_THWC[0, 4, 16], BLUE, atol=8)
    np.testing.assert_allclose(clip.frames_THWC[0, 44, 16], RED, atol=8)


def test_stretched_pixels_are_made_square(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", numbered(3, 32, 24), aspect=Fraction(2))
    assert read_clip(path).frames_THWC.shape[1:3] == (32, 48)
    assert (probe(path).width, probe(path).height) == (48, 32)


def test_transparency_is_shown_over_white(tmp_path: Path) -> None:
    frames = np.zeros((3, 32, 48, 4), np.uint8)
    frames[..., :3] = RED
    frames[:, :16, :, 3], frames[:, 16:, :, 3] = 255, 51
    clip = read_clip(make_video(tmp_path / "a.mov", frames))
    np.testing.assert_allclose(clip.frames_THWC[1, 4, 20], RED, atol=1)
    np.testing.assert_allclose(clip.frames_THWC[1, 28, 20], 0.2 * np.array(RED) + 0.8 * 255, atol=2)


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif"])
def test_a_span_holds_the_frames_of_its_time(tmp_path: Path, ending: str) -> None:
    path = make_video(tmp_path / f"a.{ending}", numbered(50))
    whole, part = read_clip(path), read_clip(path, start_s=0.8, end_s=1.6)
    np.testing.assert_array_equal(part.frames_THWC, whole.frames_THWC[20:40])
    assert part.fps == pytest.approx(25)


def test_a_long_clip_is_cut_only_where_no_end_was_asked(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", numbered(50), rate=5)
    assert numbers(read_clip(path)) == list(range(40))
    assert numbers(read_clip(path, start_s=4)) == list(range(20, 50))
    with pytest.raises(BadClip, match="may last 8 s at most"):
        read_clip(path, end_s=9)


def test_probe_tells_size_rate_and_length(tmp_path: Path) -> None:
    facts = probe(make_video(tmp_path / "a.mp4", numbered(30), rate=15))
    assert (facts.width, facts.height, facts.num_frames) == (48, 32, 30)
    assert (facts.fps, facts.seconds) == (pytest.approx(15), pytest.approx(2))


def test_browser_recordings_without_length_are_counted(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.webm", numbered(30), rate=15, live=True)
    with av.open(str(path)) as container:
        assert container.duration is None
    assert probe(path).seconds == pytest.approx(2, abs=0.01)
    assert numbers(read_clip(path, start_s=1)) == list(range(15, 30))


def shipped_videos() -> list[Path]:
    """The clips inside the installed gradio package, if there are any."""
    if importlib.util.find_spec("gradio") is None:
        return []
    folder = importlib.resources.files("gradio") / "media_assets" / "videos"
    return sorted(Path(str(entry)) for entry in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("path", shipped_videos(), ids=lambda path: path.name)
def test_real_videos(path: Path) -> None:
    facts = probe(path)
    clip = read_clip(path, end_s=min(2.0, facts.seconds), max_px=64)
    assert clip.num_frames == pytest.approx(2 * facts.fps, abs=2)
    assert clip.fps == pytest.approx(facts.fps, rel=0.02)
    assert min(clip.frames_THWC.shape[1:3]) == 64
    late = read_clip(path, start_s=facts.seconds - 1, max_px=64)
    assert late.num_frames == pytest.approx(facts.fps, abs=2)


def test_an_overview_shows_the_middles_of_equal_parts(tmp_path: Path) -> None:
    """Of any length; frames are repeated where the video has fewer."""
    path = tmp_path / "numbered.mp4"
    write_clip(Clip(frames_THWC=numbered(48, 36, 64), fps=12), path)
    for num_frames in (6, 96):
        whole = read_overview(path, num_frames=num_frames, max_px=36)
        assert whole.frames_THWC.shape == (num_frames, 36, 64, 3) and whole.seconds == pytest.approx(4.0, abs=0.01)
        shown = (whole.frames_THWC[:, 10, 10, 0].astype(float) - 16) / 4
        expected = np.floor((np.arange(num_frames) + 0.5) / num_frames * 48)
        assert np.abs(shown - expected).max() <= 1


def test_an_overview_of_any_length_can_be_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "numbered.mp4"
    write_clip(Clip(frames_THWC=numbered(48, 36, 64), fps=12), path)
    monkeypatch.setattr(io, "FPS_RANGE", (3.0, 5.0))
    counts = [read_overview(path, num_frames=num_frames, max_px=36).num_frames for num_frames in (2, 16, 96)]
    assert counts == [12, 16, 20]
