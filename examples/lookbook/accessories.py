"""Shoes, bags and hats: one function for each, hung on the joints of a body."""

from collections.abc import Sequence

from examples.lookbook.body import Body
from examples.lookbook.canvas import Canvas
from examples.lookbook.design import Design
from examples.lookbook.geometry import Point, curve, ellipse, rounded, shift
from examples.lookbook.styles import Formality, Season, darker
from examples.lookbook.trims import draw_trim

_SOLE = (238, 234, 226)
_DARK_SOLE = (52, 42, 38)


def draw_shoes(canvas: Canvas, body: Body, design: Design) -> None:
    """Draws a pair of sneakers, boots or heels, seen from the side."""
    draw_one = {
        Formality.CASUAL: _draw_sneaker,
        Formality.SMART: _draw_boot,
        Formality.DRESSY: _draw_heel,
    }[design.formality]
    for ankle, toe in zip(body.ankles, body.toes, strict=True):
        draw_one(canvas, ankle, toe, design)


def draw_bag(canvas: Canvas, body: Body, design: Design) -> None:
    """Draws a tote, a satchel or a clutch in the hand on the right."""
    hand = shift(body.wrists[1], 0.02, 0.3)
    if design.formality is Formality.DRESSY:
        _draw_clutch(canvas, hand, design)
    elif design.formality is Formality.SMART:
        _draw_satchel(canvas, hand, design)
    else:
        _draw_tote(canvas, hand, design)


def draw_hat(canvas: Canvas, body: Body, design: Design) -> None:
    """Draws a beanie, a cap, a fedora or a wide brim on the head."""
    head = body.head
    if design.season is Season.WINTER and design.formality is not Formality.DRESSY:
        _draw_beanie(canvas, head, design)
    elif design.formality is Formality.CASUAL:
        _draw_cap(canvas, head, design)
    else:
        wide = design.formality is Formality.DRESSY
        _draw_brim(canvas, head, design, 1.02 if wide else 0.74)


def _placed(points: Sequence[Point], at: Point, side: int) -> list[Point]:
    return [shift(at, side * x, y) for x, y in points]


def _draw_sneaker(canvas: Canvas, ankle: Point, toe: int, design: Design) -> None:
    sole = [(-0.26, 0.24), (0.74, 0.24), (0.76, 0.36), (-0.26, 0.36)]
    upper = [(-0.22, -0.14), (0.16, -0.14), (0.3, 0.0), (0.66, 0.1), (0.74, 0.26)]
    upper = rounded([*upper, (0.74, 0.26), (-0.26, 0.26), (-0.26, 0.26)])
    canvas.fill(_placed(upper, ankle, toe), design.fabric)
    cap = rounded([(0.5, 0.26), (0.52, 0.08), (0.7, 0.1), (0.76, 0.27)])
    canvas.fill(_placed(cap, ankle, toe), design.trim_colour)
    canvas.fill(_placed(rounded(sole, 1), ankle, toe), _SOLE)
    for x, y in ((0.16, -0.06), (0.26, 0.0), (0.36, 0.05)):
        lace = _placed([(x, y), (x - 0.1, y + 0.1)], ankle, toe)
        canvas.line(lace, (250, 250, 250), 0.04)
    collar = _placed([(-0.2, -0.1), (0.14, -0.1)], ankle, toe)
    draw_trim(canvas, collar, design.trim, design.trim_colour, 0.5)


def _draw_boot(canvas: Canvas, ankle: Point, toe: int, design: Design) -> None:
    shaft = -0.35 - 0.75 * design.length
    upper = [(-0.24, shaft), (-0.24, shaft), (0.22, shaft), (0.22, shaft)]
    upper += [(0.2, -0.02), (0.62, 0.1), (0.72, 0.28), (0.72, 0.28)]
    upper += [(-0.26, 0.28), (-0.26, 0.28), (-0.2, 0.0)]
    canvas.fill(_placed(rounded(upper, 1), ankle, toe), design.fabric, folds=2)
    sole = [(-0.28, 0.25), (0.74, 0.25), (0.74, 0.34), (0.0, 0.34), (-0.02, 0.42)]
    canvas.fill(_placed([*sole, (-0.28, 0.42)], ankle, toe), _DARK_SOLE)
    for height in (0.06, -0.08, -0.22):
        lace = _placed([(0.04, height), (0.24, height + 0.05)], ankle, toe)
        canvas.line(lace, design.trim_colour, 0.04)
    cuff = _placed([(-0.24, shaft + 0.1), (0.22, shaft + 0.1)], ankle, toe)
    draw_trim(canvas, cuff, design.trim, design.trim_colour, 0.6)


def _draw_heel(canvas: Canvas, ankle: Point, toe: int, design: Design) -> None:
    upper = [(-0.26, -0.2), (-0.1, -0.2), (0.06, 0.02), (0.34, 0.06), (0.52, 0.1)]
    upper += [(0.8, 0.3), (0.84, 0.38), (0.42, 0.38), (0.06, 0.24), (-0.24, 0.1)]
    stiletto = [(-0.26, 0.0), (-0.04, 0.14), (-0.13, 0.44), (-0.22, 0.44)]
    canvas.fill(_placed(stiletto, ankle, toe), darker(design.fabric.base, 0.3))
    canvas.fill(_placed(rounded(upper, 1), ankle, toe), design.fabric)
    strap = curve([(-0.18, -0.08), (0.0, -0.18), (0.16, -0.1), (0.1, 0.06)])
    canvas.line(_placed(strap, ankle, toe), design.trim_colour, 0.06)
    vamp = _placed([(0.26, 0.14), (0.56, 0.2)], ankle, toe)
    draw_trim(canvas, vamp, design.trim, design.trim_colour, 0.45)


