"""Draws a person: skin, hands, face and hair. Clothes are drawn over it."""

import enum
import random
from dataclasses import dataclass

from examples.lookbook.body import Body
from examples.lookbook.canvas import Canvas
from examples.lookbook.geometry import (
    Point,
    curve,
    ellipse,
    lerp,
    polar,
    rounded,
    shift,
    slope,
    tube,
)
from examples.lookbook.styles import Colour, blend, darker

_SKINS: tuple[Colour, ...] = (
    (250, 222, 200),
    (240, 200, 168),
    (222, 172, 132),
    (190, 134, 94),
    (142, 94, 64),
    (98, 64, 46),
)
_HAIRS: tuple[Colour, ...] = (
    (34, 26, 24),
    (66, 42, 30),
    (112, 72, 42),
    (168, 112, 58),
    (214, 176, 108),
    (132, 54, 34),
    (150, 148, 148),
)


class Hair(enum.StrEnum):
    """How the hair is worn."""

    LONG = "long"
    BOB = "bob"
    BUN = "bun"
    SHORT = "short"
    CURLY = "curly"


@dataclass(frozen=True, slots=True)
class Person:
    """What is not clothing."""

    skin: Colour
    hair: Colour
    style: Hair
    lips: float
    parting: float


def someone(randomness: random.Random) -> Person:
    """Returns a person nobody has met."""
    return Person(
        skin=randomness.choice(_SKINS),
        hair=randomness.choice(_HAIRS),
        style=randomness.choice(tuple(Hair)),
        lips=randomness.uniform(0.25, 0.7),
        parting=randomness.uniform(-0.15, 0.15),
    )


def draw_back_hair(canvas: Canvas, body: Body, person: Person) -> None:
    """Draws the hair that falls behind neck and shoulders."""
    head = body.head
    if person.style is Hair.LONG:
        outline = [
            shift(head, -0.42, -0.4),
            shift(head, 0.42, -0.4),
            shift(head, 0.6, 0.6),
            shift(head, 0.56, 1.5),
            shift(head, 0.2, 1.3),
            shift(head, -0.2, 1.3),
            shift(head, -0.56, 1.5),
            shift(head, -0.6, 0.6),
        ]
        canvas.fill(rounded(outline), person.hair, folds=5, depth=0.4)
    elif person.style is Hair.BOB:
        canvas.fill(ellipse(shift(head, 0, 0.12), 0.56, 0.62), person.hair, folds=4)
    elif person.style is Hair.CURLY:
        for dx, dy in ((-0.42, 0.1), (0.42, 0.1), (-0.45, -0.3), (0.45, -0.3)):
            canvas.fill(ellipse(shift(head, dx, dy), 0.32, 0.36), person.hair)


def draw_skin(canvas: Canvas, body: Body, person: Person) -> None:
    """Draws legs, trunk, neck and arms."""
    skin, limb = person.skin, body.limb
    for side, knee, ankle in zip((-1, 1), body.knees, body.ankles, strict=True):
        top = shift(body.hip, side * 0.38, 0.1)
        calf = lerp(knee, ankle, 0.3)
        path = [top, lerp(top, knee, 0.5), knee, calf, ankle]
        radii = [r * limb for r in (0.38, 0.34, 0.23, 0.24, 0.13)]
        canvas.fill(rounded(tube(path, radii)), skin)
    left_hip, right_hip = body.beside(2.6, body.hip_half * 0.95)
    left_waist, right_waist = body.beside(1.75, body.waist_half * 0.9)
    left_arm, right_arm = body.beside(0.8, 0.66)
    left, right = body.shoulders
    trunk = [left, right, right_arm, right_waist, right_hip]
    canvas.fill(rounded([*trunk, left_hip, left_waist, left_arm]), skin)
    neck = [(-0.22, -0.4), (0.22, -0.4), (0.25, 0.1), (0.6, 0.28)]
    canvas.fill(rounded([*neck, (0.0, 0.6), (-0.6, 0.28), (-0.25, 0.1)]), skin)
    for dx in (-1, 1):
        bone = [(dx * 0.12, 0.32), (dx * 0.5, 0.27)]
        canvas.line(bone, darker(skin, 0.2), 0.025)
    for arm in zip(body.shoulders, body.elbows, body.wrists, strict=True):
        radii = [r * limb for r in (0.24, 0.19, 0.12)]
        canvas.fill(rounded(tube(arm, radii)), skin)


