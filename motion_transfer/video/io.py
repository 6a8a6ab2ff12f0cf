"""Clips on disk: reads the common kinds of video file, writes H.264. The codec library's single home."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation
from av.video.stream import VideoStream

from motion_transfer.atomic import replacing
from motion_transfer.errors import BadClip
from motion_transfer.types import FPS_RANGE, Clip
from motion_transfer.video.timing import ClipFacts, checked_span, even_picks

MAX_FILE_BYTES = 500_000_000
MAX_FRAME_PIXELS = 64_000_000
MAX_SECONDS = 8.0
ROUNDING_S = 0.05  # lengths are shown rounded
MAX_SHORT_SIDE_PX = 512
MAX_FPS = 60.0
EVERY_FRAME_S = 30.0

_LONGEST_ASPECT = 4  # the long side is kept under this many short-side limits, so that strips stay small
_TIME_SLACK_S = 5e-4  # some containers round timestamps to milliseconds
# Only plain local files of these containers: no playlist can make the reader open another address.
_READ_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,matroska,webm,avi,gif",
    "max_pixels": str(MAX_FRAME_PIXELS),
}
_SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


def probe(path: str | Path) -> ClipFacts:
    """Size, rate and length of a video file, from its header and first frame.

    Raises:
        BadClip: the file is missing, empty, too large, or not a readable video.
    """
    path = Path(path)
    with _opened(path) as stream:
        first = next(_timed_frames(stream), None)
        width, height = _square_pixel_size(stream)
        if first and round(first[1].rotation / 90) % 2:
            width, height = height, width
        seconds, num_frames = _length(stream)
    if first is None or not seconds > 0:
        raise _too_few_frames(path, 0 if first is None else num_frames)
    return ClipFacts(width=width, height=height, fps=num_frames / seconds, seconds=seconds, num_frames=num_frames)


def read_clip(
    path: str | Path,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    max_s: float = MAX_SECONDS,
    max_px: int = MAX_SHORT_SIDE_PX,
    caption: str = "",
) -> Clip:
    """Reads a span of an mp4, mov, webm, mkv, avi or gif file as a clip of constant rate.

    Frames are shrunk while they are decoded, turned upright, and shown over white where they are transparent.
    The frames' own timestamps count: an even file keeps its rate (at most 60), an uneven one is sampled at the
    rate of its fast parts. Of a damaged file, what can be decoded is kept.

    Args:
        path: the file.
        start_s: where the span starts, in seconds from the clip's first frame.
        end_s: where it ends; None takes all that follows, up to `max_s`.
        max_s: longest span in seconds.
        max_px: longest short side of the returned frames.
        caption: what the clip shows.

    Raises:
        BadClip: the file is not a readable video of at least two frames, or is too large, or the span is empty,
            too long or outside the clip.
    """
    path = Path(path)
    start_s, end_s = checked_span(probe(path), start_s, end_s, max_s)
    times, pictures = _decode_span(path, start_s, end_s, max_px)
    if len(pictures) < 2:
        raise _too_few_frames(path, len(pictures))
    picks, fps = even_picks(np.array(times), MAX_FPS)
    frames_THWC = np.stack([pictures[i] for i in picks])
    return Clip(frames_THWC=frames_THWC, fps=fps, caption=caption, source=path.name)


def read_overview(path: str | Path, *, num_frames: int, max_px: int) -> Clip:
    """A whole video, however long, as so many frames: each the one shown at the middle of its equal part.

    Of videos longer than `EVERY_FRAME_S` only the frames that can be decoded alone are looked at. There are more
    frames, or fewer, where so many would play slower or faster than a clip can.

    Raises:
        BadClip: the file is not a readable video.
    """
    path = Path(path)
    facts = probe(path)
    slowest, fastest = FPS_RANGE
    most = max(1, math.floor(fastest * facts.seconds))
    num_frames = min(max(num_frames, math.ceil(slowest * facts.seconds)), most)
    wanted_T = (np.arange(num_frames) + 0.5) / num_frames * facts.seconds
    pictures: list[np.ndarray] = []
    last: VideoFrame | None = None
    with _opened(path) as stream:
        size = _shrunk_size(stream, max_px)
        if facts.seconds > EVERY_FRAME_S:
            stream.codec_context.skip_frame = "NONKEY"
        for time_s, frame in _timed_frames(stream):
            while last is not None and len(pictures) < num_frames and wanted_T[len(pictures)] < time_s:
                pictures.append(_picture(last, size))
            last = frame
        if last is None:
            raise _too_few_frames(path, 0)
        pictures += [_picture(last, size)] * (num_frames - len(pictures))
    return Clip(frames_THWC=np.stack(pictures), fps=num_frames / facts.seconds, source=path.name)


def write_clip(clip: Clip, path: str | Path, *, comment: str | None = None, min_side_px: int = 0) -> None:
    """Writes an H.264 mp4 that browsers play, the same bytes each time; odd sides repeat their last row or column.

    Args:
        clip: what to write.
        path: the file, replaced in one atomic step; its folder must exist.
        comment: text for the file's `comment` tag, read back by `clip_comment`.
        min_side_px: enlarges small clips for viewing, by the least whole factor that makes both sides this long.

    Raises:
        OSError: the file can't be written.
    """
    factor = max(1, math.ceil(min_side_px / min(clip.frames_THWC.shape[1:3])))
    with replacing(path) as partial:
        _encode(clip, partial, comment, factor)


def clip_comment(path: str | Path) -> str | None:
    """The `comment` tag of a video file, or None.

    Raises:
        BadClip: the file is not a readable video.
    """
    with _opened(Path(path)) as stream:
        return stream.container.metadata.get("comment")


@contextmanager
def _opened(path: Path) -> Iterator[VideoStream]:
    """The file's main video stream; whatever the codec library raises meanwhile becomes a `BadClip`."""
    try:
        _check_file(path)
        # An absolute path behind "file:" is never taken for another protocol.
        with av.open(f"file:{path.resolve()}", options=_READ_OPTIONS, metadata_errors="replace") as container:
            stream = _checked_stream(path, cast(VideoStream | None, container.streams.best("video")))
            stream.thread_type = "AUTO"
            stream.codec_context.options = {"max_pixels": _READ_OPTIONS["max_pixels"]}
            yield stream
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BadClip(
            f"a readable mp4, mov, webm, mkv, avi or gif video is expected, but {path.name} is damaged "
            "or something else; choose another file or convert it to mp4."
        ) from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise BadClip(f"a video file is expected, but there is no file {path.name}; check the path.")
    size = path.stat().st_size
    if size == 0:
        raise BadClip(f"a video file is expected, but {path.name} is empty; choose another file.")
    if size > MAX_FILE_BYTES:
        limit, got = MAX_FILE_BYTES // 10**6, math.ceil(size / 10**6)
        raise BadClip(f"a video of at most {limit} MB is expected, but {path.name} has {got} MB; cut or compress it.")


