"""Judges one render: does it move like the reference and show what the prompt asks for?"""

from __future__ import annotations

from motion_transfer.errors import MissingWeights
from motion_transfer.evaluate.appearance import leakage, reference_similarity, unwanted
from motion_transfer.evaluate.camera_motion import residual_flow_error
from motion_transfer.evaluate.checker import Verdict, check_clip
from motion_transfer.evaluate.embedders import general_embedder, world_embedder
from motion_transfer.evaluate.flicker import flicker, temporal_consistency
from motion_transfer.evaluate.measures import measure
from motion_transfer.evaluate.motion import motion_fidelity, motion_fidelity_script
from motion_transfer.evaluate.prompt import PromptContent, read_prompt
from motion_transfer.evaluate.retarget import Look
from motion_transfer.evaluate.text_match import frame_consistency, text_match
from motion_transfer.evaluate.truth import truth_measures
from motion_transfer.types import Clip, Measure, Report
from motion_transfer.video.synth.scene import Scene

NO_CAMERA = "a background has too little texture to tell objects' motion from the camera's"


def _unreadable(content: PromptContent, source: str) -> str:
    """Why the procedural world's checker can't know what a text asks for; empty if it can."""
    if content.unknown_words:
        words = ", ".join(repr(word) for word in content.unknown_words[:3])
        return f"the checker reads only scenes of the procedural world, and the {source} also says {words}"
    if content.color is None or content.shape is None:
        return f"the {source} names no color and shape that the checker knows"
    return ""


def _content_measures(verdict: Verdict | None, unread: str) -> list[Measure]:
    color, shape, present = (None,) * 3 if verdict is None else (
        float(verdict.color_right), float(verdict.shape_right), verdict.present_share)  # fmt: skip
    return [
        measure("color_right", color, unread),
        measure("shape_right", shape, unread),
        measure("object_present", present, unread, unit="share of frames"),
    ]


def _leak(reference: Clip, generated: Clip, prompt: str, scene: Scene | None) -> Measure:
    """Against the true scene, or what the reference's caption says of its first object."""
    asked, said = read_prompt(prompt), read_prompt(reference.caption)
    looks, background = [(said.shape or "", said.color or "")], said.background_color
    why = "" if scene else _unreadable(said, "reference's caption")
    why = why or _unreadable(asked, "prompt")
    if scene is not None:
        looks, background = [(thing.kind, thing.color) for thing in scene.things], scene.background.color
    value = None if why else leakage(generated.frames_THWC, unwanted(looks, background, prompt), asked)
    why = why or "the prompt asks for nothing that differs from the reference"
    return measure("leakage", value, why, unit="share of frames", higher=False)


def _match_measures(generated: Clip, prompt: str, asked: PromptContent) -> list[Measure]:
    """How well the render fits its prompt, and how alike its frames are, as a model that knows the words sees it."""
    of_world = not asked.unknown_words
    names, unit = ("text_match", "frame_consistency"), f"cosine of {'nano-clip' if of_world else 'CLIP'}"
    if not prompt.strip():
        return [measure(name, None, "there is no prompt", unit=unit) for name in names]
    try:
        model = world_embedder() if of_world else general_embedder()
    except MissingWeights as error:
        return [measure(name, None, str(error), unit=unit) for name in names]
    found = text_match(generated, prompt, model), frame_consistency(generated, model)
    return [measure(name, value, "the render is a single frame", unit=unit)
            for name, value in zip(names, found, strict=True)]  # fmt: skip


def _looks(scene: Scene | None, asked: PromptContent, unread: str) -> tuple[Look, ...] | None:
    """What the prompt shows the reference's only object as; None where it has several, or the prompt can't be read."""
    if scene is None or len(scene.things) != 1 or unread or not (asked.shape and asked.color):
        return None
    return ((asked.shape, asked.color),)


def judge(
    reference: Clip,
    generated: Clip,
    *,
    prompt: str = "",
    scene: Scene | None = None,
    looks: tuple[Look, ...] | None = None,
) -> Report:
    """Measures one render against its reference and its prompt. The clips may differ in size and length.

    Args:
        reference: the clip whose motion was learned.
        generated: the render.
        prompt: what the render should show.
        scene: the reference's true scene, if it comes from the procedural world.
        looks: what the prompt shows each of the scene's objects as, where there are several.

    Returns:
        Motion: `motion_fidelity`, `motion_fidelity_script`, and against the truth `trajectory_agreement`,
        `trajectory_error`, `joint_error` and `camera_error`; without it `residual_flow_error`. Picture:
        `temporal_consistency`, `flicker` and `frame_consistency`. Content: `text_match`, `color_right`,
        `shape_right` and `object_present`, for the first object the prompt names. Look of the reference: `leakage`
        and `reference_similarity`. What can't be computed has no value and says why.
    """
    asked = read_prompt(prompt)
    unread = _unreadable(asked, "prompt")
    verdict = None
    if asked.color and asked.shape and not unread:
        verdict = check_clip(generated.frames_THWC, color=asked.color, shape=asked.shape)
    fidelity = motion_fidelity(reference, generated)
    script = motion_fidelity_script(reference, generated)
    look = reference_similarity(reference.frames_THWC, generated.frames_THWC)
    return Report(
        measures=(
            measure("motion_fidelity", fidelity, "neither clip has anything to track, or one is too short"),
            measure("motion_fidelity_script", script, "nothing moves in one of the clips"),
            *truth_measures(scene, looks or _looks(scene, asked, unread), generated),
            measure(
                "residual_flow_error",
                residual_flow_error(reference, generated),
                NO_CAMERA,
                unit="widths a second",
                higher=False,
            ),
            measure("temporal_consistency", temporal_consistency(generated), "the render is a single frame"),
            measure("flicker", flicker(generated), "the render is a single frame", unit="levels", higher=False),
            *_match_measures(generated, prompt, asked),
            *_content_measures(verdict, unread),
            _leak(reference, generated, prompt, scene),
            measure("reference_similarity", look, "", higher=False),
        )
    )
