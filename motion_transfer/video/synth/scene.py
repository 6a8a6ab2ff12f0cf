"""Scenes of the procedural world: what is seen, and exactly how it moves.

Motion and content are drawn from two separate random streams, so that one motion can be shown with
any content: `sample_scene("a")` and `sample_scene("a", content="b")` move alike and look different.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from motion_transfer.video.synth.backgrounds import Background, sample_background
from motion_transfer.video.synth.camera import Camera, sample_camera
from motion_transfer.video.synth.captions import write_caption
from motion_transfer.video.synth.figures import Gait, sample_gait
from motion_transfer.video.synth.palette import (
    COLORS,
    DIRECTIONAL,
    FIGURES,
    MIN_CONTRAST,
    PATTERNS,
    SHAPES,
    contrast,
    held_out,
)
from motion_transfer.video.synth.paths import (
    INTERACTIONS,
    Point,
    partner_paths,
    random_path,
    rounded,
    sample_angles,
    sample_scales,
)

NUM_FRAMES = 49
FPS = 12.0
KINDS = ("camera", "single", "multiple", "articulated")
EFFECTS = ("dissolve", "wipe", "sweep")
SHADINGS = ("flat", "lit", "round")


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object: its look, and its place, angle, scale and facing in every frame (world units)."""

    kind: str
    color: str
    size: float
    shading: str
    path: tuple[Point, ...]
    angles: tuple[float, ...]
    scales: tuple[float, ...]
    facing: tuple[float, ...]
    gait: Gait | None = None


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A change of the first object's look over time, between two frames; `color` only for sweeps."""

    kind: str
    start: int
    end: int
    reverse: bool
    color: str | None = None


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A whole scene. `caption` names the content only; `motion` is the true kind of movement."""

    name: str
    things: tuple[Thing, ...]
    background: Background
    camera: Camera
    caption: str
    motion: str
    num_frames: int = NUM_FRAMES
    effect: Effect | None = None
    _cache: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def track(self, index: int) -> tuple[Point, ...]:
        """Screen path of one object's center, in frame widths from the frame's center."""
        if index not in self._cache:
            thing = self.things[index]
            self._cache[index] = tuple(self.camera.view(i, p) for i, p in enumerate(thing.path))
        return self._cache[index]


@dataclass(frozen=True, kw_only=True)
class _Moves:
    """Everything of a scene that is motion: drawn before, and without, its content."""

    label: str
    camera: Camera
    figure: str | None
    sizes: tuple[float, ...]
    paths: tuple[tuple[Point, ...], ...]
    angles: tuple[tuple[float, ...], ...]
    scales: tuple[tuple[float, ...], ...]
    gaits: tuple[Gait | None, ...]


def _overflow(camera: Camera, path: list[Point], size: float) -> float:
    """How far, in widths, the object's core leaves the frame at worst."""
    worst = -1.0
    for i in range(0, len(path), 4):
        x, y = camera.view(i, path[i])
        worst = max(worst, max(abs(x), abs(y)) + 0.36 * size * camera.zoom[i] - 0.5)
    return worst


