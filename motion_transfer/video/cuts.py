"""Hard cuts: where one shot of a clip ends and the next begins."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from motion_transfer.errors import BadSpec
from motion_transfer.types import Clip

_SIDE_PX = 48  # long side of the small pictures that are compared
_REACH_PX = 3  # how far, in such a picture, colors may move from frame to frame without being news
_ALL_NEW = 16.0  # a pixel that lies so many of 255 levels beyond its neighborhood's colors is new altogether
_NEARBY_STEPS = 9  # steps on each side of a frame that tell how lively a shot is
_LIVELY_SHARE = 0.75  # of these nine, the third largest counts, so that another cut or a flash nearby does no harm
_FEWEST_STEPS = 4
_UNKNOWN_NEWS = 0.2  # stands for steps beyond the clip's ends: a change there must be clearer
_LEAST_STEP = 1.3  # a cut's mean difference in levels, in units of those around it
_LIGHT_RANGE = 1.5  # the factor by which light may jump within a shot
_DARKEST, _BRIGHTEST = 9, 246  # levels that tell the light; beyond them pictures saturate


@dataclass(frozen=True, kw_only=True, eq=False)
class _Glimpse:
    """A small blurred picture, the least and greatest level around each of its pixels."""

    picture_HWC: np.ndarray
    low_HWC: np.ndarray
    high_HWC: np.ndarray


def find_cuts(clip: Clip, *, least_change: float = 0.25, flash_frames: int = 2) -> list[int]:
    """Numbers of the frames that begin a new shot, in rising order; the clip's first frame is not among them.

    At a hard cut, most places take on colors that were nowhere near them a frame before, whereas motion and camera
    moves bring colors from close by. What else changes as much (whip pans, flicker, fades) does so for several
    frames on end, so a cut must also stand out from the frames around it.

    No cuts are a mild change of light, a fade or cross-fade over six frames or more (a shorter one may count as one
    cut, inside it), and a flash or inserted shot of at most `flash_frames` frames. Of two cuts closer together than
    that, only the clearer is told. A lone first or last frame that clearly differs is a shot of its own, since
    nothing shows that it was a flash. Two shots of one place that look alike are not told apart.

    Args:
        clip: the frames, in any size.
        least_change: share of the picture, in (0, 1], that a cut changes beyond the level of change around it.
        flash_frames: longest flash, in frames.

    Raises:
        BadSpec: the share or the number of frames is impossible.
    """
    if not 0 < least_change <= 1:
        raise BadSpec(f"the least change must lie above 0 and up to 1, but is {least_change:g}; try 0.25.")
    if flash_frames < 0:
        raise BadSpec(f"a flash lasts 0 frames or more, but {flash_frames} are asked for; try 2.")
    glimpses = [_glimpse(frame_HWC) for frame_HWC in clip.frames_THWC]
    news_T = np.array([0.0, *(_news(a, b) for a, b in pairwise(glimpses))])
    shifts_T = np.array([0.0, *(_shift(a, b) for a, b in pairwise(glimpses))])
    cuts: list[int] = []
    for frame in np.argsort(-news_T, kind="stable").tolist():  # the clearest first
        needed = least_change + _level_around(news_T, frame, _UNKNOWN_NEWS)
        if news_T[frame] < needed or shifts_T[frame] < _LEAST_STEP * _level_around(shifts_T, frame, 0.0):
            continue
        alone = all(abs(frame - cut) > flash_frames for cut in cuts)
        if alone and _news_across(glimpses, frame, flash_frames) >= needed:
            cuts.append(frame)
    return sorted(cuts)


def _glimpse(frame_HWC: np.ndarray) -> _Glimpse:
    height, width = frame_HWC.shape[:2]
    size = tuple(max(1, round(side * _SIDE_PX / max(height, width))) for side in (width, height))
    small_HWC = cv2.resize(np.ascontiguousarray(frame_HWC), size, interpolation=cv2.INTER_AREA)
    picture_HWC = cv2.GaussianBlur(small_HWC, (3, 3), 0)
    around = np.ones((2 * _REACH_PX + 1, 2 * _REACH_PX + 1), np.uint8)
    return _Glimpse(
        picture_HWC=picture_HWC,
        low_HWC=cv2.erode(picture_HWC, around),
        high_HWC=cv2.dilate(picture_HWC, around),
    )


def _news(a: _Glimpse, b: _Glimpse) -> float:
    """Share of the picture, in 0..1, whose colors are not near the same place in the other one."""
    return max(_beyond(a, b), _beyond(b, a))


def _beyond(a: _Glimpse, b: _Glimpse) -> float:
    """Share of `b` whose colors lie beyond those near the same place in `a`."""
    beyond_HWC = cv2.add(cv2.subtract(b.picture_HWC, a.high_HWC), cv2.subtract(a.low_HWC, b.picture_HWC))
    return float(np.minimum(beyond_HWC.mean(-1) / _ALL_NEW, 1).mean())


def _shift(a: _Glimpse, b: _Glimpse) -> float:
    """Mean difference in levels. It is even over a fade, of which news tells most at the dark end."""
    return float(cv2.absdiff(a.picture_HWC, b.picture_HWC).mean())


def _level_around(series_T: np.ndarray, frame: int, unknown: float) -> float:
    """The level that a series has on its livelier side of a frame; steps beyond the clip's ends are `unknown`."""
    before = series_T[max(1, frame - _NEARBY_STEPS) : frame]
    after = series_T[frame + 1 : frame + 1 + _NEARBY_STEPS]
    sides = (np.append(side, [unknown] * (_FEWEST_STEPS - len(side))) for side in (before, after))
    return max(float(np.quantile(side, _LIVELY_SHARE)) for side in sides)


def _news_across(glimpses: list[_Glimpse], frame: int, flash_frames: int) -> float:
    """The least news from any frame just before `frame` to any just after: little, if a picture returns."""
    before = glimpses[max(0, frame - 1 - flash_frames) : frame]
    after = glimpses[frame : frame + 1 + flash_frames]
    return min(_news_under_light(a, b) for a in before for b in after)


def _news_under_light(a: _Glimpse, b: _Glimpse) -> float:
    """The news that a mild change of light does not explain either."""
    darker_HWC, brighter_HWC = np.minimum(a.picture_HWC, b.picture_HWC), np.maximum(a.picture_HWC, b.picture_HWC)
    tells_HWC = (darker_HWC >= _DARKEST) & (brighter_HWC <= _BRIGHTEST)
    if not tells_HWC.any():
        return _news(a, b)
    gain = float(np.median(b.picture_HWC[tells_HWC] / a.picture_HWC[tells_HWC]))
    if gain < 1:
        a, b, gain = b, a, 1 / gain
    return min(_news(a, b), _news(_lit(a, min(gain, _LIGHT_RANGE)), b))


def _lit(glimpse: _Glimpse, gain: float) -> _Glimpse:
    """The picture under stronger light; like a camera, it saturates."""
    parts = (glimpse.picture_HWC, glimpse.low_HWC, glimpse.high_HWC)
    picture_HWC, low_HWC, high_HWC = (cv2.convertScaleAbs(part_HWC, alpha=gain) for part_HWC in parts)
    return _Glimpse(picture_HWC=picture_HWC, low_HWC=low_HWC, high_HWC=high_HWC)
