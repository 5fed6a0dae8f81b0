"""Boxes: `(left, top, right, bottom)`, normalised to 0..1 of the picture."""

from __future__ import annotations

import math
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in shares of the picture's width and height."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Share of the picture that the box covers, 0..1."""
        return (self.right - self.left) * (self.bottom - self.top)

    def grown(self, margin: float) -> Box:
        """The box grown by `margin` of the picture on every side, clipped to it."""
        return Box(
            max(0.0, self.left - margin),
            max(0.0, self.top - margin),
            min(1.0, self.right + margin),
            min(1.0, self.bottom + margin),
        )


class PixelBox(NamedTuple):
    """A rectangle of whole pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top


WHOLE = Box(0.0, 0.0, 1.0, 1.0)


def to_pixels(box: Box, width: int, height: int) -> PixelBox:
    """The pixels a box touches: edges are rounded outwards and clipped.

    Args:
        box: normalised box.
        width: the picture's width in pixels.
        height: the picture's height in pixels.
    """
    return PixelBox(
        max(0, math.floor(box.left * width)),
        max(0, math.floor(box.top * height)),
        min(width, math.ceil(box.right * width)),
        min(height, math.ceil(box.bottom * height)),
    )