def _crowding(path: list[Point], others: list[list[Point]], reach: float) -> float:
    """Share of frames in which the path comes nearer than `reach` to another one."""
    if not others:
        return 0.0
    near = 0
    for i in range(0, len(path), 4):
        x, y = path[i]
        near += any((x - o[i][0]) ** 2 + (y - o[i][1]) ** 2 < reach * reach for o in others)
    return near / ((len(path) + 3) // 4)


def _placed(rng: Random, camera: Camera, path: list[Point], size: float, others: list[list[Point]]) -> list[Point]:
    """Moves a path to where it stays in view and clear of the others: best of twenty random places."""
    xs, ys = [p[0] for p in path], [p[1] for p in path]
    extent = max(max(xs) - min(xs), max(ys) - min(ys), 1e-9)
    shrink = min(1.0, (1.0 - 0.66 * size) / extent)
    mid_x, mid_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    best, best_cost = path, float("inf")
    for _ in range(20):
        ox, oy = rng.uniform(-0.34, 0.34), rng.uniform(-0.34, 0.34)
        trial = [((x - mid_x) * shrink + ox, (y - mid_y) * shrink + oy) for x, y in path]
        cost = max(0.0, _overflow(camera, trial, size)) + 0.5 * _crowding(trial, others, 0.95 * size)
        if cost < best_cost:
            best, best_cost = trial, cost
        if cost == 0:
            break
    return rounded(best)


def _placed_together(rng: Random, camera: Camera, paths: list[list[Point]], size: float) -> list[list[Point]]:
    """Moves several paths by one common shift, keeping their relation."""
    xs, ys = [p[0] for path in paths for p in path], [p[1] for path in paths for p in path]
    extent = max(max(xs) - min(xs), max(ys) - min(ys), 1e-9)
    shrink = min(1.0, (1.0 - 0.66 * size) / extent)
    mid_x, mid_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    best, best_cost = paths, float("inf")
    for _ in range(20):
        ox, oy = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)
        trial = [[((x - mid_x) * shrink + ox, (y - mid_y) * shrink + oy) for x, y in path] for path in paths]
        cost = sum(max(0.0, _overflow(camera, path, size)) for path in trial)
        if cost < best_cost:
            best, best_cost = trial, cost
        if cost == 0:
            break
    return [rounded(path) for path in best]


def _sample_moves(rng: Random, kind: str, num_frames: int) -> _Moves:
    if kind == "camera":
        camera = sample_camera(
            rng, num_frames, rng.choice(("pan", "tilt", "zoom", "roll", "parallax", "shake", "combined"))
        )
    else:
        camera = sample_camera(rng, num_frames)
    if kind == "articulated":
        return _articulated_moves(rng, camera, num_frames)
    if kind == "multiple":
        return _group_moves(rng, camera, num_frames)
    size = round(rng.uniform(0.32, 0.5), 6)
    if kind == "camera":
        label, path = camera.kind, [(0.0, 0.0)] * num_frames
        angles, scales = [round(rng.uniform(-0.15, 0.15), 6)] * num_frames, [1.0] * num_frames
    else:
        label, path = random_path(rng, num_frames)
        angles, scales = sample_angles(rng, num_frames), sample_scales(rng, num_frames)
    path = _placed(rng, camera, path, size, [])
    return _Moves(label=label, camera=camera, figure=None, sizes=(size,), paths=(tuple(path),),
                  angles=(tuple(angles),), scales=(tuple(scales),), gaits=(None,))  # fmt: skip


def _articulated_moves(rng: Random, camera: Camera, num_frames: int) -> _Moves:
    figure = rng.choice(FIGURES)
    gait = sample_gait(rng, figure, num_frames)
    size = round(rng.uniform(0.45, 0.62), 6)
    travels = gait.kind in ("walk", "run") and rng.random() < 0.75
    span = rng.uniform(0.25, 0.5) * gait.facing[0] if travels else 0.0
    path = [(span * i / (num_frames - 1), gait.lift[i] * size / 2) for i in range(num_frames)]
    path = _placed(rng, camera, path, size, [])
    return _Moves(label=gait.kind, camera=camera, figure=figure, sizes=(size,), paths=(tuple(path),),
                  angles=((0.0,) * num_frames,), scales=((1.0,) * num_frames,), gaits=(gait,))  # fmt: skip


def _group_moves(rng: Random, camera: Camera, num_frames: int) -> _Moves:
    count = rng.choices((2, 3), (70, 30))[0]
    size = round(rng.uniform(0.25, 0.34 if count == 2 else 0.29), 6)
    label = rng.choices(INTERACTIONS, (48, 14, 12, 13, 13))[0]
    if label == "independent":
        paths: list[list[Point]] = []
        for _ in range(count):
            _, path = random_path(rng, num_frames)
            paths.append(_placed(rng, camera, path, size, paths))
    else:
        paths = _placed_together(rng, camera, partner_paths(rng, label, count, num_frames), size)
    angles = tuple(tuple(sample_angles(rng, num_frames)) for _ in range(count))
    still = (1.0,) * num_frames
    return _Moves(label=label, camera=camera, figure=None, sizes=(size,) * count,
                  paths=tuple(tuple(p) for p in paths), angles=angles, scales=(still,) * count,
                  gaits=(None,) * count)  # fmt: skip


