"""What a scene crop must be, as arithmetic of its own: the oracle of the crop audit.

Shares no function with `crop`, which makes the crops. All arrays are over pairs; boxes
are (left, top, right, bottom) in 0..1, crops the same in pixels.
"""

from __future__ import annotations

import dataclasses
import enum

import numpy as np

STRIPS = ("top", "bottom", "left", "right")
"""Where a crop may lie, in the order in which the first of equals is taken."""

_PIXEL = 1.0
_ROUNDING = 1e-6  # of a pixel; products of shares and sizes are exact to far less


class CropFault(enum.StrEnum):
    """What can be wrong with a crop."""

    UNKNOWN_SCENE = "unknown_scene"
    OUTSIDE_PICTURE = "outside_picture"
    NOT_A_STRIP = "not_a_strip"
    SHARES_PIXELS = "shares_pixels"
    MARGIN_NOT_KEPT = "margin_not_kept"
    CUT_TOO_SHORT = "cut_too_short"
    NOT_THE_LARGEST = "not_the_largest"
    TOO_SMALL = "too_small"


@dataclasses.dataclass(frozen=True, slots=True)
class AuditedCrops:
    """What was found of n crops.

    Attributes:
        strips: [n] int64, index in `STRIPS`; -1 for what is none.
        areas: [n] float64, share of the picture.
        faults: fault to [n] bool.
    """

    strips: np.ndarray
    areas: np.ndarray
    faults: dict[CropFault, np.ndarray]


def audit(
    boxes: np.ndarray,
    crops: np.ndarray,
    sizes: np.ndarray,
    *,
    box_margin: float,
    min_crop_area: float,
) -> AuditedCrops:
    """Hold crops against the boxes that they were cut off.

    Args:
        boxes: [n, 4] float64.
        crops: [n, 4] int64.
        sizes: [n, 2] int64, width and height of the pictures; 0 where not known.
        box_margin: by how much a box is grown, as a share of the picture.
        min_crop_area: smallest crop, as a share of the picture.
    """
    left, top, right, bottom = crops.T
    width, height = np.maximum(sizes, 1).T
    strips = _strips(crops, sizes)
    is_strip = strips >= 0
    distances = _distances(boxes, crops, sizes, box_margin)
    rows = np.arange(len(crops))
    cut_short = distances[rows, strips]
    lengths = _lengths(boxes, box_margin)
    areas = (right - left) * (bottom - top) / (width * height)
    one_row = 1 / np.where(strips < 2, height, width)
    faults = {
        CropFault.UNKNOWN_SCENE: (sizes < 1).any(axis=1),
        CropFault.OUTSIDE_PICTURE: (
            (left < 0) | (top < 0) | (right > width) | (bottom > height)
        ),
        CropFault.NOT_A_STRIP: ~is_strip,
        CropFault.SHARES_PIXELS: _shares_pixels(boxes, crops, sizes),
        CropFault.MARGIN_NOT_KEPT: is_strip & (cut_short < -_ROUNDING),
        CropFault.CUT_TOO_SHORT: is_strip & (cut_short > _PIXEL + _ROUNDING),
        CropFault.NOT_THE_LARGEST: (
            is_strip & (lengths[rows, strips] < lengths.max(axis=1) - _ROUNDING)
        ),
        CropFault.TOO_SMALL: areas < min_crop_area - one_row - _ROUNDING,
    }
    return AuditedCrops(strips, areas, faults)


def _strips(crops: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which strip a crop is: it reaches three sides of the picture, and not one."""
    left, top, right, bottom = crops.T
    width, height = sizes.T
    # The sides in the order of `STRIPS`: the strip at the top ends above the bottom.
    ends_before = np.stack([bottom < height, top > 0, right < width, left > 0], axis=1)
    has_area = (left < right) & (top < bottom)
    is_strip = has_area & (ends_before.sum(axis=1) == 1)
    return np.where(is_strip, ends_before.argmax(axis=1), -1)


def _lengths(boxes: np.ndarray, margin: float) -> np.ndarray:
    """[n, 4] share of the picture that each strip beside the grown box has."""
    left, top, right, bottom = boxes.T
    return np.stack([top, 1 - bottom, left, 1 - right], axis=1) - margin


def _distances(
    boxes: np.ndarray, crops: np.ndarray, sizes: np.ndarray, margin: float
) -> np.ndarray:
    """[n, 4] pixels between the grown box and each edge of the crop that faces it."""
    left, top, right, bottom = crops.T
    width, height = sizes.T
    room = _lengths(boxes, margin)
    return np.stack(
        [
            room[:, 0] * height - bottom,
            room[:, 1] * height - (height - top),
            room[:, 2] * width - right,
            room[:, 3] * width - (width - left),
        ],
        axis=1,
    )


def _shares_pixels(
    boxes: np.ndarray, crops: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Whether a crop and the pixels that its box touches have one in common."""
    scale = np.concatenate([sizes, sizes], axis=1)
    first = np.floor(boxes[:, :2] * sizes)
    last = np.ceil(boxes * scale)[:, 2:]
    begins = np.maximum(crops[:, :2], first)
    ends = np.minimum(crops[:, 2:], last)
    return (begins < ends).all(axis=1)
