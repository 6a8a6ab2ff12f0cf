"""Tables of results: means, paired differences with confidence intervals, and which method is dominated by none."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import torch

from motion_transfer.types import Report

Row = Mapping[str, float | str | None]
Place = tuple[str, str]  # a clip and a prompt
Summary = Mapping[str, Mapping[str, "Cell"]]

CLIP, PROMPT = "clip", "prompt"  # columns that say what a row was measured on
FAILED = "failed"  # column: why a whole row was not measured
WHY = " missing"  # behind a measure's name: the column that says why it has no value
LEAST_FOR_INTERVAL = 5
_NORMAL = NormalDist()
_LEAST_ROOM = 1e-9  # between the baseline and the ceiling


@dataclass(frozen=True, kw_only=True)
class Column:
    """A measure as a table shows it; `of_ceiling` adds how far it gets from the baseline to the ceiling."""

    name: str
    title: str
    digits: int = 3
    higher_is_better: bool = True
    of_ceiling: bool = False


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measure of one method.

    `mean` is over clips, each the mean of its prompts. `difference` is to the baseline, over what both have, with
    its 95% `interval` from `LEAST_FOR_INTERVAL` clips on. `of_ceiling` is (mean - baseline) / (ceiling - baseline)
    over what all three have. None where there is nothing to compute it from.
    """

    mean: float | None
    num_clips: int
    num_values: int
    num_missing: int
    why_missing: str
    difference: float | None
    interval: tuple[float, float] | None
    of_ceiling: float | None


