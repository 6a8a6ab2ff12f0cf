"""What a LoRA file holds, as a table that folds out, and how much each block changes as a row of bars."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from motion_transfer.library import Checkup
from motion_transfer.ui import words

MOST_UNREAD = 5


def _rows(checkup: Checkup) -> Iterator[tuple[str, str]]:
    base = checkup.base or words.BASE_UNKNOWN
    yield words.LAYOUT, checkup.layout
    yield words.BASE, words.BY_SHAPES.format(base=base) if checkup.base and checkup.is_guess else base
    yield words.RANK, ", ".join(map(str, checkup.ranks))
    if checkup.heads:
        changed, every = checkup.heads
        yield words.HEADS_CHANGED, words.OF.format(some=changed, all=every)
    yield words.LAYERS, ", ".join(f"{module} × {count}" for module, count in sorted(checkup.modules.items()))
    if checkup.unread:
        more = len(checkup.unread) - MOST_UNREAD
        keys = [*checkup.unread[:MOST_UNREAD], *([f"+{more}"] if more > 0 else [])]
        yield words.UNREAD, ", ".join(keys)
    for warning in checkup.misread_by:
        yield words.BEWARE, warning


def _bars(checkup: Checkup) -> str:
    """One bar for each block that is changed, as high as its change beside the largest; its numbers show on hover."""
    sizes = checkup.block_norms()
    largest = max(sizes.values(), default=0.0)
    if len(sizes) < 2 or not largest:
        return ""
    bars = "".join(f'<i style="height:{100 * size / largest:.0f}%" title="{words.BLOCK} {block}: {size:.3g}"></i>'
                   for block, size in sizes.items())  # fmt: skip
    return f'<tr><th>{escape(words.BLOCKS_CHANGED)}</th><td><span class="bars">{bars}</span></td></tr>'


def checkup_facts(checkup: Checkup) -> str:
    """A checkup as HTML. Its words come from files, which may be anybody's."""
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in _rows(checkup))
    table = f'<table class="facts">{lines}{_bars(checkup)}</table>'
    opened = " open" if checkup.unread else ""
    return f"<details{opened}><summary>{escape(words.CHECKUP)}</summary>{table}</details>"
