"""What is no usable video is refused in one clear sentence; damaged files give what they still hold."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from motion_transfer.errors import BadClip
from motion_transfer.types import Clip
from motion_transfer.video import io
from motion_transfer.video.io import probe, read_clip, write_clip
from tests.video.files import KINDS, make_video, numbered


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ({"start_s": 2.5}, "must start within"),
        ({"start_s": -1}, "must start within"),
        ({"start_s": float("nan")}, "must start within"),
        ({"start_s": 1.0, "end_s": 1.0}, "must end after"),
        ({"end_s": float("nan")}, "must end after"),
        ({"end_s": 3.0}, "must end within"),
        ({"start_s": 1.0, "end_s": 1.03}, "at least two frames"),
    ],
)
def test_unusable_spans_are_refused(tmp_path: Path, span: dict[str, float], message: str) -> None:
    path = make_video(tmp_path / "a.mp4", numbered(50))
    with pytest.raises(BadClip, match=message):
        read_clip(path, **span)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "just some words " * 100,
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{other}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 1234 RTP/AVP 96\n",
    ],
)
def test_text_and_playlists_are_refused(tmp_path: Path, text: str) -> None:
    other = make_video(tmp_path / "other.mp4", numbered(5))
    path = tmp_path / "list.mp4"
    path.write_text(text.replace("{other}", str(other)))
    with pytest.raises(BadClip, match="damaged or something else"):
        read_clip(path)


def test_missing_empty_and_folder(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(BadClip, match=r"empty\.mp4 is empty"):
        read_clip(tmp_path / "empty.mp4")
    for missing in (tmp_path / "none.mp4", tmp_path, "http://127.0.0.1/a.mp4", "concat:a.mp4|b.mp4"):
        with pytest.raises(BadClip, match="there is no file"):
            probe(missing)


@pytest.mark.parametrize("ending", KINDS)
def test_one_frame_is_no_motion(tmp_path: Path, ending: str) -> None:
    path = make_video(tmp_path / f"a.{ending}", numbered(1))
    with pytest.raises(BadClip, match="at least two frames"):
        read_clip(path)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(BadClip, match="no video stream"):
        read_clip(path)


@pytest.mark.parametrize("ending", ["webm", "avi", "gif"])
def test_a_truncated_file_keeps_its_beginning(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 32, 48, 3), np.uint8)
    path = make_video(tmp_path / f"a.{ending}", noise)
    whole = read_clip(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    part = read_clip(path)
    assert 8 <= part.num_frames < 25
    np.testing.assert_array_equal(part.frames_THWC[:8], whole.frames_THWC[:8])
    assert part.fps == pytest.approx(25, rel=1e-3)


def test_a_truncated_mp4(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 32, 48, 3), np.uint8)
    path = tmp_path / "a.mp4"
    write_clip(Clip(frames_THWC=noise, fps=25), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 8 <= read_clip(path).num_frames < 25
    late_header = make_video(tmp_path / "b.mp4", noise)
    late_header.write_bytes(late_header.read_bytes()[: late_header.stat().st_size // 2])
    with pytest.raises(BadClip, match="damaged"):
        read_clip(late_header)


@pytest.mark.parametrize("ending", KINDS)
def test_damage_gives_a_clip_or_a_clear_error(tmp_path: Path, ending: str) -> None:
    rng = np.random.default_rng(1)
    data = make_video(tmp_path / f"a.{ending}", numbered(12)).read_bytes()
    for _ in range(12):
        bad = np.frombuffer(data, np.uint8).copy()
        bad[rng.integers(0, len(bad), 12)] = rng.integers(0, 256, 12)
        (tmp_path / f"bad.{ending}").write_bytes(bad.tobytes())
        try:
            assert read_clip(tmp_path / f"bad.{ending}", max_px=32).num_frames >= 2
        except BadClip as error:
            assert str(error).endswith(".") and "Errno" not in str(error)


def test_limits_of_file_and_frame_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.mp4", numbered(5))
    with (tmp_path / "huge.mp4").open("wb") as handle:
        handle.truncate(io.MAX_FILE_BYTES + 1)  # a sparse file takes no room
    with pytest.raises(BadClip, match="at most 500 MB"):
        read_clip(tmp_path / "huge.mp4")
    monkeypatch.setattr(io, "MAX_FRAME_PIXELS", 1000)
    with pytest.raises(BadClip, match="48 x 32"):
        read_clip(path)


def test_odd_metadata_does_not_hinder(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", numbered(3))
    data = path.read_bytes().replace(b"Lavf", b"\xff\xfe\xe9f")
    path.write_bytes(data)
    assert read_clip(path).num_frames == 3
