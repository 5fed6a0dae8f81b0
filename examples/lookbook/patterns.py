"""Cloth: a small tile for each pattern family, repeated over any shape.

Shading, folds and outlines are the canvas's business.
"""

import functools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from examples.lookbook.styles import Colour, Pattern, blend, darker

# Motifs along one side of a tile: enough for a motif to vary before it repeats.
_MOTIFS = 4


@dataclass(frozen=True, slots=True)
class Fabric:
    """What a garment is made of; `period` is the repeat of the motif, in heads."""

    pattern: Pattern
    base: Colour
    motif: Colour
    accent: Colour
    period: float
    variant: int


@dataclass(frozen=True, slots=True)
class _Tile:
    """A tile being drawn: its repeat in pixels and the pen."""

    draw: ImageDraw.ImageDraw
    fabric: Fabric
    step: float
    random: random.Random

    @property
    def size(self) -> float:
        return self.step * _MOTIFS

    def cells(self) -> list[tuple[float, float]]:
        """Middles of the motifs: a lattice, every other row moved by half."""
        return [
            ((column + 0.27 + 0.46 * (row % 2)) * self.step, (row + 0.5) * self.step)
            for row in range(_MOTIFS)
            for column in range(_MOTIFS)
        ]


def _stripes(tile: _Tile) -> None:
    fabric, step, size = tile.fabric, tile.step, tile.size
    share = 0.36 + 0.08 * (fabric.variant % 3)
    for row in range(_MOTIFS):
        top = row * step
        tile.draw.rectangle((0, top, size, top + share * step), fill=fabric.motif)
        if fabric.variant % 2:
            middle = top + (share + 1) / 2 * step
            line = (0, middle - 0.06 * step, size, middle + 0.06 * step)
            tile.draw.rectangle(line, fill=fabric.accent)


def _checks(tile: _Tile) -> None:
    fabric, step, size = tile.fabric, tile.step, tile.size
    half = blend(fabric.base, fabric.motif, 0.5)
    starts = [index * step for index in range(_MOTIFS)]
    for start in starts:
        tile.draw.rectangle((0, start, size, start + step / 2), fill=half)
        tile.draw.rectangle((start, 0, start + step / 2, size), fill=half)
    for left in starts:
        for top in starts:
            square = (left, top, left + step / 2, top + step / 2)
            tile.draw.rectangle(square, fill=fabric.motif)
    if fabric.variant % 3:
        width = max(2, round(0.07 * step))
        for start in starts:
            middle = start + 0.75 * step
            tile.draw.line((0, middle, size, middle), fabric.accent, width)
            tile.draw.line((middle, 0, middle, size), fabric.accent, width)


def _dots(tile: _Tile) -> None:
    fabric = tile.fabric
    radius = (0.22 + 0.05 * (fabric.variant % 3)) * tile.step
    for index, (x, y) in enumerate(tile.cells()):
        odd = fabric.variant % 2 and index % 5 == 0
        colour = fabric.accent if odd else fabric.motif
        tile.draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def _floral(tile: _Tile) -> None:
    fabric, step = tile.fabric, tile.step
    petals = 5 + fabric.variant % 2
    for index, (x, y) in enumerate(tile.cells()):
        turn = tile.random.uniform(0, math.tau)
        grown = tile.random.uniform(0.85, 1.1) * step
        leaf = blend(fabric.accent, (70, 120, 60), 0.6)
        for side in (2.2, 4.4):
            _petal(tile.draw, (x, y), turn + side, 0.42 * grown, 0.09 * grown, leaf)
        colour = fabric.motif if index % 3 else blend(fabric.motif, fabric.accent, 0.5)
        for petal in range(petals):
            angle = turn + math.tau * petal / petals
            _petal(tile.draw, (x, y), angle, 0.2 * grown, 0.15 * grown, colour)
        heart = 0.1 * grown
        tile.draw.ellipse((x - heart, y - heart, x + heart, y + heart), fabric.accent)


