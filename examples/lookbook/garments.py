"""Clothes: one function for each, cut around the joints of a body.

The same function draws the garment worn in a scene and alone in its catalogue
picture; only the body differs. Shoes, bags and hats are in `accessories`.
"""

from examples.lookbook.body import Body, Pair
from examples.lookbook.canvas import Canvas
from examples.lookbook.design import Design
from examples.lookbook.geometry import (
    Point,
    curve,
    ellipse,
    lerp,
    rounded,
    shift,
    slope,
    tube,
)
from examples.lookbook.styles import Formality, Season, darker
from examples.lookbook.trims import draw_trim

_SIDES = (-1, 1)


def draw_top(canvas: Canvas, body: Body, design: Design) -> None:
    """Draws a tee, shirt or blouse; the season sets the sleeves."""
    ease = 0.05 + 0.12 * design.flare
    hem = body.beside(2.4 + 0.45 * design.length, body.hip_half + ease)
    _draw_bodice(canvas, body, design, hem, ease)
    _draw_sleeves(canvas, body, design, 0.3, design.sleeve)
    _draw_collar(canvas, body, design)


def draw_dress(canvas: Canvas, body: Body, design: Design) -> None:
    """Draws a dress: a bodice and a skirt of one cloth."""
    ease = 0.03
    bottom = 3.5 + 2.1 * design.length
    hem = body.beside(bottom, body.hip_half + 0.15 + 0.75 * design.flare)
    _draw_bodice(canvas, body, design, hem, ease)
    left, right = body.beside(1.78, body.waist_half + ease + 0.02)
    belt = [shift(left, 0, -0.07), shift(right, 0, -0.07), shift(right, 0, 0.09)]
    canvas.fill([*belt, shift(left, 0, 0.09)], design.trim_colour)
    _draw_sleeves(canvas, body, design, 0.3, design.sleeve * 0.75)
    _draw_collar(canvas, body, design)


def draw_skirt(canvas: Canvas, body: Body, design: Design) -> None:
    """Draws a skirt: a pencil, an A-line or a full one."""
    bottom = 3.45 + 2.1 * design.length
    half = body.hip_half + 0.05 + 0.75 * design.flare
    top_left, top_right = body.beside(1.68, body.waist_half + 0.03)
    hip_left, hip_right = body.beside(2.45, body.hip_half + 0.06 + 0.15 * design.flare)
    left, right = body.beside(bottom, half)
    hem = _hem_curve((left, right))
    outline = [top_left, top_right, hip_right, *hem[::-1], hip_left]
    canvas.fill(outline, design.fabric, folds=4 + round(8 * design.flare))
    _draw_waistband(canvas, (top_left, top_right), design)
    draw_trim(canvas, hem, design.trim, design.trim_colour)


def draw_pants(canvas: Canvas, body: Body, design: Design) -> None:
    """Draws trousers: wide, straight or slim, cropped when the season is warm."""
    width = 0.19 + 0.26 * design.flare
    crop = 0.62 + 0.38 * min(1.0, design.length + 0.25)
    waist = body.beside(1.68, body.waist_half + 0.03)
    for side, knee, ankle in zip(_SIDES, body.knees, body.ankles, strict=True):
        end = lerp(knee, shift(ankle, 0.0, 0.12), crop)
        knee_half = max(0.3, width * 0.95)
        outline = [
            waist[0] if side < 0 else waist[1],
            (body.hip[0] + side * (body.hip_half + 0.04), 2.45),
            shift(knee, side * knee_half, 0.0),
            shift(end, side * width, 0.0),
            shift(end, side * width, 0.0),
            shift(end, -side * width, 0.0),
            shift(end, -side * width, 0.0),
            shift(knee, -side * knee_half, 0.0),
            (body.hip[0] - side * 0.03, 2.95),
            (body.axis(1.68) - side * 0.03, 1.68),
        ]
        turn = -slope(knee, end)
        canvas.fill(rounded(outline, 1), design.fabric, angle=turn, folds=4)
        crease = curve([(body.hip[0] + side * 0.36, 2.6), knee, shift(end, 0, -0.1)])
        if design.formality is Formality.SMART:
            canvas.line(crease, darker(design.fabric.base, 0.35), 0.03)
        hem = [shift(end, -width, 0.0), shift(end, width, 0.0)]
        draw_trim(canvas, hem, design.trim, design.trim_colour, 0.8)
    _draw_fly(canvas, body, design)
    _draw_waistband(canvas, waist, design)


