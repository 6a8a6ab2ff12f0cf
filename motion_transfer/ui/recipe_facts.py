"""What a file says of how it was made, as a table that folds out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from motion_transfer.ui import words

MOST_ROWS, MOST_LETTERS = 60, 120
_DEEPEST = 3


def _rows(values: Mapping[str, Any], before: str = "", depth: int = 1) -> Iterator[tuple[str, str]]:
    """Names, those of inner facts after a dot, and texts; tables of numbers and what lies deep are left out."""
    for name, value in values.items():
        items = list(value[:MOST_LETTERS]) if isinstance(value, list | tuple) else [value]
        if items and all(isinstance(item, Mapping) for item in items):
            several = {f"{name} {number}": item for number, item in enumerate(items, 1)}
            for key, item in (several if isinstance(value, list | tuple) else {name: value}).items():
                if depth < _DEEPEST:
                    yield from _rows(item, f"{before}{key}.", depth + 1)
        elif items and not any(isinstance(item, list | tuple | Mapping) for item in items):
            yield f"{before}{name}"[:MOST_LETTERS], ", ".join(str(item)[:MOST_LETTERS] for item in items)[:MOST_LETTERS]


def recipe_facts(recipe: Mapping[str, Any]) -> str:
    """A recipe as HTML; empty where there is none. Its words come from files, which may be anybody's."""
    rows = [row for row, _ in zip(_rows(recipe), range(MOST_ROWS), strict=False)]
    if not rows:
        return ""
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    return f'<details><summary>{escape(words.RECIPE)}</summary><table class="facts">{lines}</table></details>'
