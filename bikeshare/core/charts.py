"""Charts as SVG text: one drawing for the demo's page, the dashboard and the reports. No script, no network.

Every figure is drawn twice, wide and narrow; the style sheet (`look.css`) shows the one that fits. Hovering or
tapping a position shows its values: that is style, too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar

from bikeshare.core.chart_marks import Mark, mark_key, mark_svg

T = TypeVar("T")

Values = Sequence[float | None]

WIDE, NARROW = 1160, 390
"""Widths in which text keeps a readable size: a desktop's column, a phone's."""

MOST_HOVERS = 400
"""More positions than this get no hover text: the page would weigh more than its data."""


@dataclass(frozen=True)
class Line:
    """One series; None is a gap. `kind` is a class of the style sheet."""

    name: str
    kind: str
    values: Values


@dataclass(frozen=True)
class Area:
    """The space between two series, e.g. an interval."""

    name: str
    kind: str
    low: Values
    high: Values


@dataclass(frozen=True)
class Stretch:
    """A titled part of the axis: positions first..last."""

    title: str
    first: int
    last: int


@dataclass(frozen=True)
class Figure:
    """What is drawn.

    Attributes:
        label: What a screen reader says.
        positions: Full name of every position, shown on hover.
        ticks: (position, short text) below the axis.
        form: Writes a value.
        lines: Series; later ones lie on top.
        areas: Drawn below the lines.
        marks: Above the plot.
        stretches: Shaded parts with a title.
        floor: Lowest value that is always visible.
        ceiling: The axis never grows beyond this; higher values are cut.
        height: Of the wide drawing, in its own units.
    """

    label: str
    positions: Sequence[str]
    ticks: Sequence[tuple[int, str]]
    form: Callable[[float], str]
    lines: Sequence[Line] = ()
    areas: Sequence[Area] = ()
    marks: Sequence[Mark] = ()
    stretches: Sequence[Stretch] = ()
    floor: float = 0.0
    ceiling: float | None = None
    height: int = 320


def figure_html(figure: Figure, empty: str = "Nothing to show yet.") -> str:
    """Both drawings, or the sentence that says why there is none."""
    if not figure.positions:
        return f'<p class="empty">{escape(empty)}</p>'
    return (
        f'<div class="plot wide">{draw(figure, WIDE, figure.height)}</div>'
        f'<div class="plot narrow">{draw(figure, NARROW, 250)}</div>'
    )


def legend(figure: Figure, names: Callable[[str], str] = str) -> str:
    """Names beside their strokes, fills and marks; `names` says what people call the kind of a mark."""
    keys = [(line.kind, line.name) for line in figure.lines]
    keys += [(f"wide-key {area.kind}", area.name) for area in figure.areas]
    strokes = "".join(f'<span class="key {escape(kind)}">{escape(name)}</span>' for kind, name in keys if name)
    return strokes + "".join(mark_key(kind, names(kind)) for kind in dict.fromkeys(mark.kind for mark in figure.marks))


def draw(figure: Figure, width: int, height: int) -> str:
    """One SVG element of the given size."""
    return _Canvas(figure, width, height).svg()


class _Canvas:
    def __init__(self, figure: Figure, width: int, height: int) -> None:
        self.figure, self.width, self.height = figure, width, height
        narrow = width < 600
        self.left, self.right, self.bottom = (36 if narrow else 48), 10, 26
        self.top = 12 + (18 if figure.marks else 0) + (32 if figure.stretches and not narrow else 0)
        self.low, self.high = _range(figure)
        self.narrow = narrow
        self.step = (width - self.left - self.right) / len(figure.positions)

    def x(self, position: int) -> float:
        return self.left + self.step * (position + 0.5)

    def y(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        share = (inside - self.low) / (self.high - self.low)
        return self.top + (self.height - self.top - self.bottom) * (1 - share)

    def svg(self) -> str:
        figure = self.figure
        parts = [
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(figure.label, quote=True)}">',
            *self._stretches(), *self._grid(), *self._areas(), *self._lines(), *self._ticks(), *self._hovers(),
            *self._marks(), "</svg>",
        ]
        return "".join(parts)

    def _stretches(self) -> list[str]:
        parts = []
        depth = self.height - self.top - self.bottom
        free = [0.0, 0.0]
        for number, part in enumerate(self.figure.stretches):
            x0, x1 = self.left + self.step * part.first, self.left + self.step * (part.last + 1)
            parts.append(
                f'<rect class="band{" odd" if number % 2 else ""}" x="{x0:.1f}" y="{self.top}" '
                f'width="{x1 - x0:.1f}" height="{depth:.1f}"><title>{escape(part.title)}</title></rect>'
            )
            if self.narrow:
                continue
            # Two rows, the lower one first: a title stands where the one before it has ended, or is left to the hover.
            long = 6.6 * len(part.title)
            start = min(x0 + 2, self.width - long)
            row = next((row for row in (1, 0) if free[row] <= start), None)
            if row is not None:
                free[row] = start + long + 8
                parts.append(f'<text class="chapter" x="{start:.1f}" y="{12 + 15 * row}">{escape(part.title)}</text>')
        return parts

    def _grid(self) -> list[str]:
        return [
            f'<line class="grid" x1="{self.left}" x2="{self.width - self.right}" y1="{self.y(value):.1f}" '
            f'y2="{self.y(value):.1f}"/><text class="axis" x="{self.left - 6}" y="{self.y(value) + 4:.1f}" '
            f'text-anchor="end">{escape(self.figure.form(value))}</text>'
            for value in steps(self.low, self.high, 4 if self.narrow else 6)
        ]

    def _areas(self) -> list[str]:
        parts = []
        for area in self.figure.areas:
            pairs = [
                None if low is None or high is None else (low, high)
                for low, high in zip(area.low, area.high, strict=True)
            ]
            for run in _runs(pairs):
                upper = [f"{self.x(i):.1f},{self.y(pair[1]):.1f}" for i, pair in run]
                lower = [f"{self.x(i):.1f},{self.y(pair[0]):.1f}" for i, pair in reversed(run)]
                parts.append(f'<polygon class="area {escape(area.kind)}" points="{" ".join(upper + lower)}"/>')
        return parts

    def _lines(self) -> list[str]:
        parts = []
        for line in self.figure.lines:
            for run in _runs(line.values):
                if len(run) == 1:
                    (i, value), = run
                    parts.append(f'<circle class="dot {escape(line.kind)}" cx="{self.x(i):.1f}" '
                                 f'cy="{self.y(value):.1f}" r="2.5"/>')
                    continue
                points = " ".join(f"{self.x(i):.1f},{self.y(value):.1f}" for i, value in run)
                parts.append(f'<polyline class="line {escape(line.kind)}" points="{points}"/>')
        return parts

    def _ticks(self) -> list[str]:
        most = 5 if self.narrow else 14
        every = -(-len(self.figure.ticks) // most) or 1
        return [
            f'<text class="axis" x="{self.x(position):.1f}" y="{self.height - 8}" '
            f'text-anchor="middle">{escape(text)}</text>'
            for position, text in self.figure.ticks[::every]
        ]

    def _hovers(self) -> list[str]:
        figure = self.figure
        if len(figure.positions) > MOST_HOVERS:
            return []
        parts = []
        for position, name in enumerate(figure.positions):
            rows = [
                (line.name, figure.form(value)) for line in figure.lines
                if line.name and (value := line.values[position]) is not None
            ]
            rows += [
                (area.name, f"{figure.form(low)} to {figure.form(high)}") for area in figure.areas
                if area.name and (low := area.low[position]) is not None and (high := area.high[position]) is not None
            ]
            if rows:
                parts.append(self._hover(position, name, rows))
        return parts

    def _hover(self, position: int, name: str, rows: list[tuple[str, str]]) -> str:
        wide = max(len(name) + 1, *(len(label) + len(value) + 3 for label, value in rows)) * 6.6 + 16
        tall = 17 * (len(rows) + 1) + 10
        x = self.x(position)
        left = x + 8 if x + wide + 10 < self.width else max(2.0, x - wide - 8)
        lines = [f'<text class="tip-title" x="{left + 8:.1f}" y="{self.top + 18}">{escape(name)}</text>']
        for number, (label, value) in enumerate(rows, 1):
            y = self.top + 18 + 17 * number
            lines.append(
                f'<text x="{left + 8:.1f}" y="{y}">{escape(label)}</text>'
                f'<text class="tip-value" x="{left + wide - 8:.1f}" y="{y}" text-anchor="end">{escape(value)}</text>'
            )
        start = self.left + self.step * position
        return (
            f'<g class="hit"><rect class="sense" x="{start:.1f}" y="{self.top}" width="{self.step:.2f}" '
            f'height="{self.height - self.top - self.bottom}"/><g class="tip"><line class="rule" x1="{x:.1f}" '
            f'x2="{x:.1f}" y1="{self.top}" y2="{self.height - self.bottom}"/><rect class="box" x="{left:.1f}" '
            f'y="{self.top}" width="{wide:.1f}" height="{tall}" rx="6"/>{"".join(lines)}</g></g>'
        )

    def _marks(self) -> list[str]:
        parts = []
        radius = 4.5 if self.narrow else 6.0
        seen: dict[int, int] = {}
        for mark in self.figure.marks:
            # Several marks of one position stand side by side.
            beside = seen.get(mark.position, 0)
            seen[mark.position] = beside + 1
            x = self.x(mark.position) + 2.2 * radius * beside
            parts.append(mark_svg(mark, x, self.top - 10, radius))
        return parts


def _range(figure: Figure) -> tuple[float, float]:
    """Lowest and highest value of the axis: everything that is drawn, within the figure's bounds."""
    series = [line.values for line in figure.lines] + [area.high for area in figure.areas]
    series += [area.low for area in figure.areas]
    values = [value for values in series for value in values if value is not None]
    low = min([figure.floor, *values])
    high = max(values, default=figure.floor + 1.0)
    if figure.ceiling is not None:
        high = min(high, figure.ceiling)
    if high <= low:
        high = low + 1.0
    margin = 0.08 * (high - low)
    return (low - margin if low < figure.floor else low), high + margin


def steps(low: float, high: float, most: int) -> list[float]:
    """Round values between two bounds, at most about `most` of them."""
    if high <= low:
        return [low]
    raw = (high - low) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if size * factor >= raw * 0.999)
    # The tolerance keeps a bound that is a multiple of the step in spite of floating point.
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * number for number in range(first, last + 1)]


def _runs(values: Sequence[T | None]) -> list[list[tuple[int, T]]]:
    """Neighbouring known values with their positions; a gap ends a run."""
    runs: list[list[tuple[int, T]]] = [[]]
    for position, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((position, value))
    return [run for run in runs if run]


def share(value: float) -> str:
    """A share as per cent, without needless digits."""
    percent = value * 100
    return f"{percent:.0f}%" if abs(percent - round(percent)) < 1e-6 else f"{percent:.1f}%"


def whole(value: float) -> str:
    """A number of bikes."""
    return f"{value:,.0f}" if abs(value) >= 10 or float(value).is_integer() else f"{value:.1f}"
