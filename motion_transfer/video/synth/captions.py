"""Captions of scenes, in varied wording. They name what is seen, never how it moves."""

from __future__ import annotations

from random import Random

from motion_transfer.video.synth.backgrounds import Background
from motion_transfer.video.synth.palette import COUNTS, PLURALS


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _noun_phrase(rng: Random, words: list[str]) -> str:
    start = rng.choices((_article(words[0]), "the", "one", ""), (70, 12, 8, 10))[0]
    return " ".join([start, *words]).strip()


def _subjects(rng: Random, looks: list[tuple[str, str]], second_color: str | None) -> str:
    kind, color = looks[0]
    if len(looks) > 1 and len(set(looks)) == 1:
        return f"{COUNTS[len(looks)]} {color} {PLURALS[kind]}"
    if second_color is not None:
        return _noun_phrase(rng, [color, "and", second_color, kind])
    phrases = [_noun_phrase(rng, [color, kind]) for kind, color in looks]
    rng.shuffle(phrases)
    if len(phrases) < 3:
        return " and ".join(phrases)
    return f"{phrases[0]}, {phrases[1]} and {phrases[2]}"


def _setting(rng: Random, background: Background) -> str:
    words = [background.color]
    if background.pattern != "plain":
        words.append(background.pattern)
    link, noun = rng.choices(
        (("on", "background"), ("against", "backdrop"), ("over", "background"), ("with", "background"),
         ("in", "scene"), (",", "background")),
        (50, 12, 10, 12, 8, 8),
    )[0]  # fmt: skip
    if link == ",":
        return f", {' '.join(words)} {noun}"
    return f" {link} {_article(words[0])} {' '.join(words)} {noun}"


def write_caption(
    rng: Random, looks: list[tuple[str, str]], background: Background, second_color: str | None = None
) -> str:
    """A caption for objects given as `(kind, color)` before a background.

    Now and then the background is left unsaid. `second_color` is named where an effect brings it in.
    """
    subjects = _subjects(rng, looks, second_color)
    opening = rng.choices(("", "a video of ", "there is " if len(set(looks)) > 1 or len(looks) == 1 else "there are "),
                          (84, 8, 8))[0]  # fmt: skip
    setting = "" if rng.random() < 0.08 else _setting(rng, background)
    return opening + subjects + setting
