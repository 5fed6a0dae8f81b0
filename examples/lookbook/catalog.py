"""Who wears what: outfits, products and pairs, before anything is drawn.

Scene number i is the same in a catalogue of any size.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from examples.lookbook.design import (
    Category,
    Design,
    any_look,
    design,
    palette_of,
    recoloured,
)
from examples.lookbook.seeds import signature, stream
from examples.lookbook.styles import LOOKS, Palette, neighbour

# Shares of garments that are a popular product, that stray to a neighbouring look,
# that keep to the outfit's palette, that go unlisted, that come in two colours.
_POPULAR = 0.42
_STRAY = 0.1
_SAME_PALETTE = 0.4
_UNLISTED = 0.25
_VARIANT = 0.1
# A look starts with this many popular products in each category and gets one more
# every so many scenes.
_POPULAR_AT_FIRST = 2
_SCENES_PER_POPULAR = 60
# Products that nobody wears, for every three scenes.
_UNWORN_PER_3_SCENES = 2


@dataclass(frozen=True, slots=True)
class Product:
    """A catalogue product; `key` names its random streams."""

    key: tuple[str | int, ...]
    signature: str
    design: Design


@dataclass(frozen=True, slots=True)
class Worn:
    """A garment of an outfit and the products its box lists, most often one."""

    design: Design
    products: tuple[Product, ...]


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """A scene to draw: what is worn in it and the look of the place."""

    index: int
    signature: str
    look: int
    outfit: tuple[Worn, ...]


def plan_scene(seed: int, index: int) -> ScenePlan:
    """Decides who wears what in a scene."""
    rnd = stream(seed, "plan", index)
    look = any_look(rnd)
    palette = palette_of(LOOKS[look], rnd)
    categories = _categories(rnd)
    # One garment that every framing shows is listed for certain: a scene without a
    # pair would be no scene.
    certain = 0 if Category.DRESSES in categories else rnd.randrange(2)
    outfit = tuple(
        _worn(seed, index, look, palette, category, rnd, certain=number == certain)
        for number, category in enumerate(categories)
    )
    return ScenePlan(index, signature(seed, "scene", index), look, outfit)


def unworn_products(seed: int, scenes: int) -> Iterator[Product]:
    """Yields the products that are in the catalogue and in no scene."""
    categories = tuple(Category)
    for index in range(scenes * _UNWORN_PER_3_SCENES // 3):
        rnd = stream(seed, "unworn", index)
        look = LOOKS[any_look(rnd)]
        category = categories[index % len(categories)]
        made = design(category, look, palette_of(look, rnd), rnd)
        yield _product(seed, ("unworn", index), made)


def _categories(rnd: random.Random) -> list[Category]:
    """Draws the categories of an outfit."""
    if rnd.random() < 0.32:
        worn = [Category.DRESSES, Category.SHOES]
    else:
        bottom = rnd.choice((Category.PANTS, Category.SKIRTS))
        worn = [Category.TOPS, bottom, Category.SHOES]
    for category, share in (
        (Category.COATS, 0.38),
        (Category.BAGS, 0.45),
        (Category.HATS, 0.4),
    ):
        if rnd.random() < share:
            worn.append(category)
    return worn


def _worn(
    seed: int,
    scene: int,
    look: int,
    palette: Palette,
    category: Category,
    rnd: random.Random,
    *,
    certain: bool,
) -> Worn:
    own = neighbour(look, rnd.choice((-1, 1))) if rnd.random() < _STRAY else look
    if rnd.random() < _POPULAR:
        product = _popular(seed, scene, own, category, rnd)
        listed = True
    else:
        key = ("worn", scene, category.name)
        if rnd.random() >= _SAME_PALETTE:
            palette = palette_of(LOOKS[own], rnd)
        made = design(category, LOOKS[own], palette, stream(seed, *key))
        product = _product(seed, key, made)
        listed = certain or rnd.random() >= _UNLISTED
    if not listed:
        return Worn(product.design, ())
    if rnd.random() < _VARIANT:
        return Worn(product.design, (product, _variant(seed, product, own)))
    return Worn(product.design, (product,))


def _popular(
    seed: int, scene: int, look: int, category: Category, rnd: random.Random
) -> Product:
    """Draws one of a look's popular products, the earlier ones more often."""
    known = _POPULAR_AT_FIRST + scene // _SCENES_PER_POPULAR
    index = int(known * rnd.random() ** 1.5)
    key = ("popular", LOOKS[look].name, category.name, index)
    own = stream(seed, *key)
    palette = palette_of(LOOKS[look], own)
    return _product(seed, key, design(category, LOOKS[look], palette, own))


def _variant(seed: int, product: Product, look: int) -> Product:
    key = (*product.key, "variant")
    rnd = stream(seed, *key)
    made = recoloured(product.design, LOOKS[look], palette_of(LOOKS[look], rnd), rnd)
    return _product(seed, key, made)


def _product(seed: int, key: tuple[str | int, ...], made: Design) -> Product:
    return Product(key, signature(seed, "product", *key), made)
