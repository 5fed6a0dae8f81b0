"""Trims: what runs along the edges of a garment, at the same scale on all of them."""

import itertools
import math
from collections.abc import Callable, Sequence

from examples.lookbook.canvas import Canvas
from examples.lookbook.geometry import Point, ellipse, lerp, shift
from examples.lookbook.styles import Colour, Trim, blend, darker, luminance


def draw_trim(
    canvas: Canvas,
    path: Sequence[Point],
    trim: Trim,
    colour: Colour,
    size: float = 1.0,
) -> None:
    """Draws a trim along a path; `size` makes it finer for small things."""
    _TRIMS[trim](canvas, path, colour, size)


def along(path: Sequence[Point], step: float) -> list[Point]:
    """Returns points a step apart along a path, from its start."""
    points: list[Point] = []
    left_over = 0.0
    for start, end in itertools.pairwise(path):
        length = math.dist(start, end)
        at = left_over
        while at <= length and length > 0:
            points.append(lerp(start, end, at / length))
            at += step
        left_over = at - length
    return points


def _piping(canvas: Canvas, path: Sequence[Point], colour: Colour, size: float) -> None:
    inner = [shift(point, 0.0, -0.17 * size) for point in path]
    canvas.line(path, colour, 0.1 * size)
    canvas.line(inner, colour, 0.05 * size)


def _stitch(canvas: Canvas, path: Sequence[Point], colour: Colour, size: float) -> None:
    thread = (250, 236, 200) if luminance(colour) < 150 else (92, 52, 30)
    for lift in (0.06, 0.14):
        points = along([shift(p, 0.0, -lift * size) for p in path], 0.07 * size)
        for start, end in zip(points[::2], points[1::2], strict=False):
            canvas.line([start, end], thread, 0.035 * size)


def _scallop(
    canvas: Canvas, path: Sequence[Point], colour: Colour, size: float
) -> None:
    for point in along(path, 0.2 * size):
        canvas.fill(ellipse(point, 0.11 * size, 0.11 * size), colour, depth=0.1)


def _ruffle(canvas: Canvas, path: Sequence[Point], colour: Colour, size: float) -> None:
    upper = along(path, 0.09 * size)
    if len(upper) < 3:
        return
    lower = []
    for index, point in enumerate(upper):
        lower.append(shift(point, 0.0, (0.24 if index % 2 else 0.15) * size))
    tint = blend(colour, (255, 255, 255), 0.25)
    canvas.fill([*(shift(p, 0, -0.04 * size) for p in upper), *lower[::-1]], tint)
    for start, end in zip(upper[::2], lower[::2], strict=False):
        canvas.line([start, end], darker(tint, 0.3), 0.02 * size)


def _studs(canvas: Canvas, path: Sequence[Point], colour: Colour, size: float) -> None:
    for point in along([shift(p, 0.0, -0.08 * size) for p in path], 0.15 * size):
        canvas.disc(point, 0.055 * size, (58, 58, 62))
        canvas.disc(shift(point, -0.01, -0.01), 0.042 * size, (206, 206, 212))


def _fringe(canvas: Canvas, path: Sequence[Point], colour: Colour, size: float) -> None:
    for index, point in enumerate(along(path, 0.05 * size)):
        shade = colour if index % 2 else darker(colour, 0.3)
        reach = 0.28 + 0.04 * (index % 3)
        canvas.line([point, shift(point, 0.01, reach * size)], shade, 0.035 * size)


_TRIMS: dict[Trim, Callable[[Canvas, Sequence[Point], Colour, float], None]] = {
    Trim.PIPING: _piping,
    Trim.STITCH: _stitch,
    Trim.SCALLOP: _scallop,
    Trim.RUFFLE: _ruffle,
    Trim.STUDS: _studs,
    Trim.FRINGE: _fringe,
}
