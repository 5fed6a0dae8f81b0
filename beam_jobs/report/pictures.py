"""Small pictures for the page, as data URIs: thumbnails, crops and attention maps.

A picture that cannot be shown becomes a placeholder with its reason; a report with one
picture less is worth more than none.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from tfrecords_schema.boxes import Box, PixelBox, to_pixels
from tfrecords_schema.records import decode_image
from tfrecords_schema.segments import SegmentStore

THUMBNAIL_PX = 180  # twice the size on the page, for dense screens
TILE_PX = 112  # for lists, of which there are many
JPEG_QUALITY = 80

_INK = (20, 20, 22)
_OUTLINE = (255, 199, 44)
_HEAT_STOPS = (0.0, 0.35, 0.7, 1.0)
HEAT_COLOURS = ((24, 18, 60), (136, 34, 106), (240, 96, 60), (252, 244, 164))
"""From no attention to the most: dark to light, so it reads without hue as well."""

_HEAT_SHARE = 0.55  # of a mixed pixel; the rest is the picture
_LAYER_CELL_PX = 5  # a browser smooths a layer's edges, not its diagonals

_EVEN_SHARE = 0.4
"""Heat of a cell with an even share of the attention, where none has much more: a map
that looks nowhere in particular must not look like one that does."""


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the page, or why there is none (`uri` is empty)."""

    uri: str
    width: int
    height: int
    reason: str = ""


class PictureUnavailableError(Exception):
    """A picture cannot be shown; the message says why."""


class PictureBook:
    """Pictures of an image store, made for the page.

    Attributes:
        store: the image store.
        missing: digests that could not be shown, with the reason.
    """

    def __init__(self, store: SegmentStore) -> None:
        self.store = store
        self.missing: dict[str, str] = {}
        self._thumbnails: dict[tuple[str, int], Picture] = {}

    def thumbnail(self, sha256: str, *, px: int = THUMBNAIL_PX) -> Picture:
        """The whole picture, small: its longer side has so many pixels."""
        if (sha256, px) not in self._thumbnails:
            self._thumbnails[sha256, px] = self._show(
                sha256, lambda image: _shrunk(image, px)
            )
        return self._thumbnails[sha256, px]

    def scene(self, sha256: str, crop_px: Sequence[int], *, box: Box | None) -> Picture:
        """The whole scene with its crop outlined and the rest greyed."""
        return self._show(sha256, lambda image: mark_crop(image, crop_px, box=box))

    def attention(
        self,
        sha256: str,
        crop_px: Sequence[int],
        *,
        grid: Sequence[int],
        weights: Sequence[float],
    ) -> Picture:
        """The crop under its attention map."""
        return self._show(
            sha256,
            lambda image: overlay(_crop(image, crop_px), heat_grid(grid, weights)),
        )

    def _show(self, sha256: str, make: Callable[[Image.Image], Image.Image]) -> Picture:
        try:
            image = make(self._load(sha256))
        except PictureUnavailableError as error:
            self.missing.setdefault(sha256, str(error))
            return Picture("", 0, 0, str(error))
        return Picture(_data_uri(image), image.width, image.height)

    def _load(self, sha256: str) -> Image.Image:
        try:
            if sha256 not in self.store.index:
                raise PictureUnavailableError("not in the image store")
            ((_, data),) = self.store.read([sha256])
            return Image.open(io.BytesIO(decode_image(data).jpeg)).convert("RGB")
        # ValueError: a corrupt record; the others: what Pillow raises for bad bytes.
        except (ValueError, OSError, Image.DecompressionBombError) as error:
            raise PictureUnavailableError(f"cannot be read: {error}") from error


def mark_crop(
    image: Image.Image, crop_px: Sequence[int], *, box: Box | None = None
) -> Image.Image:
    """The scene as the model sees it: the crop outlined, all else greyed."""
    crop = _inside(image, crop_px)
    small = _shrunk(image)
    scale = small.width / image.width
    left, top, right, bottom = (round(edge * scale) for edge in crop)
    grey = small.convert("L").convert("RGB")
    marked = Image.blend(grey, Image.new("RGB", small.size, (150, 150, 150)), 0.6)
    draw = ImageDraw.Draw(marked)
    if box is not None:
        place = to_pixels(box, *small.size)
        if place.left < place.right and place.top < place.bottom:
            edges = (place.left, place.top, place.right - 1, place.bottom - 1)
            draw.rectangle(edges, fill=(112, 112, 116), outline=(232, 232, 232))
    marked.paste(small.crop((left, top, right, bottom)), (left, top))
    edges = (left, top, max(left, right - 1), max(top, bottom - 1))
    draw.rectangle(edges, outline=_INK, width=3)
    draw.rectangle(edges, outline=_OUTLINE, width=2)
    return marked