def _draw_tote(canvas: Canvas, hand: Point, design: Design) -> None:
    for dx in (-0.05, 0.05):
        arch = curve([(-0.3, 0.5), (-0.22 + dx, -0.1), (0.22 + dx, -0.1), (0.3, 0.5)])
        canvas.line(_placed(arch, hand, 1), darker(design.lining, 0.2), 0.06)
    sack = [(-0.52, 0.45), (0.52, 0.45), (0.58, 1.35), (-0.58, 1.35)]
    canvas.fill(_placed(rounded(sack, 2, 0.1), hand, 1), design.fabric, folds=4)
    edge = _placed([(-0.46, 0.6), (0.46, 0.6)], hand, 1)
    draw_trim(canvas, edge, design.trim, design.trim_colour, 0.8)


def _draw_satchel(canvas: Canvas, hand: Point, design: Design) -> None:
    arch = curve([(-0.3, 0.4), (-0.3, -0.08), (0.3, -0.08), (0.3, 0.4)])
    canvas.line(_placed(arch, hand, 1), design.lining, 0.1)
    sack = [(-0.48, 0.36), (0.48, 0.36), (0.62, 1.05), (-0.62, 1.05)]
    canvas.fill(_placed(rounded(sack, 2, 0.1), hand, 1), design.fabric, folds=1)
    flap = [(-0.5, 0.34), (0.5, 0.34), (0.52, 0.62), (0.0, 0.78), (-0.52, 0.62)]
    canvas.fill(_placed(flap, hand, 1), design.lining)
    draw_trim(canvas, _placed(flap[2:], hand, 1), design.trim, design.trim_colour, 0.7)
    clasp = ellipse(shift(hand, 0.0, 0.74), 0.09, 0.07)
    canvas.fill(clasp, (214, 180, 96))


def _draw_clutch(canvas: Canvas, hand: Point, design: Design) -> None:
    purse = [(-0.55, -0.02), (0.55, -0.02), (0.55, 0.55), (-0.55, 0.55)]
    canvas.fill(_placed(rounded(purse, 2, 0.08), hand, 1), design.fabric)
    flap = curve([(-0.52, 0.02), (0.0, 0.42), (0.52, 0.02)])
    canvas.line(_placed(flap, hand, 1), darker(design.fabric.base, 0.4), 0.04)
    draw_trim(canvas, _placed(flap, hand, 1), design.trim, design.trim_colour, 0.6)
    canvas.fill(ellipse(shift(hand, 0.0, 0.3), 0.08, 0.08), (222, 190, 110))


def _draw_beanie(canvas: Canvas, head: Point, design: Design) -> None:
    dome = [(-0.47, -0.2), (-0.5, -0.65), (-0.2, -0.92), (0.2, -0.92), (0.5, -0.65)]
    canvas.fill(
        _placed(rounded([*dome, (0.47, -0.2)]), head, 1), design.fabric, folds=3
    )
    fold = [(-0.52, -0.42), (0.52, -0.42), (0.5, -0.16), (-0.5, -0.16)]
    canvas.fill(_placed(rounded(fold, 2, 0.1), head, 1), design.lining, folds=5)
    edge = _placed([(-0.5, -0.42), (0.5, -0.42)], head, 1)
    draw_trim(canvas, edge, design.trim, design.trim_colour, 0.6)
    canvas.fill(
        ellipse(shift(head, 0.0, -0.95), 0.17, 0.16), design.trim_colour, folds=4
    )


def _draw_cap(canvas: Canvas, head: Point, design: Design) -> None:
    dome = [(-0.47, -0.28), (-0.5, -0.62), (-0.2, -0.86), (0.2, -0.86), (0.5, -0.62)]
    canvas.fill(_placed(rounded([*dome, (0.47, -0.28)]), head, 1), design.fabric)
    peak = [(-0.46, -0.38), (0.46, -0.38), (0.56, -0.2), (0.0, -0.08), (-0.56, -0.2)]
    canvas.fill(_placed(rounded(peak, 2, 0.15), head, 1), design.lining)
    edge = _placed([(-0.44, -0.36), (0.44, -0.36)], head, 1)
    draw_trim(canvas, edge, design.trim, design.trim_colour, 0.6)
    canvas.disc(shift(head, 0.0, -0.82), 0.05, design.trim_colour)


def _draw_brim(canvas: Canvas, head: Point, design: Design, reach: float) -> None:
    brim = ellipse(shift(head, 0.0, -0.33), reach, 0.17 + 0.05 * reach)
    canvas.fill(brim, design.fabric)
    crown = [(-0.47, -0.36), (-0.42, -0.86), (-0.1, -0.98), (0.1, -0.9), (0.42, -0.86)]
    canvas.fill(_placed(rounded([*crown, (0.47, -0.36)]), head, 1), design.fabric)
    band = [(-0.47, -0.54), (0.47, -0.54), (0.48, -0.36), (-0.48, -0.36)]
    canvas.fill(_placed(band, head, 1), design.lining)
    edge = _placed([(-0.46, -0.42), (0.46, -0.42)], head, 1)
    draw_trim(canvas, edge, design.trim, design.trim_colour, 0.6)
