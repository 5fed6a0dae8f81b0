"""A canvas in heads that shades what it fills and remembers who owns each pixel."""

import random
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw

from examples.lookbook.geometry import Point
from examples.lookbook.patterns import Fabric, cover, weave
from examples.lookbook.styles import Colour, darker

# Everything is drawn at twice its size and halved at the end: smooth edges for little.
SUPERSAMPLE = 2
# Shading is drawn coarser, averaged and stretched: soft folds without a blur.
_SHADE_STEP = 4
_SHADE_BLUR = 3
_THIN_PX = 4

Box = tuple[int, int, int, int]


class Canvas:
    """An RGB picture and, beside it, the tag of what was drawn last on each pixel.

    Attributes:
        image: The picture at `SUPERSAMPLE` times its final size.
        tag: The owner of what is drawn from now on; 0 is nobody.
        light: Where the light comes from, -1 (left) to 1 (right).
    """

    def __init__(
        self,
        image: Image.Image,
        origin: Point,
        px_per_head: float,
        randomness: random.Random,
    ) -> None:
        """Starts a drawing over `image`; `origin` is the pixel of point (0, 0)."""
        self.image = image
        self.tag = 0
        self.light = randomness.uniform(-1.0, 1.0)
        self._origin = origin
        self._scale = px_per_head
        self._random = randomness
        self._owners = Image.new("L", image.size)
        self._pen = ImageDraw.Draw(image)
        self._owner_pen = ImageDraw.Draw(self._owners)

    def fill(
        self,
        outline: Sequence[Point],
        paint: Fabric | Colour,
        *,
        angle: float = 0.0,
        folds: int = 0,
        depth: float = 0.3,
        edge: bool = True,
    ) -> None:
        """Fills an outline with a colour or cloth, shaded like something round.

        Args:
            outline: The polygon, in heads.
            paint: A colour, or the cloth to repeat over the shape.
            angle: By how much the cloth is turned, in radians.
            folds: How many soft folds run down the shape.
            depth: How dark the side away from the light becomes, 0..1.
            edge: Whether to draw the outline.
        """
        pixels = [self._pixel(point) for point in outline]
        left, top = (int(min(axis)) for axis in zip(*pixels, strict=True))
        right, bottom = (int(max(axis)) + 1 for axis in zip(*pixels, strict=True))
        size = (right - left, bottom - top)
        mask = Image.new("L", size)
        local = [(x - left, y - top) for x, y in pixels]
        ImageDraw.Draw(mask).polygon(local, fill=255)
        patch = self._patch(paint, size, angle)
        shade = self._shade(size, folds, depth)
        self.image.paste(ImageChops.multiply(patch, shade), (left, top), mask)
        self._owners.paste(self.tag, (left, top, right, bottom), mask)
        if edge:
            base = paint.base if isinstance(paint, Fabric) else paint
            self._stroke([*pixels, pixels[0]], darker(base, 0.55), 2)

    def line(self, path: Sequence[Point], colour: Colour, width: float = 0.03) -> None:
        """Draws an open path; the width is in heads."""
        pixels = [self._pixel(point) for point in path]
        self._stroke(pixels, colour, max(1, round(width * self._scale)))

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """Draws a small flat disc: a button, a stud, an eye."""
        x, y = self._pixel(centre)
        reach = max(1.0, radius * self._scale)
        box = (x - reach, y - reach, x + reach, y + reach)
        self._pen.ellipse(box, fill=colour)
        self._owner_pen.ellipse(box, fill=self.tag)

    def visible(self, tag: int) -> Box | None:
        """Returns the tight pixel box of what can still be seen of an owner."""
        return self._owners.point([int(value == tag) for value in range(256)]).getbbox()

    def seen_px(self) -> list[int]:
        """Returns how many pixels can still be seen of each owner."""
        return self._owners.histogram()

    def _pixel(self, point: Point) -> Point:
        return (
            self._origin[0] + point[0] * self._scale,
            self._origin[1] + point[1] * self._scale,
        )

    def _stroke(self, pixels: Sequence[Point], colour: Colour, width: int) -> None:
        # Joints cost more than the line and do not show on a thin one.
        joint = "curve" if width > _THIN_PX else None
        self._pen.line(pixels, colour, width, joint)
        self._owner_pen.line(pixels, self.tag, width)

    def _patch(
        self, paint: Fabric | Colour, size: tuple[int, int], angle: float
    ) -> Image.Image:
        if isinstance(paint, Fabric):
            return cover(weave(paint, self._scale), size, angle)
        return Image.new("RGB", size, paint)

    def _shade(self, size: tuple[int, int], folds: int, depth: float) -> Image.Image:
        """Returns the light on a round shape with soft folds, as an RGB factor."""
        across = []
        for step in range(9):
            away = abs((step - 4) / 4 - 0.5 * self.light)
            across.append(round(255 * (1.0 - depth * min(1.0, away**2 / 1.6))))
        coarse = tuple(max(2 * _SHADE_BLUR, side // _SHADE_STEP) for side in size)
        shade = Image.frombytes("L", (9, 1), bytes(across)).resize(
            (coarse[0], coarse[1]), Image.Resampling.BILINEAR
        )
        draw = ImageDraw.Draw(shade)
        for _ in range(folds):
            x = self._random.uniform(0.12, 0.88) * coarse[0]
            drift = self._random.uniform(-0.1, 0.1) * coarse[0]
            top = self._random.uniform(0.0, 0.55) * coarse[1]
            draw.line((x, top, x + drift, coarse[1]), round(255 * (0.86 - depth)), 2)
        shade = shade.reduce(_SHADE_BLUR)
        shade = shade.resize(size, Image.Resampling.BILINEAR)
        return Image.merge("RGB", (shade, shade, shade))
