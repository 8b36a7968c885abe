"""Charts as inline SVG: no script, no external file, colours from the page's style so that light and dark both work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from evals.results import Curve, Figure

SIZE = 260
_LEFT, _TOP, _SIDE = 40, 12, 200
_ROW = 22
_NAMES, _BAR, _WORDS = 190, 300, 150


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of a chart and the name it bears in the legend."""

    name: str
    curve: Curve
    steps: bool = False
    dots: bool = False


def plot(title: str, across: str, up: str, lines: Sequence[Line], *, diagonal: bool, top: float = 1.0) -> str:
    """Curves in the unit square (or up to `top`), with a legend. Every curve is also told by its name in the legend."""
    parts = [
        f'<svg class="plot" viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="{escape(title, quote=True)}">',
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _LEFT + tick * _SIDE, _TOP + (1 - tick) * _SIDE
        parts.append(f'<line class="grid" x1="{x:g}" y1="{_TOP}" x2="{x:g}" y2="{_TOP + _SIDE}"/>')
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:g}" x2="{_LEFT + _SIDE}" y2="{y:g}"/>')
        if tick in (0.0, 0.5, 1.0):
            parts.append(f'<text class="tick" x="{x:g}" y="{_TOP + _SIDE + 13}" text-anchor="middle">{tick:g}</text>')
            parts.append(f'<text class="tick" x="{_LEFT - 5}" y="{y + 3:g}" text-anchor="end">{tick * top:g}</text>')
    if diagonal:
        parts.append(f'<line class="chance" x1="{_LEFT}" y1="{_TOP + _SIDE}" x2="{_LEFT + _SIDE}" y2="{_TOP}"/>')
    for number, line in enumerate(lines):
        points = [(_LEFT + x * _SIDE, _TOP + (1 - min(y / top, 1.0)) * _SIDE) for x, y in zip(
            line.curve.x, line.curve.y, strict=True
        )]  # fmt: skip
        path = _path(points, line.steps)
        parts.append(f'<path class="line c{number % 8}" d="{path}"><title>{escape(line.name)}</title></path>')
        if line.dots:
            parts += [f'<circle class="dot c{number % 8}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points]
    middle = _LEFT + _SIDE / 2
    parts.append(f'<text class="axis" x="{middle:g}" y="{SIZE - 8}" text-anchor="middle">{escape(across)}</text>')
    parts.append(
        f'<text class="axis" transform="translate(11 {_TOP + _SIDE / 2:g}) rotate(-90)" text-anchor="middle">'
        f"{escape(up)}</text></svg>"
    )
    legend = "".join(
        f'<li><span class="key c{number % 8}"></span>{escape(line.name)}</li>' for number, line in enumerate(lines)
    )
    return f'<figure><figcaption>{escape(title)}</figcaption>{"".join(parts)}<ul class="legend">{legend}</ul></figure>'


def _path(points: Sequence[tuple[float, float]], steps: bool) -> str:
    if not points:
        return ""
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for x, y in points[1:]:
        path.append(f"H{x:.1f}V{y:.1f}" if steps else f"L{x:.1f} {y:.1f}")
    return "".join(path)


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a forest plot."""

    name: str
    figure: Figure
    strong: bool = False


def forest(title: str, bars: Sequence[Bar], *, low: float, high: float, marks: Sequence[float], words: str) -> str:
    """Values with their intervals, a row each; `marks` are lines to compare with.

    Args:
        title: Of the chart.
        bars: The rows; one without a figure stays empty and says so.
        low, high: Ends of the axis; what lies beyond is cut.
        marks: Where lines of comparison stand.
        words: What lies on the axis.
    """
    height = _ROW * len(bars) + 34
    width = _NAMES + _BAR + _WORDS

    def place(value: float) -> float:
        return _NAMES + (min(max(value, low), high) - low) / (high - low) * _BAR

    parts = [f'<svg class="forest" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}">']
    for mark in marks:
        x = place(mark)
        parts.append(f'<line class="chance" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{_ROW * len(bars)}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{_ROW * len(bars) + 13}" text-anchor="middle">{mark:g}</text>')
    for number, bar in enumerate(bars):
        y = _ROW * number + _ROW / 2
        weight = ' class="strong"' if bar.strong else ""
        parts.append(
            f'<text{weight} x="{_NAMES - 8}" y="{y + 4:g}" text-anchor="end">{escape(_short(bar.name))}</text>'
        )
        figure = bar.figure
        if figure.value is None:
            parts.append(f'<text class="tick" x="{_NAMES + 4}" y="{y + 4:g}">no figure</text>')
            continue
        told = f"{figure.value:.3f}"
        if figure.low is not None and figure.high is not None:
            a, b = place(figure.low), place(figure.high)
            parts.append(f'<line class="whisker" x1="{a:.1f}" y1="{y:g}" x2="{b:.1f}" y2="{y:g}"/>')
            told += f" [{figure.low:.2f}, {figure.high:.2f}]"
        parts.append(f'<circle class="dot c{0 if bar.strong else 1}" cx="{place(figure.value):.1f}" cy="{y:g}" r="4"/>')
        parts.append(f'<text class="told" x="{_NAMES + _BAR + 8}" y="{y + 4:g}">{told}</text>')
    middle = _NAMES + _BAR / 2
    parts.append(
        f'<text class="axis" x="{middle:g}" y="{height - 4}" text-anchor="middle">{escape(words)}</text></svg>'
    )
    return f'<figure class="wide"><figcaption>{escape(title)}</figcaption>{"".join(parts)}</figure>'


def _short(name: str, most: int = 27) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
