"""Smooth random paths, spins and scale changes of objects, in frame widths.

Every function takes a `random.Random` and returns plain floats rounded to six digits, so that one seed
gives the same numbers on every machine.
"""

from __future__ import annotations

import math
from random import Random

Point = tuple[float, float]

PATH_KINDS = ("line", "arc", "circle", "wave", "zigzag", "bounce", "spiral", "accelerate", "rest")
PATH_WEIGHTS = (20, 14, 12, 10, 8, 10, 6, 10, 10)
INTERACTIONS = ("independent", "chase", "orbit", "cross", "collide")


def rounded(points: list[Point]) -> list[Point]:
    """Drops the digits in which two machines' math libraries may differ."""
    return [(round(x, 6), round(y, 6)) for x, y in points]


def _times(num_frames: int) -> list[float]:
    return [i / max(1, num_frames - 1) for i in range(num_frames)]


def _turned(points: list[Point], angle: float) -> list[Point]:
    c, s = math.cos(angle), math.sin(angle)
    return [(c * x - s * y, s * x + c * y) for x, y in points]


def _triangle_wave(phase: float) -> float:
    return 1 - 4 * abs((phase % 1.0) - 0.5)


def sample_path(rng: Random, kind: str, num_frames: int) -> list[Point]:
    """Displacements from the path's own origin, `num_frames` points in frame widths."""
    span = rng.uniform(0.3, 0.62)
    turn = rng.uniform(0, 2 * math.pi)
    hand = rng.choice((-1, 1))
    taus = _times(num_frames)
    match kind:
        case "rest":
            return [(0.0, 0.0)] * num_frames
        case "line":
            points = [(span * t, 0.0) for t in taus]
        case "accelerate":
            power = rng.choice((2.0, 2.5, 0.45))
            points = [(span * t**power, 0.0) for t in taus]
        case "arc":
            sweep, radius = rng.uniform(1.2, 3.4), span * 0.55
            points = [(radius * math.sin(sweep * t), hand * radius * (1 - math.cos(sweep * t))) for t in taus]
        case "circle":
            rounds, radius = rng.choice((1.0, 1.0, 1.5, 2.0)), span * rng.uniform(0.3, 0.42)
            points = [(radius * math.cos(2 * math.pi * rounds * t),
                       hand * radius * math.sin(2 * math.pi * rounds * t)) for t in taus]  # fmt: skip
        case "wave":
            cycles, height = rng.uniform(1.0, 2.2), rng.uniform(0.07, 0.16)
            points = [(span * t, hand * height * math.sin(2 * math.pi * cycles * t)) for t in taus]
        case "zigzag":
            cycles, height = rng.uniform(1.2, 2.2), rng.uniform(0.09, 0.18)
            points = [(span * t, hand * height * _triangle_wave(cycles * t)) for t in taus]
        case "bounce":
            hops, height = rng.choice((1.5, 2.0, 2.5)), rng.uniform(0.2, 0.4)
            points = [(hand * span * t, -height * abs(math.sin(math.pi * hops * t))) for t in taus]
            turn = 0.0
        case "spiral":
            rounds, radius = rng.uniform(1.2, 2.0), span * 0.5
            grow = rng.random() < 0.5
            points = []
            for t in taus:
                r = radius * (0.2 + 0.8 * (t if grow else 1 - t))
                a = hand * 2 * math.pi * rounds * t
                points.append((r * math.cos(a), r * math.sin(a)))
        case _:
            raise AssertionError(f"no path kind {kind}")
    return rounded(_turned(points, turn))


def random_path(rng: Random, num_frames: int) -> tuple[str, list[Point]]:
    """A path of a random kind, and the kind's name."""
    kind = rng.choices(PATH_KINDS, PATH_WEIGHTS)[0]
    return kind, sample_path(rng, kind, num_frames)


def sample_angles(rng: Random, num_frames: int) -> list[float]:
    """Rotation of an object over time, in radians: mostly upright, at times spinning or rocking."""
    tilt = rng.uniform(-0.15, 0.15)
    mode = rng.choices(("still", "spin", "rock"), (72, 18, 10))[0]
    taus = _times(num_frames)
    if mode == "spin":
        rate = rng.choice((-1, 1)) * rng.uniform(0.25, 1.0) * 2 * math.pi
        return [round(tilt + rate * t, 6) for t in taus]
    if mode == "rock":
        swing, cycles = rng.uniform(0.25, 0.6), rng.uniform(1.0, 2.5)
        return [round(tilt + swing * math.sin(2 * math.pi * cycles * t), 6) for t in taus]
    return [round(tilt, 6)] * num_frames


def sample_scales(rng: Random, num_frames: int) -> list[float]:
    """Size factor of an object over time, between 0.7 and 1.3; mostly constant."""
    mode = rng.choices(("still", "grow", "shrink", "pulse"), (84, 6, 5, 5))[0]
    taus = _times(num_frames)
    change = rng.uniform(0.15, 0.3)
    if mode == "grow":
        return [round(1 - change + 2 * change * t, 6) for t in taus]
    if mode == "shrink":
        return [round(1 + change - 2 * change * t, 6) for t in taus]
    if mode == "pulse":
        cycles = rng.uniform(1.0, 2.5)
        return [round(1 + change * 0.8 * math.sin(2 * math.pi * cycles * t), 6) for t in taus]
    return [1.0] * num_frames


def partner_paths(rng: Random, kind: str, count: int, num_frames: int) -> list[list[Point]]:
    """Paths of two or three objects that chase, orbit, cross or collide, around a common origin."""
    taus = _times(num_frames)
    turn = rng.uniform(0, 2 * math.pi)
    if kind == "chase":
        gap = rng.choice((8, 10, 12))
        lead = sample_path(rng, rng.choice(("line", "arc", "circle", "wave")), num_frames + gap * (count - 1))
        return [lead[gap * (count - 1 - i) :][:num_frames] for i in range(count)]
    if kind == "orbit":
        radius, rounds = rng.uniform(0.27, 0.33), rng.choice((-1, 1)) * rng.uniform(0.6, 1.5)
        ring = [
            [(radius * math.cos(2 * math.pi * (rounds * t + i / (count - 1)) + turn),
              radius * math.sin(2 * math.pi * (rounds * t + i / (count - 1)) + turn)) for t in taus]
            for i in range(count - 1)
        ]  # fmt: skip
        return [[(0.0, 0.0)] * num_frames, *(rounded(path) for path in ring)]
    reach, lane = rng.uniform(0.24, 0.32), rng.uniform(0.13, 0.18)
    paths = []
    for i in range(count):
        side, offset = (-1) ** i, (i - (count - 1) / 2) * 2 * lane
        if kind == "cross":
            points = [(side * reach * (2 * t - 1), offset) for t in taus]
        elif kind == "collide":
            points = [(side * (0.13 + reach * abs(2 * t - 1)), 0.0 if i < 2 else 2 * lane) for t in taus]
        else:
            raise AssertionError(f"no interaction {kind}")
        paths.append(rounded(_turned(points, turn)))
    return paths
