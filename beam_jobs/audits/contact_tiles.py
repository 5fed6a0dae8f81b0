"""Drawing one pair of the contact sheet: its scene with box and crop, its product."""

from __future__ import annotations

import dataclasses
import functools
import io
import textwrap

from PIL import Image, ImageDraw, ImageFont

from tfrecords_schema.boxes import Box

SCENE_PX = (176, 236)
PRODUCT_PX = (88, 116)
GAP_PX = 6
TILE_PX = (SCENE_PX[0] + GAP_PX + PRODUCT_PX[0], SCENE_PX[1] + 40)

PAPER = "#ffffff"
INK = "#22262b"
FAINT = "#6b7280"
BOX_COLOUR = "#e11d48"
GROWN_COLOUR = "#f59e0b"
CROP_COLOUR = "#059669"
_MISSING = "#e5e7eb"
_FRAME = "#d1d5db"

_DASH_PX = 5
_VEIL = 0.62  # how far what is not in the crop fades towards the paper


@dataclasses.dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture made small.

    Attributes:
        image: RGB, inside `SCENE_PX` or `PRODUCT_PX`.
        width: of the picture itself, in pixels.
        height: likewise.
    """

    image: Image.Image
    width: int
    height: int


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that a sheet looks the same on every machine."""
    return ImageFont.load_default(size)


def make_thumbnail(data: bytes, room: tuple[int, int]) -> Thumbnail:
    """Decode a picture and fit it into a room, enlarged if it is small.

    Args:
        data: the file's bytes.
        room: width and height in pixels.
    """
    with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
        picture.draft("RGB", (2 * room[0], 2 * room[1]))
        scale = min(room[0] / width, room[1] / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return Thumbnail(image, width, height)


def shortened(text: str, width_px: float, size: int) -> str:
    """Text that fits, its end cut off if it must be."""
    measure = font(size).getlength
    if measure(text) <= width_px:
        return text
    # No glyph of the font is narrower than a pixel.
    text = text[: int(width_px)]
    while text and measure(text + "…") > width_px:
        text = text[:-1]
    return text + "…"


def draw_scene(
    scene: Thumbnail,
    *,
    box: Box | None,
    grown: Box | None,
    crop: Box | None,
    is_kept: bool,
) -> Image.Image:
    """A scene with its box outlined; what is not in the crop is greyed.

    Args:
        scene: the picture.
        box: the product's.
        grown: the same with its margin.
        crop: what is or would be cut out; without one nothing is greyed.
        is_kept: whether the crop is in the data set.
    """
    image = scene.image.copy()
    if crop is not None:
        edges = _pixels(crop, image.size)
        bright = image.crop(edges)
        veil = Image.new("RGB", image.size, PAPER)
        image = Image.blend(image.convert("L").convert("RGB"), veil, _VEIL)
        image.paste(bright, edges[:2])
    draw = ImageDraw.Draw(image)
    if crop is not None:
        outline = _pixels(crop, image.size)
        if is_kept:
            draw.rectangle(_inside(outline), outline=CROP_COLOUR, width=2)
        else:
            _dashed(draw, outline, FAINT)
    if grown is not None:
        _dashed(draw, _pixels(grown, image.size), GROWN_COLOUR)
    if box is not None:
        draw.rectangle(_inside(_pixels(box, image.size)), outline=BOX_COLOUR, width=2)
    return image


def _pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box on a thumbnail, at least a pixel wide and high."""
    width, height = size
    left = min(round(box.left * width), width - 1)
    top = min(round(box.top * height), height - 1)
    right = max(left + 1, round(box.right * width))
    bottom = max(top + 1, round(box.bottom * height))
    return left, top, right, bottom


def _inside(edges: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Corners as Pillow draws them: right and bottom belong to the rectangle."""
    return edges[0], edges[1], edges[2] - 1, edges[3] - 1


def _dashed(
    draw: ImageDraw.ImageDraw, edges: tuple[int, int, int, int], colour: str
) -> None:
    left, top, right, bottom = _inside(edges)
    for start in range(left, right, 2 * _DASH_PX):
        end = min(start + _DASH_PX, right)
        draw.line([(start, top), (end, top)], colour)
        draw.line([(start, bottom), (end, bottom)], colour)
    for start in range(top, bottom, 2 * _DASH_PX):
        end = min(start + _DASH_PX, bottom)
        draw.line([(left, start), (left, end)], colour)
        draw.line([(right, start), (right, end)], colour)


def draw_missing(room: tuple[int, int], reason: str) -> Image.Image:
    """A grey tile in place of a picture."""
    image = Image.new("RGB", room, _MISSING)
    draw = ImageDraw.Draw(image)
    lines = textwrap.wrap(f"no picture: {reason.replace('_', ' ')}", room[0] // 8)
    step = 15
    top = (room[1] - step * len(lines)) // 2
    for number, line in enumerate(lines):
        left = (room[0] - font(12).getlength(line)) / 2
        draw.text((left, top + number * step), line, FAINT, font(12))
    return image


def draw_tile(
    scene: Image.Image, product: Image.Image, captions: list[str]
) -> Image.Image:
    """A scene, the product beside it, and up to two lines of text below.

    Args:
        scene: no larger than `SCENE_PX`.
        product: no larger than `PRODUCT_PX`.
        captions: shortened where they do not fit.
    """
    tile = Image.new("RGB", TILE_PX, PAPER)
    draw = ImageDraw.Draw(tile)
    tile.paste(scene, (0, SCENE_PX[1] - scene.height))
    left = SCENE_PX[0] + GAP_PX
    frame = (left, SCENE_PX[1] - PRODUCT_PX[1], TILE_PX[0] - 1, SCENE_PX[1] - 1)
    tile.paste(
        product,
        (
            left + (PRODUCT_PX[0] - product.width) // 2,
            frame[1] + (PRODUCT_PX[1] - product.height) // 2,
        ),
    )
    draw.rectangle(frame, outline=_FRAME)
    for number, caption in enumerate(captions[:2]):
        text = shortened(caption, TILE_PX[0], 12)
        colour = INK if number == 0 else FAINT
        draw.text((0, SCENE_PX[1] + 5 + number * 16), text, colour, font(12))
    return tile
