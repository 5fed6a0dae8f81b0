"""The looks: what the garments of one outfit have in common.

A look is a pattern family, a trim, a tone, a formality and a season. Every palette
serves three of the six looks and is the favourite of one at most, so a colour says a
little about the look that wears it, and not much.
"""

import enum
from dataclasses import dataclass, replace

Colour = tuple[int, int, int]


class Pattern(enum.StrEnum):
    """The families of cloth."""

    STRIPES = "stripes"
    CHECKS = "checks"
    DOTS = "dots"
    FLORAL = "floral"
    RIB = "rib"
    GEOMETRIC = "geometric"


class Trim(enum.StrEnum):
    """What runs along hems, cuffs, brims and edges."""

    PIPING = "piping"
    STITCH = "stitch"
    SCALLOP = "scallop"
    RUFFLE = "ruffle"
    STUDS = "studs"
    FRINGE = "fringe"


class Formality(enum.StrEnum):
    """Decides silhouettes: collars, hems, heels or sneakers."""

    CASUAL = "casual"
    SMART = "smart"
    DRESSY = "dressy"


class Ground(enum.StrEnum):
    """What the ground of a cloth is taken from; every palette has all three."""

    LIGHT = "light"
    DARK = "dark"
    VIVID = "vivid"


class Season(enum.StrEnum):
    """Decides sleeves, lengths, coats and the light of a scene."""

    SPRING = "spring"
    SUMMER = "summer"
    AUTUMN = "autumn"
    WINTER = "winter"


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours that go together; any two differ enough to read a motif."""

    light: Colour
    dark: Colour
    hues: tuple[Colour, Colour, Colour]
    neutral: Colour

    @property
    def colours(self) -> tuple[Colour, ...]:
        """All colours, for a draw."""
        return (self.light, self.dark, *self.hues, self.neutral)


@dataclass(frozen=True, slots=True)
class Look:
    """One style.

    `palettes` are positions in `PALETTES`, the favourite first; `scale` is how large
    its motifs are, `ground` and `bold` how they stand out: a look is light or dark,
    soft or bold, in any of its colours. Its places have `walls` of another tone than
    its garments, so that what goes together is learned and not merely alike.
    """

    name: str
    pattern: Pattern
    trim: Trim
    formality: Formality
    season: Season
    palettes: tuple[int, ...]
    scale: float
    ground: Ground
    walls: Ground
    bold: bool

    @property
    def place(self) -> "Look":
        """The look as its places wear it: in the tone of their walls."""
        return replace(self, ground=self.walls)


def _palette(light: str, dark: str, hues: str, neutral: str) -> Palette:
    first, second, third = (_hex(hue) for hue in hues.split())
    return Palette(_hex(light), _hex(dark), (first, second, third), _hex(neutral))


def _hex(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text)
    return (red, green, blue)


PALETTES: tuple[Palette, ...] = (
    _palette("f5f1e6", "1c2848", "be3034 4678aa e6b446", "968c7d"),
    _palette("f0e4cd", "462e22", "a8582e 6e733c cea054", "8c7864"),
    _palette("faf0f4", "5c466e", "e68ca5 82b9cd f0cd78", "b4aab9"),
    _palette("eeeae2", "1e222c", "146e64 7d2355 c89632", "6e6e78"),
    _palette("f2f2f0", "1a1a1c", "787c82 b23c42 464e5c", "aaa8a5"),
    _palette("fcf7e1", "26423a", "eb7832 5aa050 f5c83c", "a0a58c"),
    _palette("f7e8e6", "40162c", "aa2850 605096 e1826e", "967d82"),
    _palette("ecf5f6", "10344a", "1e82a0 6eb9aa f0966e", "82969b"),
)

# What white looks like in each season.
LIGHTS: dict[Season, Colour] = {
    Season.SPRING: (246, 255, 244),
    Season.SUMMER: (255, 250, 228),
    Season.AUTUMN: (255, 230, 204),
    Season.WINTER: (222, 236, 255),
}

LOOKS: tuple[Look, ...] = (
    Look(
        "coastal",
        Pattern.STRIPES,
        Trim.PIPING,
        Formality.CASUAL,
        Season.SUMMER,
        (0, 7, 5, 4),
        1.35,
        ground=Ground.LIGHT,
        walls=Ground.DARK,
        bold=True,
    ),
    Look(
        "heritage",
        Pattern.CHECKS,
        Trim.STITCH,
        Formality.SMART,
        Season.AUTUMN,
        (1, 3, 0, 6),
        0.85,
        ground=Ground.DARK,
        walls=Ground.VIVID,
        bold=True,
    ),
    Look(
        "retro",
        Pattern.DOTS,
        Trim.SCALLOP,
        Formality.DRESSY,
        Season.SPRING,
        (6, 0, 2, 4),
        1.0,
        ground=Ground.VIVID,
        walls=Ground.LIGHT,
        bold=True,
    ),
    Look(
        "garden",
        Pattern.FLORAL,
        Trim.RUFFLE,
        Formality.DRESSY,
        Season.SUMMER,
        (2, 5, 6, 1),
        1.15,
        ground=Ground.LIGHT,
        walls=Ground.DARK,
        bold=False,
    ),
    Look(
        "urban",
        Pattern.RIB,
        Trim.STUDS,
        Formality.SMART,
        Season.WINTER,
        (4, 3, 1, 7),
        0.65,
        ground=Ground.DARK,
        walls=Ground.VIVID,
        bold=False,
    ),
    Look(
        "festival",
        Pattern.GEOMETRIC,
        Trim.FRINGE,
        Formality.CASUAL,
        Season.AUTUMN,
        (3, 5, 2, 7),
        1.25,
        ground=Ground.VIVID,
        walls=Ground.LIGHT,
        bold=False,
    ),
)


def neighbour(look: int, step: int) -> int:
    """Returns the look beside another one: where stray garments come from."""
    return (look + step) % len(LOOKS)


def luminance(colour: Colour) -> float:
    """Returns the brightness of a colour (Rec. 601 weights), 0..255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """Returns the colour `share` of the way from the first to the second."""
    red, green, blue = (
        round(a + (b - a) * share) for a, b in zip(first, second, strict=True)
    )
    return (red, green, blue)


def darker(colour: Colour, share: float = 0.45) -> Colour:
    """Returns the colour moved towards black."""
    return blend(colour, (18, 14, 16), share)