def draw_coat(canvas: Canvas, body: Body, design: Design) -> None:
    """Draws an open coat or jacket over whatever is worn beneath it."""
    bottom = 2.55 + 2.3 * design.length
    ease = 0.14
    hem_half = body.hip_half + ease + 0.1 + 0.3 * design.flare
    for index, side in enumerate(_SIDES):
        shoulder = body.shoulders[index]
        waist = body.beside(1.75, body.waist_half + ease)[index]
        hip = body.beside(2.5, body.hip_half + ease)[index]
        outer = body.beside(bottom, hem_half)[index]
        inner = (body.axis(bottom) + side * body.gap, bottom + 0.04)
        front = (body.axis(1.75) + side * body.gap * 0.7, 1.75)
        edge = [inner, front, (side * body.gap * 0.7, 0.75), (side * 0.24, -0.06)]
        armpit = (shoulder[0] * 0.9, 0.9)
        cloth = [(shoulder[0] * 0.88, shoulder[1] - 0.12), armpit, waist, hip, outer]
        canvas.fill([*cloth, *edge], design.fabric, folds=3)
        draw_trim(canvas, [inner, outer], design.trim, design.trim_colour)
        _draw_pocket(canvas, body, design, side)
        _draw_lapel(canvas, design, side)
    _draw_sleeves(canvas, body, design, 0.34, max(0.9, design.sleeve))


def _draw_bodice(
    canvas: Canvas, body: Body, design: Design, hem: Pair, ease: float
) -> None:
    left, right = body.shoulders
    low = max(hem[0][1] - 0.02, 0.0)
    arm_left, arm_right = body.beside(0.85, 0.66 + ease)
    waist_left, waist_right = body.beside(1.75, body.waist_half + ease)
    sides_right = [(0.28, 0.02), shift(right, -0.1, -0.08), arm_right, waist_right]
    sides_left = [waist_left, arm_left, shift(left, 0.1, -0.08), (-0.28, 0.02)]
    if low > 3.0:
        hip_left, hip_right = body.beside(2.45, body.hip_half + 0.1)
        sides_right.append(hip_right)
        sides_left.insert(0, hip_left)
    if not body.worn:
        canvas.fill(ellipse((0.0, 0.05), 0.28, 0.12), darker(design.fabric.base, 0.4))
    hem_path = _hem_curve(hem)
    outline = [*sides_right, *hem_path[::-1], *sides_left, *_neckline(design)]
    canvas.fill(outline, design.fabric, folds=3 + round(6 * design.flare))
    draw_trim(canvas, hem_path, design.trim, design.trim_colour)


def _neckline(design: Design) -> list[Point]:
    if design.formality is Formality.DRESSY:
        return curve([(-0.28, 0.02), (-0.14, 0.72), (0.14, 0.72), (0.28, 0.02)])
    if design.formality is Formality.SMART:
        return [(-0.22, 0.05), (0.0, 0.42), (0.22, 0.05)]
    return curve([(-0.28, 0.02), (-0.2, 0.3), (0.2, 0.3), (0.28, 0.02)])


def _draw_collar(canvas: Canvas, body: Body, design: Design) -> None:
    colour, base = design.trim_colour, design.fabric.base
    if design.season is Season.WINTER and design.formality is not Formality.DRESSY:
        roll = [(-0.27, -0.22), (0.27, -0.22), (0.31, 0.2), (-0.31, 0.2)]
        canvas.fill(rounded(roll, 1), design.fabric, folds=3)
    elif design.formality is Formality.SMART:
        for side in _SIDES:
            wing = [(0.2, -0.06), (0.32, 0.0), (0.34, 0.42), (0.0, 0.36)]
            canvas.fill([(side * x, y) for x, y in wing], base)
        bottom = body.waist[1] + 0.5
        top, low = (0.0, 0.4), (body.axis(bottom), bottom)
        canvas.line([top, low], darker(base, 0.4), 0.03)
        for share in (0.08, 0.28, 0.48, 0.68, 0.88):
            canvas.disc(lerp(top, low, share), 0.05, colour)
    elif design.formality is Formality.DRESSY:
        canvas.line(_neckline(design), colour, 0.07)
    else:
        canvas.line(_neckline(design), colour, 0.11)


