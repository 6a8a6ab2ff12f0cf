"""Small video files of every kind, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from motion_transfer.types import Clip

RED, BLUE = (230, 26, 31), (26, 82, 242)
KINDS = {
    "mp4": ("libx264", "yuv420p"),
    "mov": ("mpeg4", "yuv420p"),
    "webm": ("libvpx", "yuv420p"),
    "mkv": ("libvpx-vp9", "yuv420p"),
    "avi": ("mjpeg", "yuvj420p"),
    "gif": ("gif", "rgb8"),
}


def numbered(num_frames: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Gray frames whose brightness tells their number: frame i is 4 * i + 16, for at most 60 frames."""
    levels = np.arange(num_frames, dtype=np.uint8) * 4 + 16
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3)).copy()


def numbers(clip: Clip) -> list[int]:
    """Reads the frame numbers back."""
    return [round((float(frame.mean()) - 16) / 4) for frame in clip.frames_THWC]


def make_video(
    path: Path,
    frames_THWC: np.ndarray,
    *,
    rate: Fraction | int = 25,
    times_s: Sequence[float] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    live: bool = False,
    kind: str | None = None,
) -> Path:
    """Writes frames as the kind of file that the name's ending says."""
    ending = path.suffix[1:]
    codec, layout = KINDS[kind or ending]
    if frames_THWC.shape[3] == 4:
        codec, layout = "png", "rgba"
    with av.open(str(path), "w", options={"live": "1"} if live else {}) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=rate))
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = layout
        stream.codec_context.options = {"libx264": {"crf": "8"}, "mpeg4": {"qmin": "1", "qmax": "1"}}.get(codec, {})
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        if times_s is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, array in enumerate(frames_THWC):
            frame = av.VideoFrame.from_ndarray(array, format="rgba" if array.shape[2] == 4 else "rgb24")
            if times_s is not None:
                frame.pts, frame.time_base = round(times_s[index] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
