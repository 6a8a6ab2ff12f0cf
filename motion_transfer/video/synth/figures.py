"""An articulated person and dog: joint angles from a gait, capsules from joint angles.

A pose is a list of capsules `(x1, y1, x2, y2, radius)` in figure units: the figure is 2 units tall or long,
x points where it faces, y points down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

Capsule = tuple[float, float, float, float, float]

GAITS = ("walk", "run", "jump", "wave", "turn")


@dataclass(frozen=True, kw_only=True)
class Gait:
    """A figure's movement: true joint angles in radians and root offsets, per frame."""

    kind: str
    angles: tuple[dict[str, float], ...]
    lift: tuple[float, ...]
    facing: tuple[float, ...]


def _person_angles(kind: str, phase: float) -> dict[str, float]:
    s, c = math.sin(phase), math.cos(phase)
    if kind in ("walk", "turn"):
        return {"hip_l": 0.55 * s, "hip_r": -0.55 * s, "knee_l": -0.3 - 0.3 * c, "knee_r": -0.3 + 0.3 * c,
                "shoulder_l": -0.5 * s, "shoulder_r": 0.5 * s, "elbow_l": 0.3, "elbow_r": 0.3}  # fmt: skip
    if kind == "run":
        return {"hip_l": 0.95 * s, "hip_r": -0.95 * s, "knee_l": -0.7 - 0.6 * c, "knee_r": -0.7 + 0.6 * c,
                "shoulder_l": -0.95 * s, "shoulder_r": 0.95 * s, "elbow_l": 1.3, "elbow_r": 1.3}  # fmt: skip
    if kind == "jump":
        bend = max(0.0, -s)
        rise = max(0.0, s)
        return {"hip_l": 0.25 + 0.6 * bend, "hip_r": -0.25 + 0.6 * bend, "knee_l": -1.2 * bend,
                "knee_r": -1.2 * bend, "shoulder_l": 0.3 + 2.2 * rise, "shoulder_r": -0.3 - 2.2 * rise,
                "elbow_l": 0.1, "elbow_r": -0.1}  # fmt: skip
    return {"hip_l": 0.18, "hip_r": -0.18, "knee_l": 0.0, "knee_r": 0.0, "shoulder_l": 2.3 + 0.45 * s,
            "shoulder_r": -0.2, "elbow_l": 0.35 * s, "elbow_r": 0.1}  # fmt: skip


def _dog_angles(kind: str, phase: float) -> dict[str, float]:
    s, c = math.sin(phase), math.cos(phase)
    swing = {"run": 0.85, "walk": 0.5, "turn": 0.45}.get(kind, 0.0)
    crouch = 0.7 * max(0.0, -s) if kind == "jump" else 0.0
    wag = 0.5 * math.sin(2 * phase) if kind == "wave" else 0.2 * s
    return {"front_l": swing * s + crouch, "front_r": -swing * s + crouch,
            "back_l": -swing * c + crouch, "back_r": swing * c + crouch,
            "knee": -0.35 - 1.2 * crouch, "tail": 0.8 + wag,
            "head": 0.35 * s if kind == "wave" else 0.0}  # fmt: skip


def sample_gait(rng: Random, figure: str, num_frames: int, kind: str | None = None) -> Gait:
    """A gait of a random kind for "person" or "dog"."""
    kind = kind or rng.choice(GAITS)
    cycles = rng.uniform(2.6, 3.8) if kind == "run" else rng.uniform(1.6, 2.6)
    start = rng.uniform(0, 2 * math.pi)
    height = rng.uniform(0.3, 0.55)
    face = rng.choice((-1.0, 1.0))
    turn_start = rng.uniform(0, math.pi)
    limbs = _person_angles if figure == "person" else _dog_angles
    angles, lift, facing = [], [], []
    for i in range(num_frames):
        t = i / max(1, num_frames - 1)
        phase = start + 2 * math.pi * cycles * t
        angles.append({name: round(a, 6) for name, a in limbs(kind, phase).items()})
        lift.append(round(-height * max(0.0, math.sin(phase)) if kind == "jump" else 0.0, 6))
        facing.append(round(face * math.cos(turn_start + 2 * math.pi * t), 6) if kind == "turn" else face)
    return Gait(kind=kind, angles=tuple(angles), lift=tuple(lift), facing=tuple(facing))


def _limb(x: float, y: float, a: float, b: float, length: float, radius: float) -> list[Capsule]:
    """Two segments of equal length; angles from straight down, positive toward the front."""
    kx, ky = x + length * math.sin(a), y + length * math.cos(a)
    ex, ey = kx + length * math.sin(a + b), ky + length * math.cos(a + b)
    return [(x, y, kx, ky, radius), (kx, ky, ex, ey, radius * 0.9)]


def pose(figure: str, angles: dict[str, float]) -> list[Capsule]:
    """The capsules of one frame, in figure units."""
    if figure == "person":
        return [
            (0.0, -0.76, 0.0, -0.76, 0.23),
            (0.0, -0.42, 0.0, 0.08, 0.17),
            *_limb(0.0, -0.45, angles["shoulder_l"], angles["elbow_l"], 0.32, 0.085),
            *_limb(0.0, -0.45, angles["shoulder_r"], angles["elbow_r"], 0.32, 0.085),
            *_limb(0.0, 0.1, angles["hip_l"], angles["knee_l"], 0.42, 0.11),
            *_limb(0.0, 0.1, angles["hip_r"], angles["knee_r"], 0.42, 0.11),
        ]
    h, tail = angles["head"], angles["tail"]
    hx, hy = 0.62 + 0.1 * math.sin(h), -0.42 + 0.15 * h
    return [
        (-0.45, 0.0, 0.38, 0.0, 0.25),
        (0.38, -0.05, hx, hy, 0.15),
        (hx, hy, hx + 0.03, hy, 0.22),
        (hx, hy + 0.06, hx + 0.3, hy + 0.1, 0.11),
        (hx - 0.1, hy - 0.12, hx - 0.16, hy - 0.32, 0.07),
        (-0.6, -0.08, -0.6 - 0.42 * math.sin(tail), -0.08 - 0.42 * math.cos(tail), 0.07),
        *_limb(0.36, 0.1, angles["front_l"], 0.5 * angles["knee"], 0.32, 0.09),
        *_limb(0.28, 0.1, angles["front_r"], 0.5 * angles["knee"], 0.32, 0.09),
        *_limb(-0.42, 0.1, angles["back_l"], angles["knee"], 0.32, 0.09),
        *_limb(-0.5, 0.1, angles["back_r"], angles["knee"], 0.32, 0.09),
    ]