def _checked_stream(path: Path, stream: VideoStream | None) -> VideoStream:
    if stream is None:
        raise BadClip(f"a video is expected, but {path.name} holds no video stream; choose another file.")
    if stream.codec_context is None:
        raise BadClip(f"a known video codec is expected, but {path.name} uses another one; convert it to H.264 mp4.")
    if stream.width * stream.height > MAX_FRAME_PIXELS:
        limit, got = MAX_FRAME_PIXELS // 10**6, f"{stream.width} x {stream.height}"
        raise BadClip(f"frames of at most {limit} megapixels are expected, but {path.name} has {got}; shrink it.")
    return stream


def _too_few_frames(path: Path, num_frames: int) -> BadClip:
    got = f"{path.name} holds {num_frames} in this span"
    return BadClip(f"motion needs at least two frames, but {got}; choose a longer span or another video.")


def _square_pixel_size(stream: VideoStream) -> tuple[int, int]:
    """Width and height before rotation, with stretched pixels made square."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return max(1, round(stream.width * (aspect if 0.2 <= aspect <= 5 else 1))), stream.height


def _length(stream: VideoStream) -> tuple[float, int]:
    """Seconds and number of frames; counted where the header doesn't tell, as in browser recordings."""
    container, time_base, rate = _container(stream), stream.time_base or Fraction(1), stream.average_rate
    seconds = float(stream.duration * time_base) if stream.duration else (container.duration or 0) / av.time_base
    if seconds > 0 and rate:
        return seconds, stream.frames or max(1, round(seconds * float(rate)))
    container.seek(0)
    times = [float(packet.pts * time_base) for packet in _packets(stream) if packet.pts is not None]
    span = max(times, default=0.0) - min(times, default=0.0)
    return span * len(times) / max(1, len(times) - 1), len(times)


def _container(stream: VideoStream) -> InputContainer:
    return cast(InputContainer, stream.container)


def _packets(stream: VideoStream) -> Iterator[av.Packet]:
    """Packets of one stream, up to where a truncated file breaks off."""
    with suppress(av.FFmpegError):
        yield from _container(stream).demux(stream)