def _sample_look(rng: Random, kinds: tuple[str, ...], taken: set[str], unseen_pairs: bool) -> tuple[str, str]:
    """A shape or figure and a color that is not taken."""
    while True:
        kind, color = rng.choice(kinds), rng.choice(list(COLORS))
        if color in taken or (held_out(kind, color) and not unseen_pairs):
            continue
        return kind, color


def _sample_looks(rng: Random, moves: _Moves, background: str, unseen_pairs: bool) -> list[tuple[str, str]]:
    """One look per object: readable on the background, and either all alike or all different."""
    kinds = (moves.figure,) if moves.figure else SHAPES
    taken = {c for c in COLORS if contrast(c, background) < MIN_CONTRAST}
    first = _sample_look(rng, kinds, taken, unseen_pairs)
    if len(moves.paths) > 1 and rng.random() < 0.3:
        return [first] * len(moves.paths)
    looks = [first]
    while len(looks) < len(moves.paths):
        taken.add(looks[-1][1])
        looks.append(_sample_look(rng, kinds, taken, unseen_pairs))
    return looks


def _facing(kind: str, path: tuple[Point, ...], gait: Gait | None) -> tuple[float, ...]:
    if gait is not None:
        return gait.facing
    heads_left = kind in DIRECTIONAL and path[-1][0] - path[0][0] < -0.02
    return (-1.0 if heads_left else 1.0,) * len(path)


def _sample_effect(rng: Random, color: str, background: str, num_frames: int) -> Effect:
    kind = rng.choice(EFFECTS)
    other = None
    if kind == "sweep":
        other = rng.choice([c for c in COLORS if c != color and contrast(c, background) >= MIN_CONTRAST])
    start = rng.randrange(2, num_frames // 3)
    return Effect(kind=kind, start=start, end=num_frames - 1 - rng.randrange(2, num_frames // 4),
                  reverse=rng.random() < 0.5, color=other)  # fmt: skip


def sample_scene(
    name: str,
    *,
    content: str | None = None,
    kind: str | None = None,
    num_frames: int = NUM_FRAMES,
    unseen_pairs: bool = False,
    effects: float = 0.02,
) -> Scene:
    """Draws a scene from its name alone: the same name gives the same scene on every machine.

    Args:
        name: seeds the motion, and the content unless `content` is given.
        content: seeds shapes, colors and background separately.
        kind: one of `KINDS`; by default single objects are commonest.
        num_frames: length at `FPS` frames a second.
        unseen_pairs: allow the shape-color pairs that training never shows.
        effects: share of single-object scenes whose object dissolves, wipes or changes color.
    """
    motion_rng, look_rng = Random(f"motion/{name}"), Random(f"content/{content or name}")
    kind = kind or motion_rng.choices(KINDS, (12, 50, 26, 12))[0]
    moves = _sample_moves(motion_rng, kind, num_frames)
    background_color = look_rng.choice(list(COLORS))
    pattern = look_rng.choices(PATTERNS, (44, 9, 8, 8, 8, 8, 7, 8))[0]
    background = sample_background(look_rng, background_color, pattern)
    looks = _sample_looks(look_rng, moves, background_color, unseen_pairs)
    shading = look_rng.choice(SHADINGS)
    effect = None
    if kind == "single" and look_rng.random() < effects:
        effect = _sample_effect(look_rng, looks[0][1], background_color, num_frames)
    things = tuple(
        Thing(kind=look[0], color=look[1], size=moves.sizes[i], shading=shading, path=moves.paths[i],
              angles=moves.angles[i], scales=moves.scales[i], gait=moves.gaits[i],
              facing=_facing(look[0], moves.paths[i], moves.gaits[i]))
        for i, look in enumerate(looks)
    )  # fmt: skip
    caption = write_caption(look_rng, looks, background, effect.color if effect else None)
    return Scene(name=name, things=things, background=background, camera=moves.camera, caption=caption,
                 motion=moves.label, num_frames=num_frames, effect=effect)  # fmt: skip
