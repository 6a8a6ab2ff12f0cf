"""A render against the reference's true motion, which is known for clips of the procedural world alone.

Objects of a reference and of a render are matched by the colors the prompt gives them: `looks` says, thing by thing
of the true scene, what each is shown as.
"""

from __future__ import annotations

import numpy as np

from motion_transfer.evaluate.camera_motion import camera_error, camera_path, true_camera_path
from motion_transfer.evaluate.checker import find_object
from motion_transfer.evaluate.joints import joint_angles, joint_error
from motion_transfer.evaluate.measures import measure
from motion_transfer.evaluate.motion import resample_path, trajectory_agreement, trajectory_error
from motion_transfer.evaluate.retarget import Look
from motion_transfer.types import Clip, Measure
from motion_transfer.video.synth.palette import FIGURES
from motion_transfer.video.synth.scene import FPS, Scene

NAMES = ("trajectory_agreement", "trajectory_error", "joint_error", "camera_error")
_UNITS = {"trajectory_error": "% of width", "joint_error": "degrees", "camera_error": "% of width"}
_UNKNOWN = "the reference's true path is known only for clips of the procedural world"


def _measure(name: str, value: float | None, why: str) -> Measure:
    return measure(name, value, why, unit=_UNITS.get(name, ""), higher=name == "trajectory_agreement")


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _paths(scene: Scene, looks: tuple[Look, ...], frames_THWC: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """True and found path of each object, at the scene's frames; NaN where it is not seen."""
    pairs = []
    for index, (kind, color) in enumerate(looks):
        true_T2 = np.array(scene.track(index))
        found_T2 = find_object(frames_THWC, color, kind).path_T2
        pairs.append((true_T2, resample_path(found_T2, len(true_T2))))
    return pairs


def _trajectories(scene: Scene, looks: tuple[Look, ...], frames_THWC: np.ndarray) -> list[Measure]:
    """Agreement in direction and distance in place, as means over the objects."""
    pairs = _paths(scene, looks, frames_THWC)
    agreement = _mean([trajectory_agreement(true, found, FPS) for true, found in pairs])
    error = _mean([trajectory_error(true, found) for true, found in pairs])
    return [
        _measure("trajectory_agreement", agreement, "the reference's objects stay in their place"),
        _measure("trajectory_error", error, "no asked object is seen"),
    ]


def _joints(scene: Scene, looks: tuple[Look, ...], frames_THWC: np.ndarray) -> Measure:
    kind, color = looks[0]
    if scene.things[0].gait is None or kind != scene.things[0].kind:
        return _measure("joint_error", None, "the reference shows no figure that the prompt asks for too")
    found = joint_angles(frames_THWC, color, kind) if kind in FIGURES else None
    return _measure(
        "joint_error", joint_error(scene, found) if found else None, "the asked figure is not seen, or rests"
    )


def _camera(scene: Scene, clip: Clip) -> Measure:
    found = camera_path(clip)
    error = None if found is None else camera_error(true_camera_path(scene), found)
    return _measure("camera_error", error, "the render's background has too little texture to tell the camera")


def truth_measures(scene: Scene | None, looks: tuple[Look, ...] | None, generated: Clip) -> list[Measure]:
    """Measures of `NAMES`; those that can't be computed say why.

    Args:
        scene: the reference's true scene, None if it is not known.
        looks: shape and color of each of its things in the render, None if the prompt doesn't tell.
        generated: the render, of any size; of the scene's length for camera and joints.
    """
    if scene is None:
        return [_measure(name, None, _UNKNOWN) for name in NAMES]
    whole = generated.num_frames == scene.num_frames
    short = _measure("camera_error", None, "the render has another number of frames than the reference")
    camera = _camera(scene, generated) if whole else short
    if looks is None or len(looks) != len(scene.things):
        why = f"the reference shows {len(scene.things)} objects, and the prompt doesn't say which is which"
        return [*(_measure(name, None, why) for name in NAMES[:3]), camera]
    frames_THWC = generated.frames_THWC
    joints = _joints(scene, looks, frames_THWC) if whole else _measure("joint_error", None, short.why_missing)
    return [*_trajectories(scene, looks, frames_THWC), joints, camera]
