"""A scene: a person in an outfit in a place, and the box of each garment."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from examples.lookbook.backdrop import draw_backdrop
from examples.lookbook.body import GROUND, HEAD_TOP, Body, posed
from examples.lookbook.canvas import SUPERSAMPLE, Canvas
from examples.lookbook.design import Category, Design
from examples.lookbook.person import (
    draw_back_hair,
    draw_hands,
    draw_head,
    draw_skin,
    someone,
)
from examples.lookbook.shot import DRAW, WIDTH_PX
from examples.lookbook.styles import LIGHTS, Colour, Look

# A garment of which less can be seen than this share of the picture gets no box.
_MIN_VISIBLE = 0.003
_BELOW_HANDS = (
    Category.SHOES,
    Category.PANTS,
    Category.SKIRTS,
    Category.DRESSES,
    Category.TOPS,
    Category.COATS,
)
NormalisedBox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Framing:
    """How a picture is cut: its height, the figure's share of it and its place."""

    height_px: int
    figure_share: float
    centre: float
    above: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and, for each garment of the outfit, its box where it has one."""

    image: Image.Image
    boxes: tuple[NormalisedBox | None, ...]


def draw_scene(outfit: Sequence[Design], look: Look, rnd: random.Random) -> Scene:
    """Draws a person in an outfit; the place and the light follow the look."""
    framing = _framing(rnd)
    size = (WIDTH_PX, framing.height_px)
    px_per_head = framing.figure_share * framing.height_px / (GROUND - HEAD_TOP)
    origin = (
        framing.centre * WIDTH_PX,
        framing.above * framing.height_px - HEAD_TOP * px_per_head,
    )
    place = draw_backdrop(size, origin, px_per_head, look, rnd)
    # Drawn at its final size and stretched, the place is a little out of focus.
    page = place.resize(
        (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE), Image.Resampling.BILINEAR
    )
    canvas = Canvas(
        page,
        (origin[0] * SUPERSAMPLE, origin[1] * SUPERSAMPLE),
        px_per_head * SUPERSAMPLE,
        rnd,
    )
    _draw_figure(canvas, outfit, posed(rnd), rnd)
    boxes = _boxes(canvas, len(outfit))
    image = canvas.image.reduce(SUPERSAMPLE)
    return Scene(_lit(image, LIGHTS[look.season], rnd), boxes)


def _framing(rnd: random.Random) -> Framing:
    """Draws a framing: mostly a tall full figure, now and then close or wide."""
    kind = rnd.random()
    centre = 0.5 + rnd.choice((-1, 1)) * rnd.uniform(0.0, 0.13)
    if kind < 0.10:
        centre = rnd.choice((0.25, 0.3, 0.7, 0.75))
        return Framing(rnd.choice((267, 300)), rnd.uniform(0.86, 0.92), centre, 0.05)
    if kind < 0.20:
        return Framing(600, rnd.uniform(1.0, 1.15), centre, rnd.uniform(0.05, 0.09))
    height_px = rnd.choice((600, 600, 600, 566, 533, 500))
    return Framing(height_px, rnd.uniform(0.76, 0.87), centre, rnd.uniform(0.05, 0.1))


def _draw_figure(
    canvas: Canvas, outfit: Sequence[Design], body: Body, rnd: random.Random
) -> None:
    """Draws a person and the outfit; garment number n owns the tag n + 1."""
    person = someone(rnd)
    tags = {design.category: tag for tag, design in enumerate(outfit, start=1)}

    def put_on(category: Category) -> None:
        if category in tags:
            canvas.tag = tags[category]
            DRAW[category](canvas, body, outfit[canvas.tag - 1])
            canvas.tag = 0

    draw_back_hair(canvas, body, person)
    draw_skin(canvas, body, person)
    for category in _BELOW_HANDS:
        put_on(category)
    put_on(Category.BAGS)
    draw_hands(canvas, body, person)
    draw_head(canvas, body, person)
    put_on(Category.HATS)


def _boxes(canvas: Canvas, count: int) -> tuple[NormalisedBox | None, ...]:
    """Returns the box of every garment of which enough can be seen."""
    width, height = canvas.image.size
    seen_px = canvas.seen_px()
    boxes: list[NormalisedBox | None] = []
    for tag in range(1, count + 1):
        box = canvas.visible(tag)
        if box is None or seen_px[tag] < _MIN_VISIBLE * width * height:
            boxes.append(None)
            continue
        left, top, right, bottom = box
        boxes.append((left / width, top / height, right / width, bottom / height))
    return tuple(boxes)


def _lit(image: Image.Image, light: Colour, rnd: random.Random) -> Image.Image:
    """Returns the picture in the light of a season, brighter or dimmer by chance."""
    exposure = rnd.uniform(0.86, 1.04)
    table: list[int] = []
    for channel in light:
        gain = exposure * channel / 255
        table += [min(255, round(value * gain)) for value in range(256)]
    return image.point(table)
