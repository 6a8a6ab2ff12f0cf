"""Backgrounds: one still picture per scene, three frame widths wide, which the camera looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from motion_transfer.video.synth.palette import COLORS

TILE_WIDTHS = 3.0  # the picture covers [-1.5, 1.5] frame widths; beyond it is mirrored
TILE_PX = 192
TONE = 0.26  # how far the second tone lies from the named color


@dataclass(frozen=True, kw_only=True)
class Background:
    """A named color and pattern, with the numbers that fix its picture."""

    color: str
    pattern: str
    angle: float
    period: float
    seed: int


def _tones(color: str) -> tuple[Tensor, Tensor]:
    base = torch.tensor(COLORS[color])
    luminance = 0.3 * base[0] + 0.59 * base[1] + 0.11 * base[2]
    toward = 1.0 if luminance < 0.5 else 0.0
    return base, base * (1 - TONE) + toward * TONE


def _edge(value: Tensor, softness: float) -> Tensor:
    return (value / softness + 0.5).clamp(0, 1)


def _leaves(rng: Random) -> Tensor:
    """Dead leaves: overlapping discs of random tone and size, nearest last."""
    px = TILE_PX // 2
    axis = (torch.arange(px) + 0.5) / px * TILE_WIDTHS
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    tone = torch.full((px, px), 0.5)
    for _ in range(140):
        cx, cy = rng.uniform(0, TILE_WIDTHS), rng.uniform(0, TILE_WIDTHS)
        r, level = rng.uniform(0.12, 0.34), rng.random()
        tone = torch.where((x - cx).square() + (y - cy).square() < r * r, level, tone)
    return F.interpolate(tone[None, None], size=TILE_PX, mode="bilinear", align_corners=False)[0, 0]


def _clouds(rng: Random) -> Tensor:
    """Fractal noise: four octaves of smooth random grids with halving weight, stretched to [0, 1]."""
    total = torch.zeros(TILE_PX, TILE_PX)
    for octave in range(4):
        cells = 5 * 2**octave
        grid = torch.tensor([[rng.random() for _ in range(cells)] for _ in range(cells)])
        total += F.interpolate(grid[None, None], size=TILE_PX, mode="bicubic", align_corners=False)[0, 0] / 2**octave
    return (total - total.min()) / (total.max() - total.min())


def _hills(rng: Random, x: Tensor, y: Tensor) -> Tensor:
    """Three rows of rolling hills, each darker or lighter than the one behind."""
    tone = torch.zeros_like(x)
    for row, level in enumerate((0.45, 0.75, 1.0)):
        phase, cycles = rng.uniform(0, 6.28), rng.uniform(0.8, 1.5)
        ridge = -0.12 + 0.24 * row + 0.09 * torch.sin(2 * math.pi * cycles * x + phase)
        tone = torch.maximum(tone, level * _edge(y - ridge, 0.02))
    return tone


def picture(background: Background) -> Tensor:
    """The background's picture, `(3, TILE_PX, TILE_PX)` float32 in 0..1."""
    base, other = _tones(background.color)
    if background.pattern == "plain":
        return base[:, None, None].expand(3, TILE_PX, TILE_PX).contiguous()
    axis = ((torch.arange(TILE_PX) + 0.5) / TILE_PX - 0.5) * TILE_WIDTHS
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    c, s, p = math.cos(background.angle), math.sin(background.angle), background.period
    u, v = (c * x + s * y) / p, (-s * x + c * y) / p
    rng = Random(background.seed)
    match background.pattern:
        case "striped":
            mix = _edge(torch.sin(2 * math.pi * u), 0.35)
        case "wavy":
            mix = _edge(torch.sin(2 * math.pi * (v + 0.35 * torch.sin(2 * math.pi * u / 2))), 0.4)
        case "checkered":
            mix = _edge(torch.sin(math.pi * u) * torch.sin(math.pi * v), 0.2)
        case "dotted":
            du, dv = u - torch.floor(u) - 0.5, v - torch.floor(v) - 0.5
            mix = _edge(0.3 - (du.square() + dv.square()).sqrt(), 0.08)
        case "hilly":
            mix = _hills(rng, x, y)
        case "leafy":
            mix = _leaves(rng)
        case "cloudy":
            mix = _clouds(rng)
        case _:
            raise AssertionError(f"no pattern {background.pattern}")
    return base[:, None, None] + mix * (other - base)[:, None, None]


def sample_background(rng: Random, color: str, pattern: str) -> Background:
    """Random angle, period and texture for a named color and pattern."""
    angle = rng.uniform(0, math.pi) if pattern in ("striped", "wavy") else rng.uniform(-0.3, 0.3)
    return Background(
        color=color,
        pattern=pattern,
        angle=round(angle, 6),
        period=round(rng.uniform(0.18, 0.32), 6),
        seed=rng.getrandbits(32),
    )
