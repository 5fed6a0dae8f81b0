"""What a product is: its category, cut, cloth and trim, drawn from a look."""

import enum
import random
from dataclasses import dataclass, replace
from typing import TypeVar

from examples.lookbook.patterns import Fabric
from examples.lookbook.styles import (
    LOOKS,
    PALETTES,
    Colour,
    Formality,
    Ground,
    Look,
    Palette,
    Pattern,
    Season,
    Trim,
    luminance,
)

_Choice = TypeVar("_Choice")


class Category(enum.StrEnum):
    """The categories, written as the Shop-The-Look files write them."""

    TOPS = "Apparel & Accessories|Clothing|Shirts & Tops"
    PANTS = "Apparel & Accessories|Clothing|Pants"
    SKIRTS = "Apparel & Accessories|Clothing|Skirts"
    DRESSES = "Apparel & Accessories|Clothing|Dresses"
    COATS = "Apparel & Accessories|Clothing|Outerwear|Coats & Jackets"
    SHOES = "Apparel & Accessories|Shoes"
    BAGS = "Apparel & Accessories|Handbags, Wallets & Cases"
    HATS = "Apparel & Accessories|Clothing Accessories|Hats"


@dataclass(frozen=True, slots=True)
class Design:
    """A product; `sleeve` is 0..1 of the arm, `length` and `flare` are 0..1."""

    category: Category
    formality: Formality
    season: Season
    fabric: Fabric
    lining: Colour
    trim: Trim
    trim_colour: Colour
    sleeve: float
    length: float
    flare: float


# The repeat of a motif in heads: small things are made of finer cloth.
_PERIODS = {
    Category.TOPS: 0.46,
    Category.PANTS: 0.46,
    Category.SKIRTS: 0.5,
    Category.DRESSES: 0.56,
    Category.COATS: 0.6,
    Category.SHOES: 0.2,
    Category.BAGS: 0.34,
    Category.HATS: 0.3,
}
_SLEEVES = {
    Season.SUMMER: (0.0, 0.28),
    Season.SPRING: (0.25, 0.65),
    Season.AUTUMN: (0.6, 1.0),
    Season.WINTER: (0.95, 1.0),
}
_LENGTHS = {
    Season.SUMMER: (0.0, 0.4),
    Season.SPRING: (0.2, 0.6),
    Season.AUTUMN: (0.4, 0.9),
    Season.WINTER: (0.6, 1.0),
}
_FLARES = {
    Formality.CASUAL: (0.2, 0.6),
    Formality.SMART: (0.0, 0.25),
    Formality.DRESSY: (0.6, 1.0),
}
# The share of a look's garments that leave its pattern, trim, tone or cut for another.
_OTHER_PATTERN = 0.12
_OTHER_TRIM = 0.15
_OTHER_TONE = 0.15
_OTHER_CUT = 0.2
# How often a look wears its favourite palette without looking at the others.
_FAVOURITE = 0.35


def design(
    category: Category, look: Look, palette: Palette, randomness: random.Random
) -> Design:
    """Draws a product of a look: mostly true to it, now and then not."""
    formality = _mostly(look.formality, tuple(Formality), _OTHER_CUT, randomness)
    season = _mostly(look.season, tuple(Season), _OTHER_CUT, randomness)
    pattern = _mostly(look.pattern, tuple(Pattern), _OTHER_PATTERN, randomness)
    fabric = _fabric(category, pattern, palette, look, randomness)
    return Design(
        category=category,
        formality=formality,
        season=season,
        fabric=fabric,
        lining=randomness.choice((palette.neutral, palette.dark)),
        trim=_mostly(look.trim, tuple(Trim), _OTHER_TRIM, randomness),
        trim_colour=fabric.accent,
        sleeve=_within(_SLEEVES[season], randomness),
        length=_within(_LENGTHS[season], randomness),
        flare=_within(_FLARES[formality], randomness),
    )


def recoloured(
    original: Design, look: Look, palette: Palette, seed: random.Random
) -> Design:
    """Returns the same product in other colours: a catalogue's colour variant."""
    cloth = original.fabric
    base, motif, accent = contrasting(palette, look, seed)
    fabric = replace(cloth, base=base, motif=motif, accent=accent)
    return replace(original, fabric=fabric, trim_colour=accent)


def palette_of(look: Look, randomness: random.Random) -> Palette:
    """Draws one of the palettes of a look, its favourite more often."""
    favourite = randomness.random() < _FAVOURITE
    return PALETTES[look.palettes[0] if favourite else randomness.choice(look.palettes)]


def any_look(randomness: random.Random) -> int:
    """Draws the position of a look."""
    return randomness.randrange(len(LOOKS))


def _fabric(
    category: Category,
    pattern: Pattern,
    palette: Palette,
    look: Look,
    randomness: random.Random,
) -> Fabric:
    base, motif, accent = contrasting(palette, look, randomness)
    period = _PERIODS[category] * look.scale * randomness.uniform(0.85, 1.18)
    return Fabric(pattern, base, motif, accent, period, randomness.randrange(6))


def contrasting(
    palette: Palette, look: Look, randomness: random.Random
) -> tuple[Colour, Colour, Colour]:
    """Draws ground, motif and accent in the tone of a look.

    A bold motif is of the brightness least like the ground's, a soft one of the most
    like it.
    """
    ground = _mostly(look.ground, tuple(Ground), _OTHER_TONE, randomness)
    bold = _mostly(look.bold, (True, False), _OTHER_TONE, randomness)
    grounds = {
        Ground.LIGHT: (palette.light,),
        Ground.DARK: (palette.dark,),
        Ground.VIVID: palette.hues,
    }
    base = randomness.choice(grounds[ground])
    colours = [colour for colour in palette.colours if colour != base]
    colours.sort(key=lambda colour: abs(luminance(colour) - luminance(base)))
    likeness = -1 if bold else 0
    motif = colours.pop(likeness)
    return base, motif, colours[randomness.randrange(2) + (-2 if bold else 0)]


def _within(bounds: tuple[float, float], randomness: random.Random) -> float:
    return randomness.uniform(*bounds)


def _mostly(
    usual: _Choice, others: tuple[_Choice, ...], share: float, rnd: random.Random
) -> _Choice:
    return rnd.choice(others) if rnd.random() < share else usual
