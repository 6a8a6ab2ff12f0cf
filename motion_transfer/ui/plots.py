"""What the page draws of its results: the loss curve, the table of scores, the list of words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from motion_transfer.types import Measure
from motion_transfer.ui import words
from motion_transfer.video.synth.palette import COLORS, FIGURES, PATTERNS, PLURALS, SHAPES

MAX_POINTS = 300
STEP, LOSS, STAGE = "step", "loss", "stage"  # columns of the loss curve
# The same colors as in the picture of the heads.
STAGE_COLORS = {"spatial": "#0072b2", "temporal": "#d55e00"}


def loss_table(losses: Sequence[tuple[str, int, float]]) -> pd.DataFrame | None:
    """The losses of all stages along one axis of steps, a few hundred points, each the mean of its neighbors.

    Args:
        losses: stage, step and loss, in their order.

    Returns:
        None while there are none: the plot would take an empty table's columns for text, for good.
    """
    if not losses:
        return None
    columns = [STEP, LOSS, STAGE]
    table = pd.DataFrame([(i + 1, loss, stage) for i, (stage, _, loss) in enumerate(losses)], columns=columns)
    width = -(-len(table) // MAX_POINTS)
    thin = table.groupby([table[STAGE], (table[STEP] - 1) // width], sort=False).agg({STEP: "max", LOSS: "mean"})
    # The plot gives no line to a stage that was not in its first values, so each stage begins with an empty one.
    first = pd.DataFrame([(1, math.nan, stage) for stage in STAGE_COLORS], columns=columns)
    return pd.concat([first, thin.reset_index(level=0)], ignore_index=True)[columns]


def _cell(text: str) -> str:
    """Text that stays inside its table cell."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _row(measure: Measure) -> str:
    if measure.value is None:
        value = words.MISSING.format(why=measure.why_missing)
    else:
        value = f"{measure.value:.3f} {measure.unit}".rstrip()
    better = words.HIGHER if measure.higher_is_better else words.LOWER
    name = words.MEASURES.get(measure.name, measure.name.replace("_", " "))
    return f"| {_cell(name)} | {_cell(value)} | {better} |"


def score_table(measures: Sequence[Measure]) -> str:
    """Measures as a Markdown table; what could not be measured says why."""
    head = f"| {' | '.join(words.SCORES_HEAD)} |\n|---|---|---|\n"
    return head + "\n".join(_row(measure) for measure in measures)


def word_lists(vocabulary: list[str]) -> list[str]:
    """The words of a small base by what they name, as pieces of Markdown."""
    figures = {*SHAPES, *FIGURES, *PLURALS.values()}
    groups: tuple[list[str], ...] = ([], [], [], [])
    for word in vocabulary:
        groups[0 if word in COLORS else 1 if word in figures else 2 if word in PATTERNS else 3].append(word)
    names = (words.COLORS_KNOWN, words.SHAPES_KNOWN, words.BACKGROUNDS_KNOWN, words.OTHERS_KNOWN)
    return [f"**{name}:** {', '.join(group)}" for name, group in zip(names, groups, strict=True) if group]