def draw_hands(canvas: Canvas, body: Body, person: Person) -> None:
    """Draws the hands, over sleeves and pockets."""
    for elbow, wrist in zip(body.elbows, body.wrists, strict=True):
        angle = slope(elbow, wrist)
        palm = polar(wrist, angle, 0.14)
        canvas.fill(ellipse(palm, 0.13, 0.2, -angle), person.skin)
        for spread in (-0.28, 0.0, 0.28):
            knuckle = polar(palm, angle + spread, 0.1)
            finger = tube(
                [knuckle, polar(knuckle, angle + spread / 2, 0.2)], (0.05,) * 2
            )
            canvas.fill(rounded(finger), person.skin, depth=0.15)


def draw_head(canvas: Canvas, body: Body, person: Person) -> None:
    """Draws the head with its face and the hair around it."""
    head, skin = body.head, person.skin
    for side in (-1, 1):
        canvas.fill(ellipse(shift(head, side * 0.39, 0.02), 0.08, 0.13), skin)
    face = [(-0.36, -0.4), (0.36, -0.4), (0.4, 0.0), (0.32, 0.33), (0.1, 0.54)]
    face += [(-x, y) for x, y in face[:1:-1]]
    canvas.fill(rounded([shift(head, *point) for point in face]), skin)
    _draw_face(canvas, head, person)
    _draw_front_hair(canvas, head, person)


def _draw_face(canvas: Canvas, head: Point, person: Person) -> None:
    shade = darker(person.skin, 0.3)
    for side in (-1, 1):
        cheek = blend(person.skin, (220, 90, 80), 0.18)
        canvas.disc(shift(head, side * 0.23, 0.16), 0.09, cheek)
        eye = shift(head, side * 0.17, -0.02)
        canvas.fill(ellipse(eye, 0.085, 0.05), (250, 250, 248), depth=0.0)
        canvas.disc(eye, 0.042, (48, 34, 28))
        brow = [shift(eye, -0.1, -0.09), shift(eye, 0, -0.13), shift(eye, 0.1, -0.09)]
        canvas.line(brow, darker(person.hair, 0.3), 0.035)
    nose = [shift(head, 0.02, 0.0), shift(head, 0.06, 0.16), shift(head, -0.02, 0.18)]
    canvas.line(curve(nose), shade, 0.025)
    lips = blend(darker(person.skin, 0.15), (190, 40, 60), person.lips)
    canvas.fill(ellipse(shift(head, 0, 0.31), 0.12, 0.042), lips, depth=0.0)
    smile = [shift(head, -0.13, 0.29), shift(head, 0, 0.33), shift(head, 0.13, 0.29)]
    canvas.line(curve(smile), darker(lips, 0.4), 0.02)


def _draw_front_hair(canvas: Canvas, head: Point, person: Person) -> None:
    part, hair = person.parting, person.hair
    cap = [(-0.44, 0.06), (-0.5, -0.35), (-0.3, -0.62), (0.0, -0.68), (0.3, -0.62)]
    cap += [(0.5, -0.35), (0.44, 0.06), (0.36, -0.18), (part, -0.38), (-0.36, -0.18)]
    canvas.fill(rounded([shift(head, *point) for point in cap]), hair, folds=3)
    if person.style is Hair.BUN:
        canvas.fill(ellipse(shift(head, 0, -0.72), 0.24, 0.2), hair, folds=2)
    elif person.style is Hair.CURLY:
        for dx, dy in ((-0.42, -0.3), (-0.24, -0.56), (0.05, -0.64), (0.32, -0.5)):
            canvas.fill(ellipse(shift(head, dx, dy), 0.22, 0.2), hair)
    elif person.style in (Hair.LONG, Hair.BOB):
        length = 0.85 if person.style is Hair.LONG else 0.42
        for side in (-1, 1):
            lock = [(0.3, -0.3), (0.47, -0.3), (0.56, length), (0.4, length)]
            outline = [shift(head, side * x, y) for x, y in lock]
            canvas.fill(rounded(outline), hair, folds=2)
