"""Clips of the procedural world for the tests of evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from motion_transfer.types import Clip
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene


def scene_of(name: str, *, content: str | None = None, kind: str = "single") -> Scene:
    """A scene whose object keeps its look."""
    return sample_scene(name, content=content, kind=kind, effects=0.0)


def frames_of(scene: Scene) -> np.ndarray:
    """All frames `(T, 64, 64, 3)` uint8."""
    return draw([scene], 64)[0].numpy()


def empty_frames_of(scene: Scene) -> np.ndarray:
    """The scene with its objects far out of view."""
    away = tuple(replace(thing, path=((9.0, 9.0),) * scene.num_frames) for thing in scene.things)
    return frames_of(replace(scene, things=away))


def as_clip(frames_THWC: np.ndarray, *, caption: str = "") -> Clip:
    """Frames as a clip at the world's rate."""
    return Clip(frames_THWC=np.ascontiguousarray(frames_THWC), fps=FPS, caption=caption)
