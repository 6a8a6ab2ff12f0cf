"""Is a slider linear? Amplitudes at several strengths, prompts and seeds, and a straight line through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEAST_STOPS = 3  # of a prompt; fewer say nothing of its slope


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One render's amplitude."""

    prompt: str
    strength: float
    amplitude: float


@dataclass(frozen=True, kw_only=True)
class Linearity:
    """How well amplitudes lie on a line over strength.

    Attributes:
        r2: share of the variance that the line explains.
        nonlinearity: largest distance between the mean at a strength and the line, over the line's range (INL).
        worst: the same of single readings.
        offset: the line at strength 0, over its range.
        slope_spread: standard deviation of the prompts' slopes over their mean.
        rank: Spearman's correlation.
        slope: mean of the prompts' slopes, amplitude per strength.
    """

    r2: float
    nonlinearity: float
    worst: float
    offset: float
    slope_spread: float
    rank: float
    slope: float


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(offset)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 on, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]


def _by_prompt(readings: Sequence[Reading]) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Strengths and amplitudes of each prompt that was read at three strengths or more."""
    prompts = sorted({reading.prompt for reading in readings})
    of = {prompt: [reading for reading in readings if reading.prompt == prompt] for prompt in prompts}
    return {prompt: (np.array([r.strength for r in some]), np.array([r.amplitude for r in some]))
            for prompt, some in of.items() if len({reading.strength for reading in some}) >= LEAST_STOPS}  # fmt: skip


def linearity(readings: Sequence[Reading], *, own_slopes: bool = True) -> Linearity:
    """Fits a line.

    Args:
        readings: at several strengths of every prompt.
        own_slopes: each prompt's amplitudes are divided by its own slope first, which must be positive.
    """
    found = _by_prompt(readings)
    slopes = np.array([_line(x, y)[0] for x, y in found.values()])
    x = np.concatenate([x for x, _ in found.values()])
    y = np.concatenate(
        [y / (slope if own_slopes else 1.0) for (_, y), slope in zip(found.values(), slopes, strict=True)]
    )
    slope, offset = _line(x, y)
    fit = slope * x + offset
    span = abs(slope) * float(np.ptp(x))
    stops = np.unique(x)
    means = np.array([y[x == stop].mean() for stop in stops])
    return Linearity(
        r2=1 - float(((y - fit) ** 2).sum() / ((y - y.mean()) ** 2).sum()),
        nonlinearity=float(np.abs(means - (slope * stops + offset)).max()) / span,
        worst=float(np.abs(y - fit).max()) / span,
        offset=abs(offset) / span,
        slope_spread=float(slopes.std() / abs(slopes.mean())),
        rank=float(np.corrcoef(_ranks(x), _ranks(y))[0, 1]),
        slope=float(slopes.mean()),
    )
