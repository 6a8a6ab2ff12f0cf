"""The procedural world's controls: single motions of known size, each with a unit, on any content.

Strength 1 is `most` of the unit; a camera's motion at strength -1 goes the other way, and at 0 all is at rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count, pairwise
from random import Random

from motion_transfer.video.synth.camera import Camera
from motion_transfer.video.synth.scene import FPS, NUM_FRAMES, Scene, Thing, sample_scene

PLACES = 20  # that are tried for a thing
CORE = 0.36  # of a thing's size, from its center: this much of it should stay in the picture


@dataclass(frozen=True, kw_only=True)
class Control:
    """A motion of one kind.

    Attributes:
        name: what it is called.
        unit: of its amplitude.
        most: amplitude at strength 1.
        reversible: whether negative strengths have a meaning.
    """

    name: str
    unit: str
    most: float
    reversible: bool = True

    @property
    def lowest(self) -> float:
        """The least strength."""
        return -1.0 if self.reversible else 0.0


CONTROLS: Mapping[str, Control] = {
    control.name: control
    for control in (
        Control(name="pan", unit="frame widths", most=0.35),
        Control(name="tilt", unit="frame widths", most=0.35),
        Control(name="zoom", unit="log scale", most=0.6),
        Control(name="roll", unit="degrees", most=45.0),
        Control(name="shake", unit="frame widths", most=0.05, reversible=False),
        Control(name="speed", unit="frame widths a second", most=0.25, reversible=False),
    )
}


def _ramp(amount: float) -> tuple[float, ...]:
    return tuple(round(amount * (i / (NUM_FRAMES - 1) - 0.5), 6) for i in range(NUM_FRAMES))


def _shaken(rng: Random) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A hand's path in x and y, of root mean square 1 together: sums of sines of unrelated pace."""
    paths = []
    for _ in range(2):
        waves = [(rng.uniform(0.6, 1.0), rng.uniform(2.0, 8.0), rng.uniform(0, 2 * math.pi)) for _ in range(4)]
        path = [sum(a * math.sin(2 * math.pi * f * i / (NUM_FRAMES - 1) + p) for a, f, p in waves)
                for i in range(NUM_FRAMES)]  # fmt: skip
        mean = sum(path) / NUM_FRAMES
        paths.append([v - mean for v in path])
    size = math.sqrt(sum(x * x + y * y for x, y in zip(*paths, strict=True)) / NUM_FRAMES)
    x, y = (tuple(round(v / size, 6) for v in path) for path in paths)
    return x, y


def _camera(control: Control, amount: float, rng: Random) -> Camera:
    """A camera whose motion is so large, in the control's unit."""
    still = (0.0,) * NUM_FRAMES
    x, y, zoom, roll = still, still, (1.0,) * NUM_FRAMES, still
    if control.name == "pan":
        x = _ramp(amount)
    elif control.name == "tilt":
        y = _ramp(amount)
    elif control.name == "zoom":
        zoom = tuple(round(math.exp(v), 6) for v in _ramp(amount))
    elif control.name == "roll":
        roll = _ramp(math.radians(amount))
    elif control.name == "shake":
        x, y = (tuple(round(amount * v, 6) for v in path) for path in _shaken(rng))
    return Camera(kind=control.name, x=x, y=y, zoom=zoom, roll=roll)


def _overflow(camera: Camera, place: tuple[float, float], size: float) -> float:
    """How far a resting thing's core leaves the frame at worst, in widths."""
    views = [(camera.view(i, place), camera.zoom[i]) for i in range(0, NUM_FRAMES, 4)]
    return max(max(map(abs, view)) + CORE * size * zoom - 0.5 for view, zoom in views)


def _at_rest(thing: Thing, widest: Camera, rng: Random) -> Thing:
    """A thing that keeps its place in the world, where the widest motion leaves it in view as well as may be."""
    places = [(round(rng.uniform(-0.34, 0.34), 6), round(rng.uniform(-0.34, 0.34), 6)) for _ in range(PLACES)]
    place = min(places, key=lambda one: max(0.0, _overflow(widest, one, thing.size)))
    return replace(thing, path=(place,) * NUM_FRAMES)


def speed_of(path: tuple[tuple[float, float], ...]) -> float:
    """Mean speed along a path, in frame widths a second."""
    return sum(math.dist(a, b) for a, b in pairwise(path)) * FPS / (len(path) - 1)


def _share_of_way(path: tuple[tuple[float, float], ...], length: float) -> float:
    """The share of its time after which a path is so long."""
    gone = 0.0
    for i, (a, b) in enumerate(pairwise(path)):
        step = math.dist(a, b)
        if gone + step >= length > 0:
            return (i + (length - gone) / step) / (len(path) - 1)
        gone += step
    return 1.0 if length > 0 else 0.0


def _slowed(thing: Thing, speed: float) -> Thing:
    """The thing so slow, in frame widths a second: the first part of its way over the whole clip, without turning."""
    share = _share_of_way(thing.path, speed * (NUM_FRAMES - 1) / FPS)
    path = []
    for i in range(NUM_FRAMES):
        place = share * i
        low = min(int(place), NUM_FRAMES - 2)
        (x, y), (to_x, to_y) = thing.path[low], thing.path[low + 1]
        part = place - low
        path.append((round(x + part * (to_x - x), 6), round(y + part * (to_y - y), 6)))
    still = {"angles": thing.angles[:1] * NUM_FRAMES, "scales": (1.0,) * NUM_FRAMES}
    return replace(thing, path=tuple(path), **still)


def _moving_scene(name: str, least_speed: float) -> Scene:
    """A scene of one thing that stays in view and moves fast enough, before a camera at rest."""
    for number in count():
        scene = sample_scene(f"{name}/{number}", kind="single", effects=0.0)
        thing = scene.things[0]
        in_view = all(max(map(abs, place)) + CORE * thing.size <= 0.5 for place in thing.path)
        if scene.camera.kind == "static" and in_view and speed_of(thing.path) >= least_speed:
            return scene
    raise AssertionError


def control_scene(control: Control, strength: float, name: str) -> Scene:
    """A scene in which a control's motion is so strong; the name alone decides what it shows.

    Args:
        control: one of `CONTROLS`.
        strength: -1..1, or 0..1 where it isn't reversible.
        name: seeds the content, and what of the motion is left to chance.
    """
    rng = Random(f"control/{control.name}/{name}")
    if control.name == "speed":
        scene = _moving_scene(f"control/{name}", control.most)
        return replace(scene, things=(_slowed(scene.things[0], strength * control.most),))
    scene = sample_scene(f"control/{name}", kind="camera", effects=0.0)
    seed = rng.random()
    widest = _camera(control, control.most, Random(seed))
    thing = _at_rest(scene.things[0], widest, rng)
    camera = _camera(control, strength * control.most, Random(seed))
    return replace(scene, things=(thing,), camera=camera, motion=control.name)
