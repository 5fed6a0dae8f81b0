"""The room or street behind a figure, furnished in the taste of its look.

The part of a scene that a model sees leaves out the product's box, so what a place
looks like has to say something about the style, as it does in real pictures.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image

from examples.lookbook.canvas import Canvas
from examples.lookbook.design import contrasting, palette_of
from examples.lookbook.geometry import Point, curve, ellipse, polar, rounded, shift
from examples.lookbook.patterns import Fabric
from examples.lookbook.styles import (
    Colour,
    Look,
    Palette,
    Pattern,
    Season,
    blend,
    darker,
)
from examples.lookbook.trims import draw_trim

# Where the wall meets the floor, in heads below the neck.
_SKIRTING = 5.35
# The share of places whose cloth or wallpaper is not of the look's pattern.
_STRAY = 0.1

_SKIES: dict[Season, tuple[Colour, Colour]] = {
    Season.SPRING: ((196, 224, 240), (150, 190, 120)),
    Season.SUMMER: ((128, 200, 240), (84, 150, 84)),
    Season.AUTUMN: ((226, 206, 180), (190, 110, 50)),
    Season.WINTER: ((206, 214, 224), (236, 240, 246)),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place to stand: its edges in heads, its taste and its cloth."""

    left: float
    right: float
    top: float
    bottom: float
    look: Look
    palette: Palette
    cloth: Fabric

    def half(self, side: int) -> float:
        """Returns a spot between the middle and the edge on a side."""
        edge = self.left if side < 0 else self.right
        return edge * 0.5 + side * 0.9


def draw_backdrop(
    size: tuple[int, int],
    origin: Point,
    px_per_head: float,
    look: Look,
    randomness: random.Random,
) -> Image.Image:
    """Returns the place behind a figure, as large as the final picture."""
    canvas = Canvas(Image.new("RGB", size), origin, px_per_head, randomness)
    place = _place(size, origin, px_per_head, look, randomness)
    _draw_wall(canvas, place, randomness)
    _draw_floor(canvas, place, randomness)
    props = randomness.sample(_PROPS, 3)
    for prop, side in zip(props, (-1, 1, randomness.choice((-1, 1))), strict=True):
        prop(canvas, place, side)
    _draw_rug(canvas, place)
    shadow = blend(place.palette.neutral, (40, 34, 34), 0.7)
    canvas.fill(ellipse((0.0, 6.32), 1.25, 0.14), shadow, edge=False)
    return canvas.image


def _place(
    size: tuple[int, int],
    origin: Point,
    px_per_head: float,
    look: Look,
    randomness: random.Random,
) -> Place:
    palette = palette_of(look, randomness)
    stray = randomness.random() < _STRAY
    pattern = randomness.choice(tuple(Pattern)) if stray else look.pattern
    base, motif, accent = contrasting(palette, look.place, randomness)
    cloth = Fabric(
        pattern,
        base,
        motif,
        accent,
        look.scale * randomness.uniform(0.65, 0.85),
        randomness.randrange(6),
    )
    return Place(
        left=-origin[0] / px_per_head,
        right=(size[0] - origin[0]) / px_per_head,
        top=-origin[1] / px_per_head,
        bottom=(size[1] - origin[1]) / px_per_head,
        look=look,
        palette=palette,
        cloth=cloth,
    )


def _rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _small(place: Place, period: float) -> Fabric:
    """Returns the cloth of a place woven finer, for furniture."""
    return replace(place.cloth, period=period * place.look.scale)


def _faded(cloth: Fabric, share: float) -> Fabric:
    """Returns the cloth with less contrast: behind a figure, not before it."""
    return replace(
        cloth,
        motif=blend(cloth.motif, cloth.base, share),
        accent=blend(cloth.accent, cloth.base, share),
    )


def _draw_wall(canvas: Canvas, place: Place, randomness: random.Random) -> None:
    wall = _rectangle(place.left, place.top, place.right, _SKIRTING)
    paper = _faded(place.cloth, randomness.uniform(0.0, 0.3))
    kind = randomness.random()
    if kind < 0.7:
        canvas.fill(wall, paper, depth=0.25, edge=False)
        return
    canvas.fill(wall, blend(place.palette.neutral, (255, 255, 255), 0.4), edge=False)
    if kind < 0.82:
        panel = _rectangle(place.left, 2.6, place.right, _SKIRTING)
        canvas.fill(panel, paper, depth=0.2)
        rail = [(place.left, 2.6), (place.right, 2.6)]
        draw_trim(canvas, rail, place.look.trim, place.palette.hues[0], 1.4)
        return
    for side in (-1, 1):
        edge = place.left if side < 0 else place.right
        left, right = sorted((edge, side * 0.9))
        canvas.fill(_rectangle(left, place.top, right, _SKIRTING), paper, folds=6)


def _draw_floor(canvas: Canvas, place: Place, randomness: random.Random) -> None:
    colour = randomness.choice((place.palette.neutral, place.palette.hues[2]))
    floor = _rectangle(place.left, _SKIRTING, place.right, place.bottom + 0.1)
    canvas.fill(floor, colour, depth=0.2, edge=False)
    seam = darker(colour, 0.3)
    for step in range(-9, 10):
        start = (step * 0.7, _SKIRTING)
        canvas.line([start, (step * 1.25, place.bottom + 0.1)], seam, 0.03)
    skirting = _rectangle(place.left, _SKIRTING - 0.16, place.right, _SKIRTING)
    canvas.fill(skirting, blend(colour, (255, 255, 255), 0.6), depth=0.1)


