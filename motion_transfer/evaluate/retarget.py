"""Other content for a scene's motion: how a perfect render of a motion transfer would look."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from motion_transfer.evaluate.prompt import read_prompt
from motion_transfer.video.synth.backgrounds import Background
from motion_transfer.video.synth.captions import write_caption
from motion_transfer.video.synth.palette import COLORS, DIRECTIONAL, MIN_CONTRAST, SHAPES, contrast, held_out
from motion_transfer.video.synth.scene import Scene, Thing

Look = tuple[str, str]  # shape or figure, and color

_LEFTWARD = -0.02  # frame widths, as in the world: what travels further to the left faces left


def _shown_as(thing: Thing, look: Look) -> Thing:
    """The same movement with another look; a figure stays the figure it is."""
    kind, color = look
    if thing.gait is not None:
        return replace(thing, color=color)
    heads_left = kind in DIRECTIONAL and thing.path[-1][0] - thing.path[0][0] < _LEFTWARD
    facing = (-1.0 if heads_left else 1.0,) * len(thing.path)
    return replace(thing, kind=kind, color=color, facing=facing)


def retargeted(scene: Scene, looks: tuple[Look, ...], background: Background) -> Scene:
    """The scene's true motion with other content.

    A figure's joints are its own, and no person's gait is a dog's: a figure takes the new color only.

    Args:
        scene: whose motion.
        looks: one for each of its things, in their order.
        background: what lies behind them.
    """
    assert len(looks) == len(scene.things)
    things = tuple(_shown_as(thing, look) for thing, look in zip(scene.things, looks, strict=True))
    return replace(scene, things=things, background=background)


def seen_colors(scene: Scene) -> set[str]:
    """Every color of a scene, the background's included."""
    return {scene.background.color, *(thing.color for thing in scene.things)}


def _drawn_kinds(rng: Random, scene: Scene, figure: str | None) -> list[str]:
    """As many kinds as the scene has things: the figure, or shapes that differ from the scene's and each other."""
    if figure is not None:
        return [figure] * len(scene.things)
    seen = {thing.kind for thing in scene.things}
    return rng.sample([shape for shape in SHAPES if shape not in seen], len(scene.things))


def other_looks(rng: Random, scene: Scene, background_color: str, *, figure: str | None) -> tuple[Look, ...] | None:
    """Looks that share no color with the scene and are readable on a background; None where colors run out.

    Every thing gets a color of its own, so that each can be found again, and no pair is one that training never
    shows.

    Args:
        rng: draws shapes and colors.
        scene: what to differ from.
        background_color: what the looks will stand before.
        figure: "person" or "dog" for all of them, or None for shapes that the scene has not.
    """
    seen = seen_colors(scene)
    colors = [c for c in COLORS if c not in seen and contrast(c, background_color) >= MIN_CONTRAST]
    if len(colors) < len(scene.things):
        return None
    kinds = _drawn_kinds(rng, scene, figure)
    looks = tuple(zip(kinds, rng.sample(colors, len(kinds)), strict=True))
    return None if any(held_out(*look) for look in looks) else looks


def named_in_full(rng: Random, looks: tuple[Look, ...], background: Background) -> str:
    """A caption in the world's wording that leaves nothing unsaid."""
    while True:
        caption = write_caption(rng, list(looks), background)
        if read_prompt(caption).background_color == background.color:
            return caption