def _timed_frames(stream: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
    """Frames with strictly rising seconds since the clip's start; damaged ones and repeated times are left out."""
    origin_s = float((stream.start_time or 0) * (stream.time_base or 1))
    gap_s = 1 / float(stream.guessed_rate or 25)
    last_s = -math.inf
    for packet in _packets(stream):
        frames: list[VideoFrame] = []
        with suppress(av.FFmpegError):
            frames = stream.decode(packet)
        for frame in frames:
            time_s = frame.time - origin_s if frame.time is not None else max(0.0, last_s + gap_s)
            if time_s > last_s and not frame.is_corrupt:
                last_s = time_s
                yield time_s, frame


def _seek(stream: VideoStream, start_s: float) -> None:
    ticks = round(start_s / (stream.time_base or Fraction(1))) + (stream.start_time or 0)
    _container(stream).seek(ticks, stream=stream)


def _seek_reaches(path: Path, start_s: float) -> bool:
    """Whether a seek lands at or before `start_s`; files without an index have to be read from their beginning."""
    with _opened(path) as stream:
        if stream.container.format.name == "gif":  # each gif frame is painted over the last one
            return False
        try:
            _seek(stream, start_s)
        except av.FFmpegError:
            return False
        first = next(_timed_frames(stream), None)
        return first is not None and first[0] <= start_s


def _decode_span(path: Path, start_s: float, end_s: float, max_px: int) -> tuple[list[float], list[np.ndarray]]:
    """Times and pictures of the span's frames, at most `MAX_FPS` a second: the frame nearest to each tick."""
    kept: dict[int, tuple[float, np.ndarray]] = {}
    origin_s, reaches = None, start_s > 0 and _seek_reaches(path, start_s)
    with _opened(path) as stream:
        size = _shrunk_size(stream, max_px)
        if reaches:
            _seek(stream, start_s)
        for time_s, frame in _timed_frames(stream):
            if time_s >= end_s - _TIME_SLACK_S:
                break
            if start_s > 0 and time_s < start_s - _TIME_SLACK_S:
                continue
            origin_s = time_s if origin_s is None else origin_s
            tick = math.ceil((time_s - origin_s) * MAX_FPS - 0.51)  # halfway between two ticks counts to the first
            tick_s = origin_s + tick / MAX_FPS
            if tick not in kept or abs(time_s - tick_s) < abs(kept[tick][0] - tick_s):
                kept[tick] = time_s, _picture(frame, size)
    return [time for time, _ in kept.values()], [picture for _, picture in kept.values()]


def _shrunk_size(stream: VideoStream, max_px: int) -> tuple[int, int]:
    width, height = _square_pixel_size(stream)
    factor = min(1.0, max_px / min(width, height), _LONGEST_ASPECT * max_px / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _picture(frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
    """A decoded frame as upright `(H, W, 3)` uint8 RGB, over white; `size` is width and height before rotation."""
    pixel = frame.format
    # Players take untagged HD video for BT.709; the codec library would take it for BT.601.
    colors = Colorspace.ITU709 if frame.colorspace == 2 and frame.height >= 720 and not pixel.is_rgb else None
    layout = "rgba" if pixel.has_palette or any(part.is_alpha for part in pixel.components) else "rgb24"
    small = frame.reformat(*size, layout, src_colorspace=colors, interpolation=_SCALING).to_ndarray()
    if layout == "rgba":
        alpha = small[..., 3:].astype(np.uint16)
        small = ((small[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.rot90(small, round(frame.rotation / 90))


# With its AVX-512 code x264 gives other bytes for the same frames from run to run.
_X264 = {"crf": "14", "preset": "medium"} | (
    {"x264-params": "asm=AVX2"} if platform.machine().lower() in ("x86_64", "amd64") else {}
)


def _encode(clip: Clip, partial: Path, comment: str | None, factor: int) -> None:
    rate = Fraction(clip.fps).limit_denominator(1001)
    _, height, width, _ = clip.frames_THWC.shape
    height, width = height * factor, width * factor
    with av.open(f"file:{partial.resolve()}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=rate, options=_X264)
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context = stream.codec_context
        context.thread_count = 1  # the number of threads would change the bytes
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709, said aloud
        context.color_range = 1  # limited
        for index, frame_HWC in enumerate(clip.frames_THWC):
            container.mux(stream.encode(_codec_frame(frame_HWC, factor, index, 1 / rate)))
        container.mux(stream.encode(None))


def _codec_frame(frame_HWC: np.ndarray, factor: int, index: int, time_base: Fraction) -> VideoFrame:
    """One frame, enlarged by `factor` and with even sides, as BT.709 yuv420p."""
    large = frame_HWC.repeat(factor, axis=0).repeat(factor, axis=1)
    large = np.pad(large, ((0, large.shape[0] % 2), (0, large.shape[1] % 2), (0, 0)), mode="edge")
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(large), format="rgb24").reformat(
        format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", interpolation=_SCALING, threads=1
    )
    frame.pts, frame.time_base = index, time_base
    return frame
