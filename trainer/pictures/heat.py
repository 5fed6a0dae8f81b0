"""Attention as colour: what all pictures of attention have in common."""

from __future__ import annotations

import numpy as np
from PIL import Image

STOPS = (0.0, 0.35, 0.7, 1.0)
COLOURS = ((24, 18, 60), (136, 34, 106), (240, 96, 60), (252, 244, 164))
"""From no attention to the most, those of the report: dark to light."""

_EVEN_SHARE = 0.4
"""Heat of a cell with an even share of the attention, where none has much more: a map
that looks nowhere in particular must not look like one that does."""

_COLOUR_SHARE = 0.55
"""Of a mixed pixel; the rest is the picture, in grey."""


def heat(attention: np.ndarray) -> np.ndarray:
    """How hot each cell is.

    Args:
        attention: [rows, cols] float32, adding up to 1.

    Returns:
        The same shape, in 0..1; 1 is the cell with the most attention, unless even that
        has little more than an even share.
    """
    even = 1.0 / attention.size
    return attention / max(float(attention.max()), min(1.0, even / _EVEN_SHARE))


def colours(shares: np.ndarray) -> np.ndarray:
    """Heat as colour: [...] in 0..1 to [..., 3] in 0..255, not yet rounded."""
    channels = zip(*COLOURS, strict=True)
    return np.stack([np.interp(shares, STOPS, channel) for channel in channels], -1)


def overlay(image: Image.Image, attention: np.ndarray) -> Image.Image:
    """A picture, greyed, under its attention; both are seen.

    Args:
        image: what the model saw.
        attention: [rows, cols] float32, adding up to 1.
    """
    smooth = Image.fromarray(heat(attention).astype(np.float32)).resize(
        image.size, Image.Resampling.BICUBIC
    )
    shares = np.clip(np.asarray(smooth), 0.0, 1.0)  # bicubic overshoots
    grey = np.asarray(image.convert("L").convert("RGB"), np.float32)
    mixed = (1 - _COLOUR_SHARE) * grey + _COLOUR_SHARE * colours(shares)
    return Image.fromarray(mixed.round().astype(np.uint8))
