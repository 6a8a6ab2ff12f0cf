"""MotionBench-nano: 53 clips with known motion, each with four prompts that name other content.

The four kinds are the paper's (Follow-Your-Motion, arXiv 2506.05207, MotionBench); it gives no counts per kind and no
clips, so these come from the procedural world. What a kind is named for is all that moves in it: cameras move past
things at rest, and everything else is seen by a camera at rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, pairwise
from random import Random

from motion_transfer.evaluate.retarget import Look, named_in_full, other_looks, retargeted, seen_colors
from motion_transfer.types import Clip
from motion_transfer.video.synth.backgrounds import Background, sample_background
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.palette import COLORS, FIGURES, PATTERNS
from motion_transfer.video.synth.paths import Point
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene

SIZE_PX = 64
KIND_COUNTS = {"camera": 13, "single": 14, "multiple": 13, "articulated": 13}
SEARCH_COUNTS = {"camera": 1, "single": 2, "multiple": 1, "articulated": 2}
DEVELOPMENT_PER_KIND = 4
NUM_TARGETS = 4
QUICK_PER_KIND = 3
MIN_TRAVEL = 0.3  # of a thing, along its path in frame widths
MIN_CAMERA_TRAVEL = 0.2  # of what the camera passes, likewise
CORE = 0.36  # of a thing's size, from its center: this much of it stays in the picture
WHOLE = 0.44  # and this much of a figure, whose hands and feet count
MIN_GAP = 0.7  # of a thing's size: nearer centers count as close
MAX_CLOSE = 0.2  # of the frames

# At most so many cases of a kind share a motion, so that each motion of the world has its part.
_MOST_ALIKE = {"camera": 2, "single": 2, "multiple": 4, "articulated": 3}
_MOST_OF_A_FIGURE = 7
# Stripes along a pan hide it.
_TELLING_PATTERNS = tuple(pattern for pattern in PATTERNS if pattern not in ("plain", "striped"))
_LOOKED_AT = ((-0.35, -0.35), (0.35, -0.35), (-0.35, 0.35), (0.35, 0.35))  # points as near as the things


@dataclass(frozen=True, kw_only=True)
class Target:
    """Other content for a case: what the prompt names, thing by thing in the order of the case's scene."""

    prompt: str
    looks: tuple[Look, ...]
    background: Background

    def scene(self, case: BenchCase) -> Scene:
        """The case's true motion with this content, for the ceiling; its caption names what it shows.

        A gait belongs to its figure. Where the target names the other figure, the true render keeps the reference's
        figure in the target's color.
        """
        scene, caption = retargeted(case.scene, self.looks, self.background), self.prompt
        for thing, (kind, _) in zip(scene.things, self.looks, strict=True):
            caption = caption.replace(kind, thing.kind)
        return replace(scene, caption=caption)


@dataclass(frozen=True, kw_only=True)
class BenchCase:
    """A reference with its truth, and four contents to show its motion with."""

    name: str
    kind: str
    scene: Scene
    targets: tuple[Target, ...]

    @property
    def prompts(self) -> tuple[str, ...]:
        """What the renders should show."""
        return tuple(target.prompt for target in self.targets)

    def reference(self) -> Clip:
        """The reference clip, with its caption."""
        frames_THWC = draw([self.scene], SIZE_PX)[0].numpy()
        return Clip(frames_THWC=frames_THWC, fps=FPS, caption=self.scene.caption, source=self.name)


def _travel(path: tuple[Point, ...]) -> float:
    """Length of a path, in its own units."""
    return sum(math.dist(a, b) for a, b in pairwise(path))


def _camera_travel(scene: Scene) -> float:
    """Mean path length on screen of four resting points, in frame widths."""
    paths = [tuple(scene.camera.view(i, point) for i in range(scene.num_frames)) for point in _LOOKED_AT]
    return sum(map(_travel, paths)) / len(paths)


def _stays_in_view(scene: Scene, index: int) -> bool:
    """Whether a thing is at no time cut off by more than a little, for what is hidden can't be judged."""
    thing, track = scene.things[index], scene.track(index)
    reach = (CORE if thing.gait is None else WHOLE) * thing.size
    return all(
        max(map(abs, track[i])) + reach * thing.scales[i] * scene.camera.zoom[i] <= 0.5 for i in range(scene.num_frames)
    )


def _keep_apart(scene: Scene) -> bool:
    """Whether no two things hide each other for long: they may meet, but not stay together."""
    reach = MIN_GAP * scene.things[0].size
    pairs = list(combinations((thing.path for thing in scene.things), 2))
    close = sum(any(math.dist(a[i], b[i]) < reach for a, b in pairs) for i in range(scene.num_frames))
    return close <= MAX_CLOSE * scene.num_frames


