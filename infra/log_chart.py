"""A chart with logarithmic axes as an SVG file: how something grows with something."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 360, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 36, 34, 46  # half a label beyond the axis
_COLOURS = ("#1f5fa8", "#b3541e", "#3b7d3b")  # told apart in grey as well


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One thing that grows.

    Attributes:
        name: of it.
        points: x and y, both above 0.
    """

    name: str
    points: Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True, slots=True)
class Panel:
    """Lines of one unit.

    Attributes:
        title: with the unit.
        lines: at most three.
    """

    title: str
    lines: Sequence[Line]


@dataclasses.dataclass(frozen=True, slots=True)
class _Axis:
    """Decades on a stretch of pixels."""

    low: int
    high: int
    start: float
    end: float

    def place(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        return [
            (self.place(10.0**power), _label(power))
            for power in range(self.low, self.high + 1)
        ]


def write_log_chart(path: Path, x_title: str, panels: Sequence[Panel]) -> None:
    """Draw panels side by side."""
    body = "".join(
        f'<g transform="translate({number * _WIDTH} 0)">{"".join(_panel(panel))}'
        f"{_text(_WIDTH / 2, _HEIGHT - 6, x_title)}</g>"
        for number, panel in enumerate(panels)
    )
    width = _WIDTH * len(panels)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" '
        f'width="{width}" font-family="sans-serif" font-size="11" fill="#222">'
        f'<rect width="{width}" height="{_HEIGHT}" fill="white"/>{body}</svg>\n'
    )


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    x = _axis([at for at, _ in points], _LEFT, _WIDTH - _RIGHT)
    y = _axis([at for _, at in points], _HEIGHT - _BOTTOM, _TOP)
    yield _text(_WIDTH / 2, 16, panel.title)
    for at, label in x.ticks():
        yield _stroke((at, y.start), (at, y.end))
        yield _text(at, y.start + 18, label)
    for at, label in y.ticks():
        yield _stroke((x.start, at), (x.end, at))
        yield _text(x.start - 4, at + 4, label, anchor="end")
    for number, (line, colour) in enumerate(zip(panel.lines, _COLOURS, strict=False)):
        places = [(x.place(a), y.place(b)) for a, b in line.points]
        joined = " ".join(f"{a},{b}" for a, b in places)
        yield f'<polyline points="{joined}" fill="none" stroke="{colour}"/>'
        yield from (
            f'<circle cx="{a}" cy="{b}" r="2.5" fill="{colour}"/>' for a, b in places
        )
        # What grows leaves the upper left corner free.
        below = y.end + 14 * (number + 1)
        yield _text(x.start + 8, below, line.name, anchor="start", fill=colour)


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low = math.floor(math.log10(min(values)))
    return _Axis(low, max(low + 1, math.ceil(math.log10(max(values)))), start, end)


def _label(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"


def _stroke(start: tuple[float, float], end: tuple[float, float]) -> str:
    return (
        f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" '
        'stroke="#ddd"/>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "middle", fill: str = "#222"
) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{fill}" '
        'stroke="white" stroke-width="3" paint-order="stroke">'
        f"{escape(text)}</text>"
    )
