"""Reads what a prompt asks for, in the words of the procedural world."""

from __future__ import annotations

import re
from dataclasses import dataclass

from motion_transfer.video.synth.palette import COLORS, FIGURES, PATTERNS, PLURALS, SHAPES, vocabulary

_KIND_OF = {word: kind for kind in SHAPES + FIGURES for word in (kind, PLURALS[kind])}
_SETTINGS = ("background", "backdrop", "scene")


@dataclass(frozen=True, kw_only=True)
class PromptContent:
    """The first object and the background a prompt names; None for what it leaves unsaid.

    `unknown_words` are those outside the world's vocabulary: a prompt with any asks for more than can be checked.
    """

    color: str | None = None
    shape: str | None = None
    background_color: str | None = None
    pattern: str | None = None
    unknown_words: tuple[str, ...] = ()


def _words(prompt: str) -> list[str]:
    return re.findall(r"[^\W_]+|,", prompt.lower().replace("grey", "gray"))


def named_words(prompt: str) -> set[str]:
    """The words of a prompt, shapes and figures in the singular."""
    return {_KIND_OF.get(word, word) for word in _words(prompt)}


def read_prompt(prompt: str) -> PromptContent:
    """The content of a prompt such as "a red car on a white dotted background".

    Colors and patterns belong to the next noun, a shape or a background; the first color counts where two are
    named ("a red and blue car"), and the first object where there are several.
    """
    found: dict[str, str] = {}
    color: str | None = None
    pattern: str | None = None
    words = _words(prompt)
    for word in words:
        if word in COLORS:
            color = color or word
        elif word in PATTERNS:
            pattern = word
        elif word in _KIND_OF or word in _SETTINGS:
            names = ("color", "shape") if word in _KIND_OF else ("background_color", "pattern")
            values = (color, _KIND_OF[word]) if word in _KIND_OF else (color, pattern)
            if names[0] not in found and names[1] not in found:
                found |= {name: value for name, value in zip(names, values, strict=True) if value}
            color = pattern = None
    known = {*vocabulary(), *PATTERNS}
    return PromptContent(**found, unknown_words=tuple(dict.fromkeys(word for word in words if word not in known)))
