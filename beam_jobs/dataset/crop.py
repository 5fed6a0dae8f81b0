"""The crop rule: the largest part of a scene that shows nothing of the product."""

from __future__ import annotations

import dataclasses
import math

from tfrecords_schema.boxes import Box, PixelBox


@dataclasses.dataclass(frozen=True, slots=True)
class CropRule:
    """How a scene is cropped off a product's box (Kang et al. 2019, section 3.2).

    Attributes:
        box_margin: by how much of the picture the box is grown on every side, because
            annotators draw boxes tight and products reach over them.
        min_crop_area: smallest share of the picture that is still a scene.
    """

    box_margin: float = 0.05
    min_crop_area: float = 0.20

    def __post_init__(self) -> None:
        for name in ("box_margin", "min_crop_area"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise ValueError(f"--{name} {value} is not in 0..1")


def largest_strip(box: Box, rule: CropRule) -> Box | None:
    """The largest of the strips above, below, left and right of the grown box.

    Returns:
        The strip, or None where it is under the rule's smallest area. Of equal strips
        the first in the order named wins.
    """
    grown = box.grown(rule.box_margin)
    strips = (
        Box(0.0, 0.0, 1.0, grown.top),
        Box(0.0, grown.bottom, 1.0, 1.0),
        Box(0.0, 0.0, grown.left, 1.0),
        Box(grown.right, 0.0, 1.0, 1.0),
    )
    largest = max(strips, key=lambda strip: strip.area)
    return largest if largest.area >= rule.min_crop_area else None


def crop_pixels(box: Box, rule: CropRule, width: int, height: int) -> PixelBox | None:
    """Where a scene of a size is cut; None where the crop would be too small."""
    strip = largest_strip(box, rule)
    return strip and strip_pixels(strip, width, height)


def strip_pixels(strip: Box, width: int, height: int) -> PixelBox | None:
    """The whole pixels inside a strip: edges are rounded inwards.

    `boxes.to_pixels` rounds a box outwards, and a strip begins at or beyond the box's
    edge; so a strip and its box never share a pixel.

    Returns:
        The pixels, or None where the picture is too small for any.
    """
    pixels = PixelBox(
        math.ceil(strip.left * width),
        math.ceil(strip.top * height),
        math.floor(strip.right * width),
        math.floor(strip.bottom * height),
    )
    has_area = pixels.left < pixels.right and pixels.top < pixels.bottom
    return pixels if has_area else None