def paired_interval(
    differences: Sequence[float], *, resamples: int = 10000, level: float = 0.95
) -> tuple[float, float] | None:
    """Bootstrap confidence interval of the mean of paired differences, by the expanded percentile method.

    Plain percentiles give intervals that are too narrow where values are few; so tails are taken that make a normal
    sample's interval as wide as Student's (arXiv 1411.5279, section 5.2). Fewer than `LEAST_FOR_INTERVAL` tell none.
    """
    values, n = torch.tensor(differences, dtype=torch.float64), len(differences)
    if n < LEAST_FOR_INTERVAL:
        return None
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(n, (resamples, n), generator=generator)
    tail = _NORMAL.cdf(-math.sqrt(n / (n - 1)) * _student_quantile((1 + level) / 2, n - 1))
    low, high = torch.quantile(values[picks].mean(1), torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def _student_quantile(share: float, freedom: int) -> float:
    """Quantile of Student's t by its Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5), from 4 degrees on."""
    z = _NORMAL.inv_cdf(share)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def row_of(report: Report) -> dict[str, float | str | None]:
    """A report as part of a row: every measure, and for those without a value, why."""
    reasons = {m.name + WHY: m.why_missing for m in report.measures if m.value is None}
    return {**report.as_json(), **reasons}


def _values(rows: Iterable[Row], measure: str) -> dict[Place, float]:
    """Values of one measure by place, missing ones left out."""
    values: dict[Place, float] = {}
    for row in rows:
        value, place = row.get(measure), (str(row[CLIP]), str(row.get(PROMPT, "")))
        assert not isinstance(value, str), f"{measure} is no number"
        assert place not in values, f"two rows of {place}"
        if value is not None:
            values[place] = float(value)
    return values


def _clip_means(values: Mapping[Place, float]) -> list[float]:
    """One value a clip: the mean of its prompts. Clips are the independent draws, prompts of one clip are not."""
    by_clip: dict[str, list[float]] = defaultdict(list)
    for (clip, _), value in sorted(values.items()):
        by_clip[clip].append(value)
    return [sum(prompts) / len(prompts) for prompts in by_clip.values()]


def _mean(values: Mapping[Place, float]) -> float | None:
    clips = _clip_means(values)
    return sum(clips) / len(clips) if clips else None


def _of_ceiling(own: Mapping[Place, float], base: Mapping[Place, float], top: Mapping[Place, float]) -> float | None:
    shared = own.keys() & base.keys() & top.keys()
    gained = _mean({place: own[place] - base[place] for place in shared})
    room = _mean({place: top[place] - base[place] for place in shared})
    return None if gained is None or room is None or abs(room) < _LEAST_ROOM else gained / room


def _why(rows: Iterable[Row], measure: str) -> str:
    """The commonest reason for a missing value."""
    reasons = Counter(
        str(row.get(measure + WHY) or row.get(FAILED) or "not measured") for row in rows if row.get(measure) is None
    )
    return reasons.most_common(1)[0][0] if reasons else ""


def _cell(
    rows: Sequence[Row], measure: str, *, base: Mapping[Place, float], top: Mapping[Place, float], paired: bool
) -> Cell:
    """One measure of one method; `paired` asks for the differences to the baseline."""
    own = _values(rows, measure)
    shared = own.keys() & base.keys() if paired else set()
    differences = _clip_means({place: own[place] - base[place] for place in shared})
    return Cell(
        mean=_mean(own),
        num_clips=len({clip for clip, _ in own}),
        num_values=len(own),
        num_missing=len(rows) - len(own),
        why_missing=_why(rows, measure),
        difference=sum(differences) / len(differences) if differences else None,
        interval=paired_interval(differences),
        of_ceiling=_of_ceiling(own, base, top),
    )


def summary(
    rows_by_method: Mapping[str, Sequence[Row]],
    measures: Sequence[str],
    baseline: str,
    *,
    ceiling: str | None = None,
) -> dict[str, dict[str, Cell]]:
    """Every measure of every method, beside the baseline and below the ceiling.

    Args:
        rows_by_method: rows with the columns `clip` and `prompt` and one for each measure, whose value may be None
            and then has its reason in the column `<measure> missing`.
        measures: names of columns.
        baseline: the method that the others are compared with, usually the bare base.
        ceiling: the method of the true renders.

    Returns:
        Cells by method and measure.
    """
    cells: dict[str, dict[str, Cell]] = {method: {} for method in rows_by_method}
    for measure in measures:
        base = _values(rows_by_method[baseline], measure)
        top = _values(rows_by_method[ceiling], measure) if ceiling else {}
        for method, rows in rows_by_method.items():
            cells[method][measure] = _cell(rows, measure, base=base, top=top, paired=method != baseline)
    return cells


def _best(cells: Mapping[str, Cell], column: Column) -> float | None:
    """The best mean of some methods, as far as digits show."""
    means = [round(cell.mean, column.digits) for cell in cells.values() if cell.mean is not None]
    return (max(means) if column.higher_is_better else min(means)) if means else None


class _Notes:
    """Numbered notes below a table."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """The mark of a note, which is kept once."""
        if text not in self.texts:
            self.texts.append(text)
        return f" [{self.texts.index(text) + 1}]"


def _figure(cell: Cell, column: Column, best: float | None, notes: _Notes) -> str:
    """Mean, difference with its interval, and the mark of what is missing."""
    if cell.mean is None:
        return "-" + notes.mark(cell.why_missing or "no rows")
    text = f"{cell.mean:.{column.digits}f}"
    if best is not None and round(cell.mean, column.digits) == best:
        text = f"**{text}**"
    if cell.difference is not None:
        signed = [f"{value:+.{column.digits}f}" for value in (cell.difference, *(cell.interval or ()))]
        text += f" ({signed[0]}; {signed[1]} to {signed[2]})" if cell.interval else f" ({signed[0]})"
    if cell.num_missing:
        whole = cell.num_values + cell.num_missing
        text += notes.mark(f"{cell.num_missing} of {whole} values missing, mostly: {cell.why_missing}")
    return text


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Markdown of a table, its first line the headings; columns are padded, and all but the first lie right."""
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [[line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
              for line in (lines[0], rule, *lines[1:])]  # fmt: skip
    return ["| " + " | ".join(line) + " |" for line in padded]


def _entries(cells: Mapping[str, Cell], column: Column, *, ranked: set[str], notes: _Notes) -> list[list[str]]:
    """A column's text, from the heading down; with the share of the ceiling it is two columns wide."""
    best = _best({method: cell for method, cell in cells.items() if method in ranked}, column)
    entries = [[column.title], *([_figure(cell, column, best if method in ranked else None, notes)]
                                 for method, cell in cells.items())]  # fmt: skip
    if column.of_ceiling:
        shares = ["-" if cell.of_ceiling is None else f"{cell.of_ceiling:.0%}" for cell in cells.values()]
        for entry, text in zip(entries, [f"{column.title} of ceiling", *shares], strict=True):
            entry.append(text)
    return entries


def markdown_table(cells: Summary, columns: Sequence[Column], *, unranked: Iterable[str] = ()) -> str:
    """A summary as a Markdown table, methods in their order.

    A cell shows the mean, and in brackets the difference to the baseline and its 95% interval. The best mean is
    bold. Where there is none stands a dash, and a note says why.

    Args:
        cells: as from `summary`.
        columns: what to show.
        unranked: methods that compete with none, such as the ceiling.
    """
    notes, ranked = _Notes(), cells.keys() - set(unranked)
    clips = [str(max(row[column.name].num_clips for column in columns)) for row in cells.values()]
    lines = [[method, num] for method, num in zip(["method", *cells], ["clips", *clips], strict=True)]
    for column in columns:
        of_column = {method: row[column.name] for method, row in cells.items()}
        for line, entry in zip(lines, _entries(of_column, column, ranked=ranked, notes=notes), strict=True):
            line += entry
    below = [f"[{number}] {text}." for number, text in enumerate(notes.texts, 1)]
    return "\n".join([*_aligned(lines), *([""] if below else []), "\n\n".join(below)]).rstrip()


def nondominated(points: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Names of the points (fidelity, leakage) than which no other has both more fidelity and less leakage.

    A point also falls to one that equals it in one of the two and beats it in the other; equal points stay together.
    """

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a != b and a[0] >= b[0] and a[1] <= b[1]

    return tuple(name for name, point in points.items() if not any(beats(other, point) for other in points.values()))