def _petal(
    draw: ImageDraw.ImageDraw,
    centre: tuple[float, float],
    angle: float,
    reach: float,
    radius: float,
    colour: Colour,
) -> None:
    for share in (0.55, 1.0):
        x = centre[0] + math.cos(angle) * reach * share
        y = centre[1] + math.sin(angle) * reach * share
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _rib(tile: _Tile) -> None:
    """Knitted or woven texture: the one family without a motif."""
    fabric, step, size = tile.fabric, tile.step, tile.size
    groove = darker(fabric.base, 0.3)
    ridge = blend(fabric.base, (255, 255, 255), 0.18)
    width = max(2, round(step / 9))
    lines = 3 * _MOTIFS
    for index in range(lines):
        x = (index + 0.5) * size / lines
        tile.draw.line((x, 0, x, size), groove, width)
        tile.draw.line((x + width, 0, x + width, size), ridge, max(1, width // 2))
    if fabric.variant % 2:
        # Purl marks between the ribs turn the cord into a knit.
        for index in range(lines):
            x = index * size / lines
            for row in range(lines):
                y = (row + 0.5 * (index % 2)) * size / lines
                tile.draw.line((x, y, x + size / lines, y + width), groove, width)


def _geometric(tile: _Tile) -> None:
    fabric, step = tile.fabric, tile.step
    for row in range(_MOTIFS):
        for column in range(_MOTIFS):
            left, top = column * step, row * step
            apex = (left + step / 2, top + 0.08 * step)
            foot = top + 0.92 * step
            odd = (row + column * fabric.variant) % 3 == 0
            colour = fabric.accent if odd else fabric.motif
            tile.draw.polygon([(left, foot), apex, (left + step, foot)], colour)
            inner = [
                (left + 0.3 * step, foot),
                (left + step / 2, top + 0.52 * step),
                (left + 0.7 * step, foot),
            ]
            tile.draw.polygon(inner, fabric.base)


_WEAVERS: dict[Pattern, Callable[[_Tile], None]] = {
    Pattern.STRIPES: _stripes,
    Pattern.CHECKS: _checks,
    Pattern.DOTS: _dots,
    Pattern.FLORAL: _floral,
    Pattern.RIB: _rib,
    Pattern.GEOMETRIC: _geometric,
}


@functools.lru_cache(maxsize=32)
def weave(fabric: Fabric, px_per_head: float) -> Image.Image:
    """Returns the tile of a fabric, to be repeated in both directions."""
    size = max(4 * _MOTIFS, round(fabric.period * px_per_head * _MOTIFS))
    image = Image.new("RGB", (size, size), fabric.base)
    tile = _Tile(
        ImageDraw.Draw(image),
        fabric,
        size / _MOTIFS,
        random.Random(fabric.variant),
    )
    _WEAVERS[fabric.pattern](tile)
    return image


def cover(tile: Image.Image, size: tuple[int, int], angle: float = 0.0) -> Image.Image:
    """Returns a patch of repeated tiles, turned by `angle` radians."""
    width, height = size
    turned = abs(math.sin(angle)) > 0.02
    reach = math.ceil(math.hypot(width, height)) if turned else 0
    patch = Image.new("RGB", (max(width, reach), max(height, reach)))
    for top in range(0, patch.height, tile.height):
        for left in range(0, patch.width, tile.width):
            patch.paste(tile, (left, top))
    if not turned:
        return patch
    cos, sin = math.cos(angle), math.sin(angle)
    middle = reach / 2
    matrix = (
        cos,
        -sin,
        middle - cos * width / 2 + sin * height / 2,
        sin,
        cos,
        middle - sin * width / 2 - cos * height / 2,
    )
    transform = Image.Transform.AFFINE
    return patch.transform(size, transform, matrix, Image.Resampling.NEAREST)
