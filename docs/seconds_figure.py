"""Fidelity and leakage against tuning seconds: `python docs/seconds_figure.py` remakes `docs/results/seconds.svg`.

Reads what `bench --quick --seconds 30` (60) left in `docs/results`. A point is a mean over clips, at the seconds
that tuning really took (steps are counted out beforehand, so that differs from what was asked), on a logarithmic axis;
its whisker is the 95% interval of the difference to the bare base, laid around the point; the bare base stands at the
left edge.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from math import log2
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from motion_transfer.atomic import replacing  # noqa: E402
from motion_transfer.evaluate.tables import Cell, Row, Summary, summary  # noqa: E402

RESULTS = ROOT / "docs" / "results"
MEASURES = {"motion_fidelity": "balanced motion fidelity", "leakage": "leakage"}
TOPS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of an axis
COLORS = {"ours": "#0072b2", "motiondirector": "#d55e00", "naive": "#009e73", "ditflow": "#cc79a7", "bare": "#666666"}
BASELINE, TOOK = "bare", "tuning_s"
WIDTH, HEIGHT, LEFT, TOP = 380, 260, 60, 30  # of a panel, and where it begins, in pixels
APART_PX = 2  # between methods of one x


def read(results: Path) -> dict[float, Summary]:
    """Summaries by tuning seconds, as far as they were measured."""
    found: dict[float, Summary] = {}
    for path in results.glob("motionbench-quick-*s.json"):
        seconds = re.fullmatch(r"motionbench-quick-([\d.]+)s", path.stem)
        if seconds:
            rows: dict[str, list[Row]] = {}
            for row in json.loads(path.read_text())["rows"].values():
                rows.setdefault(row["method"], []).append(row)
            if BASELINE in rows:
                found[float(seconds[1])] = summary(rows, [*MEASURES, TOOK], BASELINE)
            else:
                print(f"{path.name} has no rows of the {BASELINE} base yet; it is left out.", file=sys.stderr)
    return dict(sorted(found.items()))


def _text(x: float, y: float, text: str, *, anchor: str = "middle", color: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{text}</text>'


def _line(x: float, y: float, to_x: float, to_y: float, color: str, width: float = 1.0) -> str:
    return f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="{color}" stroke-width="{width}" fill="none"/>'


def _panel(found: dict[float, Summary], measure: str, left: float) -> list[str]:
    """Axes, and a line with points and whiskers for every method."""
    cells = [cell for of_methods in found.values() for row in of_methods.values() if (cell := row[measure])]
    top = next(top for top in TOPS if top >= max(_ends(cell)[1] for cell in cells) or top == TOPS[-1])
    places = [0.0, *found]

    def x_of(seconds: float) -> float:
        first, last = min(found), max(found)
        octaves = max(1.0, log2(last / first))
        place = 1 + (len(found) - 1 or 1) * log2(seconds / first) / octaves if seconds else 0.0
        return left + WIDTH * (0.08 + 0.84 * place / (len(places) - 1))

    def y_of(value: float) -> float:
        return TOP + HEIGHT * (1 - min(max(value, 0.0), top) / top)

    out = [_text(left + WIDTH / 2, TOP - 10, MEASURES[measure])]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        out += [_line(left, y_of(share * top), left + WIDTH, y_of(share * top), "#ddd"),
                _text(left - 6, y_of(share * top) + 4, f"{share * top:g}", anchor="end")]  # fmt: skip
    for seconds in places:
        out.append(_text(x_of(seconds), TOP + HEIGHT + 18, f"{seconds:g} s" if seconds else "none"))
    methods = [method for method in COLORS if any(method in cells for cells in found.values())]
    for number, method in enumerate(methods):
        shift = APART_PX * (number - (len(methods) - 1) / 2)
        points = [(x_of(cells[method][TOOK].mean or seconds) + shift, cells[method][measure])
                  for seconds, cells in found.items()
                  if method in cells and cells[method][measure].mean is not None]  # fmt: skip
        if method == BASELINE and points:
            points = [(x_of(0.0), points[0][1])]
        out += _points(points, COLORS[method], y_of)
        out.append(_text(left + WIDTH * (number + 0.5) / len(methods), TOP + HEIGHT + 40, method, color=COLORS[method]))
    return out


def _ends(cell: Cell) -> tuple[float, float]:
    """Of a whisker; the point itself where there is none."""
    if cell.mean is None or cell.interval is None or cell.difference is None:
        return cell.mean or 0.0, cell.mean or 0.0
    low, high = cell.interval
    return cell.mean - cell.difference + low, cell.mean - cell.difference + high


def _points(points: Sequence[tuple[float, Cell]], color: str, y_of: Callable[[float], float]) -> list[str]:
    """A method's line, whiskers and points."""
    out: list[str] = []
    before: tuple[float, float] | None = None
    for x, cell in points:
        assert cell.mean is not None, "points have values"
        y = y_of(cell.mean)
        if before is not None:
            out.append(_line(*before, x, y, color, 1.5))
        low, high = _ends(cell)
        out.append(_line(x, y_of(low), x, y_of(high), color))
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>')
        before = (x, y)
    return out


def figure(found: dict[float, Summary]) -> str:
    """The whole picture as SVG."""
    parts: list[str] = []
    for number, measure in enumerate(MEASURES):
        parts += _panel(found, measure, LEFT + number * (WIDTH + LEFT))
    width, height = len(MEASURES) * (WIDTH + LEFT) + 20, TOP + HEIGHT + 55
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>')  # fmt: skip
    return "\n".join([head, *parts, "</svg>\n"])


def main() -> None:
    """Draws what was measured."""
    found = read(RESULTS)
    if not found:
        sys.exit("results of bench --quick --seconds 30 are expected, but there are none; run it first.")
    with replacing(RESULTS / "seconds.svg") as partial:
        partial.write_text(figure(found))


if __name__ == "__main__":
    main()
