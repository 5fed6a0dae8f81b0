"""The catalogue picture of a product: the garment alone, on white."""

import random
from collections.abc import Callable

from PIL import Image

from examples.lookbook.accessories import draw_bag, draw_hat, draw_shoes
from examples.lookbook.body import Body, mannequin
from examples.lookbook.canvas import Canvas
from examples.lookbook.design import Category, Design
from examples.lookbook.garments import (
    draw_coat,
    draw_dress,
    draw_pants,
    draw_skirt,
    draw_top,
)
from examples.lookbook.styles import LIGHTS, Colour, blend

WIDTH_PX = 400
_WHITE = (255, 255, 255)
# A collection is photographed in the light of its season, corrected by this share.
_LAMP = 0.55

DRAW: dict[Category, Callable[[Canvas, Body, Design], None]] = {
    Category.TOPS: draw_top,
    Category.PANTS: draw_pants,
    Category.SKIRTS: draw_skirt,
    Category.DRESSES: draw_dress,
    Category.COATS: draw_coat,
    Category.SHOES: draw_shoes,
    Category.BAGS: draw_bag,
    Category.HATS: draw_hat,
}

# Where each category lies on the mannequin, in heads, with room around it; and the
# pixels to a head that let a common piece fill its picture before it is reduced.
_FRAMES: dict[Category, tuple[float, float, float, float]] = {
    Category.TOPS: (-2.2, -0.5, 2.2, 3.5),
    Category.PANTS: (-1.5, 1.4, 1.5, 6.7),
    Category.SKIRTS: (-1.75, 1.4, 1.75, 6.3),
    Category.DRESSES: (-2.2, -0.5, 2.2, 6.3),
    Category.COATS: (-2.3, -0.5, 2.3, 5.5),
    Category.SHOES: (-0.85, 4.8, 1.4, 6.7),
    Category.BAGS: (0.85, 2.7, 2.45, 4.6),
    Category.HATS: (-1.15, -2.0, 1.15, -0.4),
}
_PX_PER_HEAD: dict[Category, float] = {
    Category.TOPS: 190,
    Category.PANTS: 190,
    Category.SKIRTS: 210,
    Category.DRESSES: 170,
    Category.COATS: 180,
    Category.SHOES: 330,
    Category.BAGS: 430,
    Category.HATS: 430,
}


def product_shot(design: Design, randomness: random.Random) -> Image.Image:
    """Returns the picture of a product, `WIDTH_PX` wide."""
    left, top, right, bottom = _FRAMES[design.category]
    scale = _PX_PER_HEAD[design.category]
    size = (round((right - left) * scale), round((bottom - top) * scale))
    image = Image.new("RGB", size, _WHITE)
    canvas = Canvas(image, (-left * scale, -top * scale), scale, randomness)
    canvas.tag = 1
    DRAW[design.category](canvas, mannequin(), design)
    box = canvas.visible(1)
    if box is None:
        raise AssertionError(f"nothing was drawn for {design.category}")
    light = blend(LIGHTS[design.season], _WHITE, _LAMP)
    return _photographed(image.crop(box), light, randomness)


def _photographed(
    cut_out: Image.Image, light: Colour, randomness: random.Random
) -> Image.Image:
    """Lays a cut-out on a white page, a little turned, in some light."""
    # Neither very wide nor very tall, as catalogues have it.
    margin = randomness.uniform(1.1, 1.25)
    width = round(margin * max(cut_out.width, cut_out.height / 1.4))
    height = round(max(margin * cut_out.height, width * 0.8))
    page = Image.new("RGB", (width, height), _WHITE)
    page.paste(cut_out, ((width - cut_out.width) // 2, (height - cut_out.height) // 2))
    turn = randomness.uniform(-5.0, 5.0)
    page = page.rotate(turn, Image.Resampling.NEAREST, fillcolor=_WHITE)
    size = (WIDTH_PX, round(height * WIDTH_PX / width))
    page = page.resize(size, Image.Resampling.BILINEAR)
    exposure = randomness.uniform(0.96, 1.0)
    gains = [exposure * channel / 255 for channel in light]
    return page.point([round(value * gain) for gain in gains for value in range(256)])
