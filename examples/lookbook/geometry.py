"""Outlines in the plane: rounded polygons, tubes along a path, ellipses.

Lengths are in heads (the height of a head), x to the right and y downwards.
"""

import itertools
import math
from collections.abc import Sequence

Point = tuple[float, float]


def lerp(start: Point, end: Point, share: float) -> Point:
    """Returns the point that lies `share` of the way from start to end."""
    return (
        start[0] + (end[0] - start[0]) * share,
        start[1] + (end[1] - start[1]) * share,
    )


def shift(point: Point, dx: float, dy: float) -> Point:
    """Returns the point moved by (dx, dy)."""
    return (point[0] + dx, point[1] + dy)


def polar(start: Point, angle: float, length: float) -> Point:
    """Returns the point at a distance, the angle in radians from straight down."""
    return (
        start[0] + math.sin(angle) * length,
        start[1] + math.cos(angle) * length,
    )


def slope(start: Point, end: Point) -> float:
    """Returns the angle of a segment in radians from straight down."""
    return math.atan2(end[0] - start[0], end[1] - start[1])


def rounded(
    points: Sequence[Point], times: int = 2, share: float = 0.25
) -> list[Point]:
    """Cuts the corners of a closed polygon (Chaikin); a doubled point stays sharp."""
    for _ in range(times):
        cut: list[Point] = []
        for index, point in enumerate(points):
            following = points[(index + 1) % len(points)]
            cut += [lerp(point, following, share), lerp(point, following, 1 - share)]
        points = cut
    return list(points)


def curve(points: Sequence[Point], times: int = 2) -> list[Point]:
    """Cuts the corners of an open path; its two ends stay where they are."""
    for _ in range(times):
        cut = [points[0]]
        for start, end in itertools.pairwise(points):
            cut += [lerp(start, end, 0.25), lerp(start, end, 0.75)]
        points = [*cut, points[-1]]
    return list(points)


def ellipse(
    centre: Point, radius_x: float, radius_y: float, turn: float = 0.0
) -> list[Point]:
    """Returns the outline of an ellipse turned by `turn` radians."""
    cos, sin = math.cos(turn), math.sin(turn)
    outline = []
    for step in range(28):
        angle = math.tau * step / 28
        x, y = radius_x * math.cos(angle), radius_y * math.sin(angle)
        outline.append((centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos))
    return outline


def tube(path: Sequence[Point], radii: Sequence[float]) -> list[Point]:
    """Returns the outline of a limb or sleeve: a path with a radius at each point."""
    left: list[Point] = []
    right: list[Point] = []
    for index, (point, radius) in enumerate(zip(path, radii, strict=True)):
        before, after = path[max(index - 1, 0)], path[min(index + 1, len(path) - 1)]
        across = slope(before, after) + math.pi / 2
        left.append(polar(point, across, radius))
        right.append(polar(point, across, -radius))
    return left + right[::-1]
