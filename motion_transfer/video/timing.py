"""Time arithmetic of clips: the span to read, and which frames stand on an even time grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motion_transfer.errors import BadClip


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What a video file holds, as shown upright with square pixels; `num_frames` and `fps` are estimates."""

    width: int
    height: int
    fps: float
    seconds: float
    num_frames: int


def checked_span(facts: ClipFacts, start_s: float, end_s: float | None, max_s: float) -> tuple[float, float]:
    """Start and end, in seconds, of the part of a clip to read; it lasts at most `max_s`.

    Raises:
        BadClip: the span is empty, too long, or outside the clip.
    """
    if not 0 <= start_s < facts.seconds:
        raise BadClip(
            f"the span must start within the clip's {facts.seconds:.2f} s, but starts at {start_s:g} s; move its start."
        )
    if end_s is None:
        return start_s, start_s + max_s
    if not end_s > start_s:
        raise BadClip(f"the span must end after its start at {start_s:g} s, but ends at {end_s:g} s; move its end.")
    if end_s - start_s > max_s + 1e-6:
        raise BadClip(f"the span may last {max_s:g} s at most, but lasts {end_s - start_s:g} s; choose a shorter one.")
    if end_s > facts.seconds + 0.1:  # a length shown rounded may be typed back
        raise BadClip(
            f"the span must end within the clip's {facts.seconds:.2f} s, but ends at {end_s:g} s; move its end."
        )
    return start_s, end_s


def even_picks(times_T: np.ndarray, max_fps: float) -> tuple[np.ndarray, float]:
    """Which frames to show at a constant rate, and that rate.

    Nearly even times keep every frame. Uneven ones are put on the grid of their fast parts; slow parts then
    repeat frames.

    Args:
        times_T: strictly rising seconds of at least two frames.
        max_fps: highest rate.

    Returns:
        Frame indices, and frames per second.
    """
    span_s, gaps = times_T[-1] - times_T[0], len(times_T) - 1
    even_T = np.linspace(times_T[0], times_T[-1], gaps + 1)
    if np.abs(times_T - even_T).max() <= 0.5 * span_s / gaps:
        return np.arange(gaps + 1), _tidy_rate(gaps / span_s, max_fps)
    # A low quantile, not the least gap: one early frame does not set the rate.
    fps = _tidy_rate(1 / np.quantile(np.diff(times_T), 0.1), max_fps)
    grid_T = times_T[0] + np.arange(round(span_s * fps) + 1) / fps
    return np.abs(times_T[None] - grid_T[:, None]).argmin(1), fps


def _tidy_rate(fps: float, max_fps: float) -> float:
    """The rate without the rounding dust of timestamps."""
    return min(max_fps, round(float(fps), 6))


def evenly_spaced(num_source: int, num_wanted: int) -> np.ndarray:
    """Indices of `num_wanted` of `num_source` frames on a linear time grid, both ends included; nearest frames."""
    return np.floor(np.linspace(0, num_source - 1, num_wanted) + 0.5).astype(int)
