"""The camera of the procedural world: where it looks, how close, how it is turned, frame by frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

CAMERA_KINDS = ("static", "pan", "tilt", "zoom", "roll", "parallax", "shake", "combined")
CAMERA_WEIGHTS = (60, 8, 6, 7, 4, 5, 5, 5)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Per-frame view. `x y` in frame widths, `zoom` as factor, `roll` in radians.

    A world point p appears at `zoom * rotate(roll) * (p - depth * (x, y))`; objects have depth 1, the
    background `depth`, which is below 1 only for parallax.
    """

    kind: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    zoom: tuple[float, ...]
    roll: tuple[float, ...]
    depth: float = 1.0

    def view(self, frame: int, point: tuple[float, float], depth: float = 1.0) -> tuple[float, float]:
        """Screen place of a world point, in frame widths from the frame's center."""
        dx, dy = point[0] - depth * self.x[frame], point[1] - depth * self.y[frame]
        c, s = math.cos(self.roll[frame]), math.sin(self.roll[frame])
        z = self.zoom[frame]
        return round(z * (c * dx - s * dy), 6), round(z * (s * dx + c * dy), 6)


def _ramp(rng: Random, num_frames: int, amount: float) -> list[float]:
    """From -amount/2 to amount/2, at an even or eased pace."""
    ease = rng.random() < 0.3
    taus = [i / max(1, num_frames - 1) for i in range(num_frames)]
    if ease:
        taus = [t * t * (3 - 2 * t) for t in taus]
    return [amount * (t - 0.5) for t in taus]


def _shake(rng: Random, num_frames: int, rms: float) -> list[float]:
    """A sum of incommensurate sines, scaled to the asked root mean square."""
    waves = [(rng.uniform(0.6, 1.0), rng.uniform(2.0, 9.0), rng.uniform(0, 2 * math.pi)) for _ in range(4)]
    path = [sum(a * math.sin(2 * math.pi * f * i / 48 + p) for a, f, p in waves) for i in range(num_frames)]
    mean = sum(path) / len(path)
    size = math.sqrt(sum((v - mean) ** 2 for v in path) / len(path)) or 1.0
    return [(v - mean) / size * rms for v in path]


def sample_camera(rng: Random, num_frames: int, kind: str | None = None) -> Camera:
    """A random camera move; `kind` fixes its sort."""
    kind = kind or rng.choices(CAMERA_KINDS, CAMERA_WEIGHTS)[0]
    still = [0.0] * num_frames
    x, y, roll, log_zoom, depth = still, still, still, still, 1.0
    parts = {kind} if kind != "combined" else set(rng.sample(("pan", "tilt", "zoom", "roll", "shake"), 2))
    sign = rng.choice((-1, 1))
    if "pan" in parts:
        x = _ramp(rng, num_frames, sign * rng.uniform(0.2, 0.6))
    if "tilt" in parts:
        y = _ramp(rng, num_frames, rng.choice((-1, 1)) * rng.uniform(0.2, 0.6))
    if "parallax" in parts:
        x = _ramp(rng, num_frames, sign * rng.uniform(0.25, 0.55))
        depth = round(rng.uniform(0.25, 0.5), 6)
    if "zoom" in parts:
        log_zoom = _ramp(rng, num_frames, rng.choice((-1, 1)) * rng.uniform(0.3, 0.7))
    if "roll" in parts:
        roll = _ramp(rng, num_frames, rng.choice((-1, 1)) * rng.uniform(0.35, 0.9))
    if "shake" in parts:
        rms = rng.uniform(0.01, 0.025)
        x = [a + b for a, b in zip(x, _shake(rng, num_frames, rms), strict=True)]
        y = [a + b for a, b in zip(y, _shake(rng, num_frames, rms), strict=True)]
    return Camera(
        kind=kind,
        x=tuple(round(v, 6) for v in x),
        y=tuple(round(v, 6) for v in y),
        zoom=tuple(round(math.exp(v), 6) for v in log_zoom),
        roll=tuple(round(v, 6) for v in roll),
        depth=depth,
    )
