"""Captions that are almost true: one telling word replaced, or two colors swapped.

Reads captions in the world's own wording (`video/synth/captions.py`) only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations
from random import Random

from motion_transfer.video.synth.palette import COLORS, COUNTS, FIGURES, PATTERNS, PLURALS, SHAPES
from motion_transfer.video.synth.scene import Scene

KINDS_OF_WORD = ("color", "shape", "background")
# How often training meets each kind of mistake: colors are learned in the first minutes, shapes last.
MISTAKES = {"color": 1, "shape": 3, "background": 2, "swap": 1}
_SINGULAR = {plural: kind for kind, plural in PLURALS.items()} | {kind: kind for kind in SHAPES + FIGURES}
_SETTINGS = ("background", "backdrop", "scene")
_MANY = {word: count for count, word in COUNTS.items() if count > 1}

Look = tuple[str, str]  # shape or figure, and color


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a caption says, however it is worded: looks in alphabetical order; color and pattern if said."""

    looks: tuple[Look, ...]
    background: tuple[str, str] | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """An almost true caption, and the kind of word in which it differs."""

    kind: str
    caption: str


def scene_meaning(scene: Scene) -> Meaning:
    """What is seen in a scene without effect."""
    looks = tuple(sorted((thing.kind, thing.color) for thing in scene.things))
    return Meaning(looks=looks, background=(scene.background.color, scene.background.pattern))


def _words(caption: str) -> list[str]:
    return re.findall(r"[a-z]+|,", caption)


def _sentence(words: list[str]) -> str:
    """The words as a caption, each "a" or "an" as the next word asks."""
    words = list(words)
    for i, word in enumerate(words[:-1]):
        if word in ("a", "an"):
            words[i] = "an" if words[i + 1][0] in "aeiou" else "a"
    return " ".join(words).replace(" ,", ",")


def _roles(words: list[str]) -> dict[int, str]:
    """The kind of each telling word, by its place: colors and patterns belong to the next noun."""
    roles: dict[int, str] = {}
    waiting: list[int] = []
    for i, word in enumerate(words):
        if word in COLORS or word in PATTERNS:
            waiting.append(i)
        elif word in _SINGULAR or word in _SETTINGS:
            roles |= dict.fromkeys(waiting, "color" if word in _SINGULAR else "background")
            if word in _SINGULAR:
                roles[i] = "shape"
            waiting = []
    return roles


def _is_plural(words: list[str], noun: int) -> bool:
    return noun >= 2 and words[noun - 2] in _MANY


def read_meaning(caption: str) -> Meaning:
    """What a caption of a scene without effect says."""
    words = _words(caption)
    looks: list[Look] = []
    background: dict[str, str] = {}
    for i, role in _roles(words).items():
        if role == "shape":
            looks += [(_SINGULAR[words[i]], words[i - 1])] * (_MANY[words[i - 2]] if _is_plural(words, i) else 1)
        elif role == "background":
            background["color" if words[i] in COLORS else "pattern"] = words[i]
    said = (background["color"], background.get("pattern", "plain")) if background else None
    return Meaning(looks=tuple(sorted(looks)), background=said)


def _alternatives(words: list[str], place: int) -> list[str]:
    """What could stand at a place instead and would be wrong."""
    word = words[place]
    if word in COLORS:
        return [color for color in COLORS if color != word]
    if word in PATTERNS:
        return [pattern for pattern in PATTERNS if pattern not in (word, "plain")]  # no caption says "plain"
    kinds = [kind for kind in SHAPES + FIGURES if kind != _SINGULAR[word]]
    return [PLURALS[kind] for kind in kinds] if _is_plural(words, place) else kinds


def _replaced(words: list[str], place: int, word: str) -> str:
    return _sentence([*words[:place], word, *words[place + 1 :]])


def one_word_changes(caption: str) -> list[Change]:
    """Every caption that differs in one telling word, apart from the article before it."""
    words = _words(caption)
    return [
        Change(kind=role, caption=_replaced(words, place, word))
        for place, role in _roles(words).items()
        for word in _alternatives(words, place)
    ]


def color_swaps(caption: str) -> list[str]:
    """Every caption in which two things, or a thing and the background, swap colors and that makes a difference."""
    words, true = _words(caption), read_meaning(caption)
    places = [i for i in _roles(words) if words[i] in COLORS]
    swapped = []
    for i, j in combinations(places, 2):
        other = list(words)
        other[i], other[j] = words[j], words[i]
        swapped.append(_sentence(other))
    return [other for other in swapped if read_meaning(other) != true]


def draw_wrong_captions(rng: Random, caption: str, count: int) -> list[str]:
    """Almost true captions, with replacement; those kinds of mistake that can be made have `MISTAKES` as odds."""
    words, swaps = _words(caption), color_swaps(caption)
    places: dict[str, list[int]] = {}
    for place, role in _roles(words).items():
        places.setdefault(role, []).append(place)
    kinds = [*places, *(["swap"] if swaps else [])]
    wrong = []
    for kind in rng.choices(kinds, [MISTAKES[kind] for kind in kinds], k=count):
        if kind == "swap":
            wrong.append(rng.choice(swaps))
            continue
        place = rng.choice(places[kind])
        wrong.append(_replaced(words, place, rng.choice(_alternatives(words, place))))
    return wrong
