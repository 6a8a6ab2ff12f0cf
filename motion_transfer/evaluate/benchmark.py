"""Does the learned motion arrive on new content? Clips with known paths, unseen in training.

Each case is a reference scene with one moving object, and a prompt that names another shape and color. The score
is the cosine between the true and the found displacements of the asked object.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from motion_transfer.evaluate.checker import check_clip
from motion_transfer.evaluate.motion import trajectory_agreement
from motion_transfer.types import Clip
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.palette import COLORS, MIN_CONTRAST, SHAPES, contrast, held_out
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene

SIZE_PX = 64
MIN_TRAVEL = 0.3  # frame widths


@dataclass(frozen=True, kw_only=True)
class Case:
    """A reference with its truth, and what to show instead."""

    number: int
    scene: Scene
    prompt: str
    color: str
    shape: str

    def reference(self) -> Clip:
        """The reference clip, with its caption."""
        frames = draw([self.scene], SIZE_PX)[0].numpy()
        return Clip(frames_THWC=frames, fps=FPS, caption=self.scene.caption, source=self.scene.name)


def _target(rng: Random, scene: Scene) -> tuple[str, str, str]:
    """Another color, shape and background than the scene's."""
    thing = scene.things[0]
    while True:
        color, shape, background = rng.choice(list(COLORS)), rng.choice(SHAPES), rng.choice(list(COLORS))
        differs = color != thing.color and shape != thing.kind and background != scene.background.color
        if differs and contrast(color, background) >= MIN_CONTRAST and not held_out(shape, color):
            return color, shape, background


def _travel(scene: Scene) -> float:
    path_T2 = np.array(scene.track(0))
    return float(np.hypot(*np.diff(path_T2, axis=0).T).sum())


def following_cases(count: int) -> list[Case]:
    """Single moving objects under a static camera, from names that training never draws."""
    cases: list[Case] = []
    number = 0
    while len(cases) < count:
        scene = sample_scene(f"follow/{number}", kind="single", effects=0.0)
        number += 1
        if scene.camera.kind != "static" or _travel(scene) < MIN_TRAVEL:
            continue
        color, shape, background = _target(Random(f"follow/target/{number}"), scene)
        article = "an" if color[0] in "aeiou" else "a"
        cases.append(Case(number=len(cases), scene=scene, color=color, shape=shape,
                          prompt=f"{article} {color} {shape} on a {background} background"))  # fmt: skip
    return cases


@dataclass(frozen=True, kw_only=True)
class Following:
    """How well a render follows a case's path.

    `cosine` is the mean cosine of displacements over a quarter second of the object of the asked color, 0 in frames
    without one; `shape_right` says whether that object has the asked shape.
    """

    cosine: float
    shape_right: bool

    @property
    def strict(self) -> float:
        """The cosine, or 0 where the object has not the asked shape."""
        return self.cosine if self.shape_right else 0.0


def follow(case: Case, render: Clip) -> Following:
    """Finds the asked object in a render, and compares its path with the reference's true one."""
    verdict = check_clip(render.frames_THWC, color=case.color, shape=case.shape)
    cosine = trajectory_agreement(np.array(case.scene.track(0)), verdict.path_T2, FPS)
    assert cosine is not None, "cases always move"
    return Following(cosine=cosine, shape_right=bool(verdict.shape_right))
