"""Words of the procedural world: colors, shapes, figures, backgrounds.

Frozen: the text encoder's vocabulary and every shipped weight hang on these tables.
"""

from __future__ import annotations

# Display RGB in 0..1. Far enough apart that a nearest-color rule reads them back through mild shading.
COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.10, 0.12),
    "green": (0.12, 0.66, 0.22),
    "blue": (0.10, 0.32, 0.95),
    "yellow": (0.98, 0.90, 0.12),
    "purple": (0.56, 0.16, 0.76),
    "orange": (1.00, 0.52, 0.05),
    "white": (0.97, 0.97, 0.97),
    "black": (0.04, 0.04, 0.04),
    "gray": (0.52, 0.52, 0.52),
    "pink": (1.00, 0.58, 0.76),
    "brown": (0.45, 0.26, 0.10),
    "cyan": (0.12, 0.85, 0.92),
    "navy": (0.05, 0.08, 0.40),
}

SHAPES: tuple[str, ...] = (
    "circle", "square", "triangle", "star", "heart", "ring", "cross", "diamond",
    "crescent", "arrow", "car", "fish", "bird", "flower", "house", "tree",
)  # fmt: skip
FIGURES: tuple[str, ...] = ("person", "dog")
DIRECTIONAL = frozenset({"arrow", "car", "fish", "bird", "person", "dog", "crescent"})

PLURALS: dict[str, str] = {name: name + "s" for name in SHAPES + FIGURES} | {
    "fish": "fish", "person": "people", "cross": "crosses", "house": "houses",
}  # fmt: skip

PATTERNS: tuple[str, ...] = (
    "plain", "striped", "checkered", "dotted", "wavy", "hilly", "leafy", "cloudy",
)  # fmt: skip

COUNTS: dict[int, str] = {1: "one", 2: "two", 3: "three"}
GRAMMAR: tuple[str, ...] = (
    "a", "an", "the", "and", "on", "over", "against", "with", "of", "in", "background",
    "backdrop", "scene", "video", "there", "is", "are", ",",
)  # fmt: skip

MIN_CONTRAST = 0.45


def contrast(a: str, b: str) -> float:
    """Euclidean distance of two named colors in 0..1 RGB."""
    return sum((x - y) ** 2 for x, y in zip(COLORS[a], COLORS[b], strict=True)) ** 0.5


def held_out(shape: str, color: str) -> bool:
    """True for the shape-color pairs that training never shows (about one in eleven)."""
    kinds = SHAPES + FIGURES
    return (7 * kinds.index(shape) + 3 * list(COLORS).index(color)) % 11 == 0


def vocabulary() -> tuple[str, ...]:
    """Every word a caption can hold, in a fixed order."""
    words = [*GRAMMAR, *COLORS, *SHAPES, *FIGURES, *PLURALS.values(), *PATTERNS[1:], *COUNTS.values()]
    return tuple(dict.fromkeys(words))
