"""Reads the pattern of a background: by its tones and the directions of its edges, compared with drawn examples."""

from __future__ import annotations

from functools import lru_cache
from random import Random

import cv2
import numpy as np

from motion_transfer.evaluate.colors import GRID_PX, background_mix
from motion_transfer.video.synth.backgrounds import TILE_PX, picture, sample_background
from motion_transfer.video.synth.palette import COLORS, PATTERNS

EXAMPLES = 40  # drawn examples of each pattern
NEIGHBORS = 7
MIN_VOTES = 4  # of the nearest examples: fewer agree, and the pattern is not told
MIN_SEEN = 0.25  # of the frame: less background than this tells nothing
PLAIN_SPREAD = 0.12  # of the way between the two tones: a smaller deviation is plain
_BINS = np.linspace(-0.1, 1.1, 7)
_SOFTNESS_PX = 0.8


def _features(mix_HW: np.ndarray, seen_HW: np.ndarray) -> np.ndarray:
    """Spread and histogram of the tones, then strength, directedness and squareness of the edges."""
    mix = cv2.GaussianBlur(mix_HW.astype(np.float32), (0, 0), _SOFTNESS_PX)
    tones = np.clip(mix[seen_HW], _BINS[0], _BINS[-1])
    x, y = (cv2.Sobel(mix, cv2.CV_32F, dx, 1 - dx, scale=0.125)[seen_HW] for dx in (1, 0))
    energy, angle = x * x + y * y, np.arctan2(y, x)
    total = energy.sum() + 1e-6
    directed, square = (abs((energy * np.exp(1j * fold * angle)).sum()) / total for fold in (2, 4))
    busy = (energy > 0.005).mean()
    evenness = energy.sum() ** 2 / ((energy * energy).sum() * energy.size + 1e-9)
    shares = np.histogram(tones, _BINS)[0] / tones.size
    return np.array([tones.std(), *shares, np.sqrt(energy.mean()) * 4, directed, square, busy * 2, evenness * 2])


@lru_cache(maxsize=1)
def _examples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of drawn examples, their pattern's index, and each feature's spread."""
    features, patterns = [], []
    everywhere = np.ones((GRID_PX, GRID_PX), dtype=bool)
    for index, pattern in enumerate(PATTERNS[1:], start=1):
        for number in range(EXAMPLES):
            rng = Random(f"backdrop/{pattern}/{number}")
            color = rng.choice(list(COLORS))
            tile_CYX = picture(sample_background(rng, color, pattern))
            x, y = (rng.randint(TILE_PX // 4, 3 * TILE_PX // 4 - GRID_PX) for _ in range(2))
            pixels_HWC = tile_CYX[:, y : y + GRID_PX, x : x + GRID_PX].permute(1, 2, 0).numpy()
            features.append(_features(background_mix(pixels_HWC[None], color)[0], everywhere))
            patterns.append(index)
    table = np.stack(features)
    return table, np.array(patterns), table.std(0)


def background_pattern(pixels_THWC: np.ndarray, background_THW: np.ndarray, color: str) -> str | None:
    """The pattern of a background, or None where too little of it is seen or the examples disagree.

    Args:
        pixels_THWC: as from `colors.to_grid`.
        background_THW: bool, which pixels are background.
        color: the background's named color.
    """
    box = np.ones((5, 5), np.uint8)  # keeps clear of the objects' soft edges
    found = []
    for mix_HW, mask_HW in zip(background_mix(pixels_THWC, color), background_THW, strict=True):
        seen_HW = cv2.erode(mask_HW.astype(np.uint8), box).astype(bool)
        if seen_HW.mean() >= MIN_SEEN:
            found.append(_features(mix_HW, seen_HW))
    if not found:
        return None
    seen = np.mean(found, axis=0)
    if seen[0] < PLAIN_SPREAD:
        return "plain"
    table, patterns, spread = _examples()
    nearest = np.argsort((((table - seen) / spread) ** 2).sum(1))[:NEIGHBORS]
    votes = np.bincount(patterns[nearest], minlength=len(PATTERNS))
    return PATTERNS[int(votes.argmax())] if votes.max() >= MIN_VOTES else None