def _qualifies(scene: Scene, kind: str) -> bool:
    """Whether a scene's motion is worth transferring, can be seen, and is what its kind is named for."""
    if not all(_stays_in_view(scene, i) for i in range(len(scene.things))):
        return False
    if kind == "camera":
        return scene.background.pattern in _TELLING_PATTERNS and _camera_travel(scene) >= MIN_CAMERA_TRAVEL
    if scene.camera.kind != "static":
        return False
    if kind == "articulated":
        return True
    return _keep_apart(scene) and all(_travel(scene.track(i)) >= MIN_TRAVEL for i in range(len(scene.things)))


def _figures(scene: Scene) -> tuple[str | None, ...]:
    """What the four targets are to be: shapes (None), or the reference's figure and the other one in turn."""
    own = scene.things[0].kind
    if own not in FIGURES:
        return (None,) * NUM_TARGETS
    other = next(figure for figure in FIGURES if figure != own)
    return (own, other) * (NUM_TARGETS // 2)


def _patterns(rng: Random, own: str, kind: str) -> list[str]:
    """Patterns of the four targets, none the scene's own: all under a moving camera, else one, the rest plain."""
    if kind == "camera":
        return rng.sample([pattern for pattern in _TELLING_PATTERNS if pattern != own], NUM_TARGETS)
    patterns = ["plain"] * NUM_TARGETS
    patterns[rng.randrange(NUM_TARGETS)] = rng.choice([pattern for pattern in PATTERNS[1:] if pattern != own])
    return patterns


def _targets(scene: Scene, kind: str) -> tuple[Target, ...]:
    """Four contents that differ from the scene's in every color and shape, on four background colors."""
    rng, targets = Random(f"bench/targets/{scene.name}"), []
    free = [color for color in COLORS if color not in seen_colors(scene)]
    for pattern, figure in zip(_patterns(rng, scene.background.pattern, kind), _figures(scene), strict=True):
        looks = None
        while looks is None:
            color = rng.choice(free)
            looks = other_looks(rng, scene, color, figure=figure)
        free.remove(color)
        background = sample_background(rng, color, pattern)
        targets.append(Target(prompt=named_in_full(rng, looks, background), looks=looks, background=background))
    return tuple(targets)


def _room_for(scene: Scene, cases: list[BenchCase], kind: str) -> bool:
    """Whether the cases so far lack more of the scene's motion, and of its figure if it shows one."""
    alike = sum(case.scene.motion == scene.motion for case in cases)
    of_figure = sum(case.scene.things[0].kind == scene.things[0].kind for case in cases)
    return alike < _MOST_ALIKE[kind] and (kind != "articulated" or of_figure < _MOST_OF_A_FIGURE)


def _cases_of(kind: str, count: int, *, prefix: str) -> list[BenchCase]:
    """Cases of one kind, from names that training never draws; what doesn't qualify is passed over."""
    cases: list[BenchCase] = []
    number = 0
    while len(cases) < count:
        scene = sample_scene(f"{prefix}/{kind}/{number}", kind=kind, effects=0.0)
        number += 1
        if _room_for(scene, cases, kind) and _qualifies(scene, kind):
            cases.append(BenchCase(name=scene.name, kind=kind, scene=scene, targets=_targets(scene, kind)))
    return cases


@lru_cache(maxsize=1)
def bench_cases() -> tuple[BenchCase, ...]:
    """All 53 cases, kind by kind, the same on every machine."""
    return tuple(case for kind, count in KIND_COUNTS.items() for case in _cases_of(kind, count, prefix="bench"))


@lru_cache(maxsize=1)
def search_cases() -> tuple[BenchCase, ...]:
    """Six other cases, for choosing every method's settings: those of the benchmark itself stay unseen."""
    return tuple(case for kind, count in SEARCH_COUNTS.items() for case in _cases_of(kind, count, prefix="search"))


@lru_cache(maxsize=1)
def development_cases() -> tuple[BenchCase, ...]:
    """Sixteen further cases, the kinds in turn, for choosing between ways of working: neither benchmark nor search."""
    of_kinds = (_cases_of(kind, DEVELOPMENT_PER_KIND, prefix="dev") for kind in KIND_COUNTS)
    return tuple(case for four in zip(*of_kinds, strict=True) for case in four)


def _next_apart(cases: list[BenchCase], chosen: list[BenchCase]) -> BenchCase:
    """The first case whose motion, and then whose shape or figure, was chosen least often."""

    def overlap(case: BenchCase) -> tuple[int, int]:
        motions = [other.scene.motion for other in chosen]
        kinds = [other.scene.things[0].kind for other in chosen]
        return motions.count(case.scene.motion), kinds.count(case.scene.things[0].kind)

    return min(cases, key=overlap)


def quick_cases() -> tuple[BenchCase, ...]:
    """Twelve of the 53: three of each kind, as different in motion and in shape as there are."""
    quick: list[BenchCase] = []
    for kind in KIND_COUNTS:
        cases, chosen = [case for case in bench_cases() if case.kind == kind], list[BenchCase]()
        while len(chosen) < QUICK_PER_KIND:
            chosen.append(_next_apart(cases, chosen))
        quick += chosen
    return tuple(quick)
