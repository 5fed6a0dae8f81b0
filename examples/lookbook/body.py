"""The joints of a standing figure, and the poses it takes."""

import random
from dataclasses import dataclass

from examples.lookbook.geometry import Point, polar, shift

# A figure from the top of the head to the ground, in heads; the neck is at (0, 0).
HEAD_TOP = -1.3
GROUND = 6.35

Pair = tuple[Point, Point]

# (left upper arm, left forearm, right upper arm, right forearm): outward angles in
# radians from straight down.
_ARMS: tuple[tuple[float, float, float, float], ...] = (
    (0.22, 0.06, 0.22, 0.06),
    (0.30, 0.16, 0.18, 0.02),
    (0.20, 0.05, 0.75, -0.75),
    (0.75, -0.75, 0.22, 0.10),
    (0.62, -0.45, 0.62, -0.45),
    (0.25, 0.10, 0.45, 0.95),
    (0.45, 0.90, 0.25, 0.05),
)


@dataclass(frozen=True, slots=True)
class Body:
    """Joints in heads; of each pair, the one on the viewer's left comes first.

    `toes` says where each foot points (-1 left, 1 right), `gap` is half the width by
    which a coat stands open, and unless the clothes are `worn` one sees into them.
    """

    head: Point
    neck: Point
    shoulders: Pair
    elbows: Pair
    wrists: Pair
    waist: Point
    hip: Point
    knees: Pair
    ankles: Pair
    toes: tuple[int, int]
    waist_half: float
    hip_half: float
    limb: float
    gap: float
    worn: bool

    def axis(self, y: float) -> float:
        """Returns where the middle of the trunk is at a height."""
        share = (y - self.neck[1]) / (self.hip[1] - self.neck[1])
        return self.neck[0] + (self.hip[0] - self.neck[0]) * min(max(share, 0.0), 1.0)

    def beside(self, y: float, half_width: float) -> Pair:
        """Returns the two points of a symmetric trunk outline at a height."""
        middle = self.axis(y)
        return ((middle - half_width, y), (middle + half_width, y))


def posed(randomness: random.Random) -> Body:
    """Returns a figure with its own proportions in a pose of its own."""
    shoulder = randomness.uniform(0.78, 0.98)
    sway = randomness.uniform(-0.16, 0.16)
    tilt = sway * 0.35
    hip = (sway, 2.45)
    neck = (0.0, 0.0)
    shoulders = ((-shoulder, 0.3 - tilt), (shoulder, 0.3 + tilt))
    elbows, wrists = _arms(shoulders, randomness)
    ankles, knees = _legs(hip, randomness)
    hip_half = randomness.uniform(0.66, 0.8)
    return Body(
        head=(randomness.uniform(-0.06, 0.06), -0.68),
        neck=neck,
        shoulders=shoulders,
        elbows=elbows,
        wrists=wrists,
        waist=(sway * 0.7, 1.75),
        hip=hip,
        knees=knees,
        ankles=ankles,
        toes=(-1, 1),
        waist_half=randomness.uniform(0.5, 0.64),
        hip_half=hip_half,
        limb=randomness.uniform(0.9, 1.12),
        gap=randomness.uniform(0.18, 0.34),
        worn=True,
    )


def mannequin() -> Body:
    """Returns the figure that product pictures are drawn on, which nobody sees."""
    shoulders = ((-0.86, 0.3), (0.86, 0.3))
    wrists = ((-1.62, 2.72), (1.62, 2.72))
    return Body(
        head=(0.0, -0.68),
        neck=(0.0, 0.0),
        shoulders=shoulders,
        elbows=((-1.28, 1.52), (1.28, 1.52)),
        wrists=wrists,
        waist=(0.0, 1.75),
        hip=(0.0, 2.45),
        knees=((-0.43, 4.3), (0.43, 4.3)),
        ankles=((-0.5, 6.0), (0.5, 6.14)),
        toes=(1, 1),
        waist_half=0.57,
        hip_half=0.73,
        limb=1.0,
        gap=-0.03,
        worn=False,
    )


def _arms(shoulders: Pair, randomness: random.Random) -> tuple[Pair, Pair]:
    angles = randomness.choice(_ARMS)
    joints: list[tuple[Point, Point]] = []
    for side, shoulder in zip((-1, 1), shoulders, strict=True):
        upper, fore = angles[:2] if side < 0 else angles[2:]
        jitter = randomness.uniform(-0.06, 0.06)
        elbow = polar(shoulder, side * (upper + jitter), 1.4)
        joints.append((elbow, polar(elbow, side * (fore + jitter), 1.3)))
    (left_elbow, left_wrist), (right_elbow, right_wrist) = joints
    return (left_elbow, right_elbow), (left_wrist, right_wrist)


def _legs(hip: Point, randomness: random.Random) -> tuple[Pair, Pair]:
    """Returns ankles and knees; sometimes the weight is on one leg."""
    stance = randomness.uniform(0.28, 0.58)
    left, right = (-stance, 6.02), (stance, 6.02)
    if randomness.random() < 0.4:
        bent = randomness.choice((-1, 1))
        step = shift(left if bent < 0 else right, bent * 0.22, -0.1)
        left, right = (step, right) if bent < 0 else (left, step)
    knees = tuple(
        ((hip[0] + side * 0.42 + ankle[0]) / 2, 4.25 + randomness.uniform(-0.06, 0.06))
        for side, ankle in zip((-1, 1), (left, right), strict=True)
    )
    return (left, right), (knees[0], knees[1])
