"""Line charts as SVG: panels side by side, each with a few lines over one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
NULL_COLOR = "#888888"  # of lines whose name begins with a star: what chance alone shows
WIDTH, HEIGHT = 300, 210  # of a panel's axes, in pixels
LEFT, RIGHT, TOP, BELOW = 56, 24, 34, 44
LINE_PX = 16  # of the legend
TICKS = 5

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A title, a name for the x axis, and lines by name; a star before a name marks what chance shows."""

    title: str
    x_name: str
    lines: Mapping[str, Points]


def _step(span: float) -> float:
    """A round distance of which about five fill a span."""
    rough = (span or 1.0) / TICKS
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _ticks(low: float, high: float) -> list[float]:
    step = _step(high - low)
    first, last = floor(low / step + 1e-9), -floor(-high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _panel(panel: Panel, left: float) -> list[str]:
    xs = [x for points in panel.lines.values() for x, _ in points]
    ys = [y for points in panel.lines.values() for _, y in points]
    y_ticks = _ticks(min(0.0, *ys), max(*ys, 1e-6))
    low_x, high_x, low_y, high_y = min(xs), max(xs), y_ticks[0], y_ticks[-1]

    def at(x: float, y: float) -> tuple[float, float]:
        right, up = (x - low_x) / ((high_x - low_x) or 1), (y - low_y) / (high_y - low_y)
        return left + right * WIDTH, TOP + (1 - up) * HEIGHT

    out = [_text(left + WIDTH / 2, TOP - 14, panel.title), _text(left + WIDTH / 2, TOP + HEIGHT + 34, panel.x_name)]
    for y in y_ticks:
        _, level = at(low_x, y)
        out += [
            f'<path d="M{left:.1f} {level:.1f}h{WIDTH}" stroke="#ddd"/>',
            _text(left - 6, level + 4, f"{y:g}", "end"),
        ]
    for x in _ticks(low_x, high_x):
        if low_x <= x <= high_x:
            out.append(_text(at(x, low_y)[0], TOP + HEIGHT + 16, f"{x:g}"))
    for number, (name, points) in enumerate(panel.lines.items()):
        chance = name.startswith("*")
        color, dash = (NULL_COLOR, ' stroke-dasharray="4 3"') if chance else (COLORS[number % len(COLORS)], "")
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (at(*point) for point in sorted(points)))
        out.append(f'<path d="M{path}" stroke="{color}" stroke-width="2" fill="none"{dash}/>')
        y = TOP + HEIGHT + BELOW + number * LINE_PX
        out += [f'<path d="M{left:.1f} {y:.1f}h20" stroke="{color}" stroke-width="2"{dash}/>',
                _text(left + 26, y + 4, name.lstrip("*"), "start")]  # fmt: skip
    return out


def line_chart(panels: Sequence[Panel]) -> str:
    """An SVG picture of panels side by side."""
    apart = LEFT + WIDTH + RIGHT
    most = max(len(panel.lines) for panel in panels)
    width, height = apart * len(panels), TOP + HEIGHT + BELOW + most * LINE_PX
    parts = [part for number, panel in enumerate(panels) for part in _panel(panel, number * apart + LEFT)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'font-family="sans-serif" font-size="12" fill="#222"><rect width="100%" height="100%" fill="#fff"/>'
            f'{"".join(parts)}</svg>\n')  # fmt: skip