def heat_grid(grid: Sequence[int], weights: Sequence[float]) -> np.ndarray:
    """Attention weights as heat.

    Args:
        grid: rows and columns.
        weights: one per cell, row by row, adding up to 1.

    Returns:
        [rows, columns] float32 in 0..1; 1 is the cell with the most attention, unless
        even that has little more than an even share.

    Raises:
        PictureUnavailableError: the weights are no map of that grid.
    """
    values = np.asarray(weights, np.float32)
    if len(grid) != 2 or min(grid) < 1 or values.size != math.prod(grid):
        raise PictureUnavailableError(
            f"{values.size} attention weights do not fill a grid of {list(grid)}"
        )
    if not np.isfinite(values).all() or values.min() < 0.0:
        raise PictureUnavailableError(
            "attention weights are not all finite and positive"
        )
    even = 1.0 / values.size
    heat = values / max(float(values.max()), min(1.0, even / _EVEN_SHARE))
    return heat.reshape(tuple(grid))


def overlay(crop: Image.Image, heat: np.ndarray) -> Image.Image:
    """The crop, greyed, under its heat; both are seen.

    Args:
        crop: the part of the scene that the model sees.
        heat: [rows, columns] float32 in 0..1.
    """
    small = _shrunk(crop)
    grey = np.asarray(small.convert("L").convert("RGB"), np.float32)
    mixed = (1 - _HEAT_SHARE) * grey + _HEAT_SHARE * _colours(heat, small.size)
    return Image.fromarray(mixed.round().astype(np.uint8))


def heat_layer(grid: int, weights: Sequence[float]) -> Picture:
    """An attention map to be laid over a picture, a see-through PNG of few pixels.

    Args:
        grid: rows, and columns.
        weights: one per cell, row by row, adding up to 1.
    """
    try:
        heat = heat_grid((grid, grid), weights)
    except PictureUnavailableError as error:
        return Picture("", 0, 0, str(error))
    side = grid * _LAYER_CELL_PX
    layer = Image.fromarray(_colours(heat, (side, side)).round().astype(np.uint8))
    layer.putalpha(round(255 * _HEAT_SHARE))
    return Picture(_data_uri(layer, "PNG"), side, side)


def _colours(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat, smoothly enlarged to width and height, as colours: [rows, columns, 3]."""
    smooth = Image.fromarray(heat.astype(np.float32)).resize(
        size, Image.Resampling.BICUBIC
    )
    shares = np.clip(np.asarray(smooth), 0.0, 1.0)  # bicubic overshoots
    channels = zip(*HEAT_COLOURS, strict=True)
    return np.stack(
        [np.interp(shares, _HEAT_STOPS, channel) for channel in channels], -1
    )


def _crop(image: Image.Image, crop_px: Sequence[int]) -> Image.Image:
    return image.crop(_inside(image, crop_px))


def _inside(image: Image.Image, crop_px: Sequence[int]) -> PixelBox:
    """The part of a crop that lies inside its picture."""
    if len(crop_px) == 4:
        left, top, right, bottom = crop_px
        crop = PixelBox(
            max(0, left),
            max(0, top),
            min(image.width, right),
            min(image.height, bottom),
        )
        if crop.left < crop.right and crop.top < crop.bottom:
            return crop
    raise PictureUnavailableError(
        f"crop {list(crop_px)} is not inside its picture of "
        f"{image.width} × {image.height} pixels"
    )


def _shrunk(image: Image.Image, px: int = THUMBNAIL_PX) -> Image.Image:
    small = image.copy()
    small.thumbnail((px, px), Image.Resampling.LANCZOS)
    return small


def _data_uri(image: Image.Image, form: str = "JPEG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, form, quality=JPEG_QUALITY, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{form.lower()};base64,{data}"