def _draw_sleeves(
    canvas: Canvas, body: Body, design: Design, radius: float, length: float
) -> None:
    """Draws sleeves down to a share of the arm; next to none is sleeveless."""
    if length < 0.1:
        return
    flare = 0.16 * design.flare
    for shoulder, elbow, wrist in zip(
        body.shoulders, body.elbows, body.wrists, strict=True
    ):
        # Set into the bodice, so that the seam does not stand off the shoulder.
        path = [
            (shoulder[0] * 0.62, shoulder[1] + 0.02),
            (shoulder[0] * 0.93, shoulder[1] + 0.16),
        ]
        radii = [radius * 0.75, radius]
        if length <= 0.5:
            path.append(lerp(shoulder, elbow, length * 2))
            radii.append(radius + flare)
        else:
            path += [elbow, lerp(elbow, wrist, length * 2 - 1)]
            radii += [radius * 0.9, radius * 0.68 + flare]
        turn = -slope(path[-2], path[-1])
        outline = tube(path, [r * body.limb for r in radii])
        # A doubled cuff keeps its corners; the shoulder is rounded.
        cuff = len(path) - 1
        outline[cuff : cuff + 2] = [outline[cuff]] * 2 + [outline[cuff + 1]] * 2
        canvas.fill(rounded(outline, 1), design.fabric, angle=turn, folds=2)
        hem = [outline[cuff], outline[cuff + 3]]
        draw_trim(canvas, hem, design.trim, design.trim_colour, 0.75)


def _draw_waistband(canvas: Canvas, waist: Pair, design: Design) -> None:
    left, right = waist
    band = [left, right, shift(right, 0.03, 0.2), shift(left, -0.03, 0.2)]
    canvas.fill(band, darker(design.fabric.base, 0.15))
    buckle = lerp(left, right, 0.5)
    canvas.disc(shift(buckle, 0.0, 0.1), 0.07, design.trim_colour)


def _draw_fly(canvas: Canvas, body: Body, design: Design) -> None:
    seam = darker(design.fabric.base, 0.45)
    top, crotch = (body.axis(1.8), 1.8), (body.hip[0], 2.9)
    canvas.line([top, crotch], seam, 0.03)
    for side in _SIDES:
        start = (body.axis(1.9) + side * 0.3, 1.9)
        canvas.line([start, (body.hip[0] + side * body.hip_half, 2.3)], seam, 0.03)


def _draw_lapel(canvas: Canvas, design: Design, side: int) -> None:
    if design.formality is Formality.SMART:
        lapel = [(0.22, -0.08), (0.5, 0.3), (0.42, 0.72), (0.2, 1.45), (0.16, 0.5)]
        canvas.fill([(side * x, y) for x, y in lapel], design.lining)
    elif design.formality is Formality.DRESSY:
        fur = ellipse((side * 0.34, 0.3), 0.2, 0.5, side * -0.35)
        canvas.fill(fur, design.trim_colour, folds=3)
    else:
        canvas.line([(side * 0.22, -0.05), (side * 0.22, 1.75)], design.lining, 0.1)
    for height in (1.5, 1.95):
        canvas.disc((side * 0.3, height), 0.06, design.trim_colour)


def _draw_pocket(canvas: Canvas, body: Body, design: Design, side: int) -> None:
    x = body.axis(2.1) + side * 0.55
    flap = [(x - 0.19, 2.05), (x + 0.19, 2.0), (x + 0.19, 2.16), (x - 0.19, 2.21)]
    canvas.fill(flap, darker(design.fabric.base, 0.2))


def _hem_curve(hem: Pair) -> list[Point]:
    """Returns the hem from left to right, a little lower in the middle."""
    left, right = hem
    low = left[1] + 0.12
    thirds = [(lerp(left, right, share)[0], low) for share in (0.3, 0.7)]
    return curve([left, *thirds, right])