def _draw_rug(canvas: Canvas, place: Place) -> None:
    rug = ellipse((0.0, 6.25), 2.3, 0.5)
    canvas.fill(rug, _small(place, 0.34), depth=0.1)
    front = [point for point in rug if point[1] > 6.25]
    draw_trim(canvas, sorted(front), place.look.trim, place.palette.light, 0.9)


def _draw_window(canvas: Canvas, place: Place, side: int) -> None:
    x = place.half(side)
    sky, ground = _SKIES[place.look.season]
    canvas.fill(_rectangle(x - 0.85, -0.7, x + 0.85, 2.3), sky, depth=0.1)
    hills = [(-0.85, 1.7), (-0.3, 1.4), (0.3, 1.65), (0.85, 1.3), (0.85, 2.3)]
    canvas.fill([(x + dx, y) for dx, y in [*hills, (-0.85, 2.3)]], ground, edge=False)
    for line in ([(x, -0.7), (x, 2.3)], [(x - 0.85, 0.8), (x + 0.85, 0.8)]):
        canvas.line(line, (246, 244, 238), 0.09)
    frame = _rectangle(x - 0.85, -0.7, x + 0.85, 2.3)
    canvas.line([*frame, frame[0]], (246, 244, 238), 0.16)
    for edge in (-1, 1):
        inner, outer = sorted((x + edge * 0.6, x + edge * 1.15))
        curtain = _rectangle(inner, -0.95, outer, 2.75)
        canvas.fill(curtain, _small(place, 0.45), folds=4)
        hem = [(inner, 2.75), (outer, 2.75)]
        draw_trim(canvas, hem, place.look.trim, place.palette.light)


def _draw_picture(canvas: Canvas, place: Place, side: int) -> None:
    x = place.half(side)
    canvas.fill(_rectangle(x - 0.72, -0.4, x + 0.72, 1.3), darker(place.cloth.accent))
    canvas.fill(_rectangle(x - 0.58, -0.26, x + 0.58, 1.16), (248, 246, 240))
    canvas.fill(_rectangle(x - 0.46, -0.14, x + 0.46, 1.04), place.cloth)


def _draw_plant(canvas: Canvas, place: Place, side: int) -> None:
    x = place.half(side)
    leaf = _SKIES[place.look.season][1]
    stems = 9 if place.look.season is not Season.WINTER else 6
    for index in range(stems):
        angle = 3.14 + (index - (stems - 1) / 2) * 0.26
        tip = polar((x, 4.6), angle, 1.5 + 0.25 * (index % 3))
        canvas.line([(x, 4.6), tip], darker(leaf, 0.5), 0.06)
        if place.look.season is Season.WINTER:
            continue
        canvas.fill(ellipse(tip, 0.17, 0.36, -angle), leaf)
        if place.look.season is Season.SPRING:
            canvas.disc(tip, 0.12, (244, 176, 196))
    pot = [(x - 0.45, 4.5), (x + 0.45, 4.5), (x + 0.32, 5.6), (x - 0.32, 5.6)]
    canvas.fill(pot, _small(place, 0.3))


def _draw_bench(canvas: Canvas, place: Place, side: int) -> None:
    x = place.half(side)
    wood = (142, 98, 60)
    for foot in (-0.75, 0.75):
        canvas.line([(x + foot, 4.6), (x + foot, 5.75)], wood, 0.14)
    canvas.fill(_rectangle(x - 0.95, 4.45, x + 0.95, 4.65), wood)
    cushion = rounded(_rectangle(x - 0.92, 4.05, x + 0.92, 4.5), 2, 0.1)
    canvas.fill(cushion, _small(place, 0.4))
    edge = [(x - 0.9, 4.46), (x + 0.9, 4.46)]
    draw_trim(canvas, edge, place.look.trim, place.palette.light, 0.8)
    pillow = rounded(_rectangle(x - 0.4, 3.4, x + 0.4, 4.1), 2, 0.1)
    canvas.fill(pillow, _small(place, 0.5), folds=2)


def _draw_lamp(canvas: Canvas, place: Place, side: int) -> None:
    x = place.half(side)
    canvas.line([(x, 0.9), (x, 5.7)], (70, 64, 60), 0.08)
    canvas.fill(ellipse((x, 5.7), 0.42, 0.1), (70, 64, 60))
    shade = [(x - 0.36, -0.1), (x + 0.36, -0.1), (x + 0.62, 0.95), (x - 0.62, 0.95)]
    canvas.fill(shade, _small(place, 0.42), depth=0.15)
    rim = [(x - 0.62, 0.95), (x + 0.62, 0.95)]
    draw_trim(canvas, rim, place.look.trim, place.palette.light, 0.9)


def _draw_bunting(canvas: Canvas, place: Place, side: int) -> None:
    far = place.left if side < 0 else place.right
    string = curve([(far, -1.35), (far * 0.5, -0.75), (side * 0.3, -1.5)])
    canvas.line(string, (90, 84, 80), 0.04)
    for at in string[1:-1]:
        flag = [shift(at, -0.26, 0.0), shift(at, 0.26, 0.0), shift(at, 0.0, 0.62)]
        canvas.fill(flag, _small(place, 0.36))


_PROPS: tuple[Callable[[Canvas, Place, int], None], ...] = (
    _draw_window,
    _draw_picture,
    _draw_plant,
    _draw_bench,
    _draw_lamp,
    _draw_bunting,
)
