"""Geometry of the page's charts; the templates turn it into inline SVG.

Coordinates are in view-box units. The boxes are small (about the width of a phone), so
that text keeps its size there and only grows on wider screens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

WIDTH = 340.0
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)  # decimal steps that people read easily


@dataclasses.dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclasses.dataclass(frozen=True, slots=True)
class Axis:
    """A linear map from values to view-box units."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value lies, clipped to the axis."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        at = self.start + min(1.0, max(0.0, share)) * (self.end - self.start)
        return round(at, 1)

    def ticks(self, *, at_most: int) -> tuple[Tick, ...]:
        """Round values inside the axis, as many as fit."""
        step = tick_step(self.high - self.low, at_most)
        places = max(0, -math.floor(math.log10(step) + 1e-9))
        if round(step, places) != step:  # 0.25 needs one place more than 0.2
            places += 1
        first, last = math.ceil(self.low / step - 1e-9), self.high / step + 1e-9
        values = [index * step for index in range(first, math.floor(last) + 1)]
        return tuple(
            Tick(self.place(value), f"{value:.{places}f}".replace("-", "−"))
            for value in values
        )


def tick_step(span: float, at_most: int) -> float:
    """The smallest round step that puts at most `at_most` ticks on a span."""
    if span <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / at_most))
    return next(
        step * magnitude
        for step in _STEPS
        if math.floor(span / (step * magnitude) + 1e-9) + 1 <= at_most
        or step == _STEPS[-1]
    )


def padded(values: Sequence[float], *, share: float = 0.08) -> tuple[float, float]:
    """The span of values with some air at both ends."""
    low, high = min(values), max(values)
    air = (high - low) * share or abs(high) * share or 0.1
    return low - air, high + air


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """A named line of a chart: its points, and the points as an SVG attribute."""

    name: str
    css: str
    points: tuple[tuple[float, float], ...]
    last: str

    @property
    def path(self) -> str:
        """The `points` of a polyline."""
        return " ".join(f"{x},{y}" for x, y in self.points)


@dataclasses.dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over epochs.

    Attributes:
        title: what is drawn.
        y_title: name of the values' axis.
        width: of the view box.
        height: of the view box.
        x: the epochs' axis.
        y: the values' axis.
        x_ticks: whole epochs.
        y_ticks: round values.
        series: the lines.
        best: where the kept epoch is, with its label.
    """

    title: str
    y_title: str
    width: float
    height: float
    x: Axis
    y: Axis
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    best: Tick | None

    @property
    def best_anchor(self) -> str:
        """Which end of the label is at the line, so that it stays in the box."""
        middle = (self.x.start + self.x.end) / 2
        return "end" if self.best is not None and self.best.at > middle else "start"


Points = Sequence[tuple[int, float | None]]


def line_chart(
    title: str,
    lines: dict[str, Points],
    *,
    y_title: str,
    css: dict[str, str],
    best: int | None,
) -> LineChart | None:
    """A chart of values over epochs, or None where there is nothing to draw.

    Args:
        title: what is drawn.
        lines: name → (epoch, value); epochs without a value are left out.
        y_title: name of the values' axis.
        css: name → class of the line.
        best: the epoch to mark.
    """
    known = {
        name: [(epoch, value) for epoch, value in points if value is not None]
        for name, points in lines.items()
    }
    known = {name: points for name, points in known.items() if points}
    if not known:
        return None
    epochs = [epoch for points in known.values() for epoch, _ in points]
    low, high = padded([value for points in known.values() for _, value in points])
    x = Axis(min(epochs), max(epochs), 54.0, WIDTH - 14.0)
    y = Axis(low, high, 172.0, 20.0)
    step = max(1, math.ceil(tick_step(x.high - x.low, 8)))
    return LineChart(
        title,
        y_title,
        WIDTH,
        210.0,
        x,
        y,
        tuple(
            Tick(x.place(epoch), str(epoch))
            for epoch in range(min(epochs), max(epochs) + 1, step)
        ),
        y.ticks(at_most=6),
        tuple(_series(name, css[name], known[name], x=x, y=y) for name in known),
        Tick(x.place(best), f"best: epoch {best}") if best in epochs else None,
    )


def _series(
    name: str, css: str, points: list[tuple[int, float]], *, x: Axis, y: Axis
) -> Series:
    placed = tuple((x.place(epoch), y.place(value)) for epoch, value in points)
    return Series(name, css, placed, f"{points[-1][1]:.3f}")


@dataclasses.dataclass(frozen=True, slots=True)
class Bar:
    """A value with its interval and how to show it, the input of an interval chart."""

    label: str
    value: float
    low: float
    high: float
    text: str
    css: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class IntervalMark:
    """A dot with its interval, placed."""

    label: str
    text: str
    css: str
    at: float
    low: float
    high: float
    y: float


@dataclasses.dataclass(frozen=True, slots=True)
class IntervalChart:
    """Dots and intervals, one per row, over a reference line."""

    width: float
    height: float
    axis: Axis
    ticks: tuple[Tick, ...]
    reference: Tick
    marks: tuple[IntervalMark, ...]


_ROW = 26.0
_LABEL = 116.0  # room for names to the left of the plot
_VALUE = 50.0  # room for numbers to its right


def interval_chart(
    rows: Sequence[Bar], *, reference: float, reference_label: str
) -> IntervalChart | None:
    """A chart of measured values, or None where there are none."""
    if not rows:
        return None
    ends = [reference, *(row.low for row in rows), *(row.high for row in rows)]
    axis = Axis(*padded(ends), _LABEL, WIDTH - _VALUE)
    return IntervalChart(
        WIDTH,
        len(rows) * _ROW + 44.0,
        axis,
        axis.ticks(at_most=5),
        Tick(axis.place(reference), reference_label),
        tuple(
            _mark(row, axis, y=22.0 + _ROW * (index + 0.5))
            for index, row in enumerate(rows)
        ),
    )


def strips(
    rows: Sequence[Bar], *, reference: float
) -> tuple[Axis, tuple[IntervalMark, ...]]:
    """Dots for the rows of a table, all on one axis of 160 units."""
    ends = [reference, *(row.low for row in rows), *(row.high for row in rows)]
    low, high = padded(ends)
    axis = Axis(max(0.0, low), min(1.0, high), 5.0, 155.0)  # shares lie in 0..1
    return axis, tuple(_mark(row, axis, y=8.0) for row in rows)


def _mark(row: Bar, axis: Axis, *, y: float) -> IntervalMark:
    at, low, high = (axis.place(value) for value in (row.value, row.low, row.high))
    return IntervalMark(row.label, row.text, row.css, at, low, high, y)
