"""The silhouettes of the world as exact signed distance fields.

Each shape is a union of solid loops minus a union of hole loops, in a box of [-1, 1] with y down.
Distances are sampled once into an atlas; drawing then reads the atlas with `grid_sample`, which keeps
edges one pixel wide at any size and angle.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from motion_transfer.video.synth.palette import SHAPES

Loop = list[tuple[float, float]]

ATLAS_PX = 96
ATLAS_REACH = 1.5  # the atlas covers [-1.5, 1.5] in shape units


def _ellipse(cx: float, cy: float, rx: float, ry: float, num: int = 48) -> Loop:
    return [(cx + rx * math.cos(2 * math.pi * i / num), cy + ry * math.sin(2 * math.pi * i / num)) for i in range(num)]


def _star(points: int, outer: float, inner: float) -> Loop:
    loop = []
    for i in range(2 * points):
        r = outer if i % 2 == 0 else inner
        a = math.pi * i / points - math.pi / 2
        loop.append((r * math.cos(a), r * math.sin(a)))
    return loop


def _heart(num: int = 64) -> Loop:
    loop = []
    for i in range(num):
        a = 2 * math.pi * i / num
        x = 16 * math.sin(a) ** 3
        y = 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)
        loop.append((x / 17.0, -(y + 2.5) / 16.0))
    return loop


def _outline(name: str) -> tuple[list[Loop], list[Loop]]:
    """Solid loops and hole loops of one shape."""
    match name:
        case "circle":
            return [_ellipse(0, 0, 0.92, 0.92)], []
        case "square":
            return [[(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]], []
        case "triangle":
            return [[(0, -0.95), (0.98, 0.78), (-0.98, 0.78)]], []
        case "star":
            return [_star(5, 1.0, 0.42)], []
        case "heart":
            return [_heart()], []
        case "ring":
            return [_ellipse(0, 0, 0.95, 0.95)], [_ellipse(0, 0, 0.5, 0.5)]
        case "cross":
            a, b = 0.34, 0.95
            return [[(-b, -a), (b, -a), (b, a), (-b, a)], [(-a, -b), (a, -b), (a, b), (-a, b)]], []
        case "diamond":
            return [[(0, -1.0), (0.6, 0), (0, 1.0), (-0.6, 0)]], []
        case "crescent":
            return [_ellipse(0, 0, 0.95, 0.95)], [_ellipse(0.48, 0, 0.78, 0.78)]
        case "arrow":
            return [[(-1.0, -0.28), (0.15, -0.28), (0.15, -0.75), (1.0, 0.0),
                     (0.15, 0.75), (0.15, 0.28), (-1.0, 0.28)]], []  # fmt: skip
        case "car":
            body = [(-1.0, -0.05), (-0.62, -0.12), (-0.36, -0.58), (0.32, -0.58), (0.6, -0.12),
                    (0.95, 0.0), (1.0, 0.38), (-1.0, 0.38)]  # fmt: skip
            windows = [(-0.36, -0.12), (-0.22, -0.42), (0.22, -0.42), (0.38, -0.12)]
            wheels = [_ellipse(-0.52, 0.38, 0.27, 0.27), _ellipse(0.55, 0.38, 0.27, 0.27)]
            return [body, *wheels], [windows]
        case "fish":
            return [_ellipse(0.22, 0, 0.76, 0.5), [(-0.35, 0), (-1.0, -0.55), (-1.0, 0.55)]], []
        case "bird":
            return [
                _ellipse(-0.05, 0.15, 0.6, 0.3),
                _ellipse(0.55, -0.12, 0.26, 0.26),
                [(0.75, -0.22), (1.05, -0.06), (0.75, 0.04)],
                [(0.28, 0.1), (-0.3, 0.1), (-0.55, -0.85)],
                [(-0.5, 0.05), (-1.0, -0.1), (-1.0, 0.3), (-0.5, 0.3)],
            ], []
        case "flower":
            turns = [2 * math.pi * i / 6 for i in range(6)]
            petals = [_ellipse(0.6 * math.cos(a), 0.6 * math.sin(a), 0.36, 0.36, 24) for a in turns]
            return [*petals, _ellipse(0, 0, 0.5, 0.5)], [_ellipse(0, 0, 0.24, 0.24)]
        case "house":
            walls = [(-0.68, -0.15), (0.68, -0.15), (0.68, 0.9), (-0.68, 0.9)]
            roof = [(0, -0.95), (1.0, -0.1), (-1.0, -0.1)]
            return [walls, roof], [[(-0.2, 0.3), (0.2, 0.3), (0.2, 0.95), (-0.2, 0.95)]]
        case "tree":
            return [
                [(0, -1.0), (0.55, -0.25), (-0.55, -0.25)],
                [(0, -0.6), (0.8, 0.5), (-0.8, 0.5)],
                [(-0.17, 0.4), (0.17, 0.4), (0.17, 1.0), (-0.17, 1.0)],
            ], []
    raise AssertionError(f"no outline for {name}")


def _loop_distance(loop: Loop, points_P2: Tensor) -> Tensor:
    """Signed distance (negative inside) of points to one closed polygon."""
    a_E2 = torch.tensor(loop, dtype=torch.float64)
    edge_E2 = torch.roll(a_E2, -1, 0) - a_E2
    rel_PE2 = points_P2[:, None] - a_E2
    along_PE = (rel_PE2 * edge_E2).sum(-1) / edge_E2.pow(2).sum(-1).clamp_min(1e-12)
    near_PE2 = rel_PE2 - along_PE.clamp(0, 1)[..., None] * edge_E2
    distance_P = near_PE2.pow(2).sum(-1).min(1).values.sqrt()
    ay, by = a_E2[:, 1], (a_E2 + edge_E2)[:, 1]
    py = points_P2[:, 1:2]
    crosses = (ay > py) != (by > py)
    x_hit = a_E2[:, 0] + (py - ay) / (by - ay + 1e-30) * edge_E2[:, 0]
    inside_P = (crosses & (points_P2[:, 0:1] < x_hit)).sum(1) % 2 == 1
    return torch.where(inside_P, -distance_P, distance_P)


def signed_distance(name: str, points_P2: Tensor) -> Tensor:
    """Signed distance of points `(P, 2)` to a shape, in shape units; negative inside."""
    solids, holes = _outline(name)
    distance_P = torch.stack([_loop_distance(loop, points_P2) for loop in solids]).min(0).values
    for hole in holes:
        distance_P = torch.maximum(distance_P, -_loop_distance(hole, points_P2))
    return distance_P


@lru_cache(maxsize=1)
def distance_atlas() -> Tensor:
    """Signed distances of all shapes, `(num_shapes, 1, ATLAS_PX, ATLAS_PX)` float32, in shape units."""
    axis = (torch.arange(ATLAS_PX, dtype=torch.float64) + 0.5) / ATLAS_PX * 2 - 1
    y, x = torch.meshgrid(axis * ATLAS_REACH, axis * ATLAS_REACH, indexing="ij")
    points_P2 = torch.stack([x.flatten(), y.flatten()], -1)
    fields = [signed_distance(name, points_P2).view(1, ATLAS_PX, ATLAS_PX) for name in SHAPES]
    return torch.stack(fields).float()
