"""The gallery: scenes with their attention map and the products ranked for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from beam_jobs.report import formats
from beam_jobs.report.facts import GalleryEntry, RankedProduct
from beam_jobs.report.pictures import Picture, PictureBook

MAX_SCENES = 36  # some 60 kB each: the page stays under 3 MB
TOP_PRODUCTS = 6  # one line on a wide page, two on a phone


@dataclasses.dataclass(frozen=True, slots=True)
class Tile:
    """A ranked product; `after_gap` where ranks between were left out."""

    rank: str
    product_id: str
    distance: str
    is_correct: bool
    after_gap: bool
    picture: Picture


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A scene of the gallery.

    Attributes:
        scene_id: catalogue id.
        path: of the category that was ranked.
        category: last step of that path.
        parents: the steps before it.
        whole: the scene with its crop outlined.
        attention: the crop under its attention map, None where there is no attention.
        focus: how uneven the attention is, in words.
        product_id: the product that was taken out.
        product: its picture.
        rank: its rank, in words.
        is_hit: whether it is among the shown products.
        tiles: the ranking's head, and the correct product wherever it is.
    """

    scene_id: str
    path: str
    category: str
    parents: str
    whole: Picture
    attention: Picture | None
    focus: str
    product_id: str
    product: Picture
    rank: str
    is_hit: bool
    tiles: tuple[Tile, ...]


def build_gallery(
    entries: tuple[GalleryEntry, ...], book: PictureBook, *, has_attention: bool
) -> tuple[Scene, ...]:
    """The scenes that the page shows, in the order they were chosen in.

    Args:
        entries: all there are.
        book: their pictures.
        has_attention: whether the model looks at some regions more than at others.
    """
    return tuple(
        _scene(entry, book, has_attention=has_attention)
        for entry in entries[:MAX_SCENES]
    )


def _scene(entry: GalleryEntry, book: PictureBook, *, has_attention: bool) -> Scene:
    category, parents = formats.category(entry.category)
    tiles = _tiles(entry, book)
    return Scene(
        scene_id=entry.scene_id,
        path=entry.category,
        category=category,
        parents=parents,
        whole=book.scene(entry.scene_sha256, entry.crop_px, box=entry.box),
        attention=book.attention(
            entry.scene_sha256,
            entry.crop_px,
            grid=entry.grid,
            weights=entry.attention,
        )
        if has_attention
        else None,
        focus=focus(entry.attention),
        product_id=entry.product_id,
        product=book.thumbnail(entry.product_sha256),
        rank=f"{formats.count(entry.positive_rank)} of "
        f"{formats.count(entry.n_candidates)}",
        is_hit=not any(tile.after_gap for tile in tiles),
        tiles=tiles,
    )


def _tiles(entry: GalleryEntry, book: PictureBook) -> tuple[Tile, ...]:
    """The first products; the correct one follows where it is not among them."""
    head = list(enumerate(entry.top[:TOP_PRODUCTS], start=1))
    correct = next((rank for rank, product in head if product.is_positive), None)
    tiles = [
        _tile(product, rank, book, is_correct=rank == correct) for rank, product in head
    ]
    if correct is None:
        later = (product for product in entry.top if product.is_positive)
        unranked = RankedProduct(entry.product_id, entry.product_sha256, None, True)
        product = next(later, unranked)
        tile = _tile(product, entry.positive_rank, book, is_correct=True)
        tiles.append(dataclasses.replace(tile, after_gap=True))
    return tuple(tiles)


def _tile(
    product: RankedProduct, rank: int, book: PictureBook, *, is_correct: bool
) -> Tile:
    return Tile(
        formats.count(rank),
        product.product_id,
        "" if product.distance is None else formats.figure(product.distance),
        is_correct,
        False,
        book.thumbnail(product.sha256),
    )


def focus(attention: Sequence[float]) -> str:
    """How much more than an even share the strongest cell has."""
    if not attention or sum(attention) <= 0:
        return ""
    peak = max(attention) * len(attention) / sum(attention)
    return f"peak {peak:.1f} × even"
