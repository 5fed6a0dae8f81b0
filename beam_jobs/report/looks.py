"""The look-book of the page: each list beside that of an earlier date, with marks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from beam_jobs.report import formats
from beam_jobs.report.catalog_facts import (
    CategoryCoverage,
    EarlierLists,
    ListedProduct,
    ListKey,
    Rankings,
)
from beam_jobs.report.gallery import focus
from beam_jobs.report.pictures import TILE_PX, Picture, PictureBook, heat_layer

TOP_PRODUCTS = 6
UNKNOWN = "its picture’s name is not known any more"


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """What became of a product between two dates: short to see, full to hear."""

    css: str
    text: str
    about: str


@dataclasses.dataclass(frozen=True, slots=True)
class LookTile:
    """A product of a list; without an earlier date it carries no mark."""

    rank: int
    product_id: str
    picture: Picture
    mark: Mark | None


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """A scene and a category with what completes the look.

    Attributes:
        scene_id: catalogue id.
        path: of the category.
        category: last step of that path.
        parents: the steps before it.
        scene: the whole scene.
        attention: to be laid over the scene, None where there is none.
        focus: how uneven the attention is, in words.
        now: the list's head.
        before: that of the earlier date, None where it had no such list.
        summary: what has changed among the shown products, in words.
    """

    scene_id: str
    path: str
    category: str
    parents: str
    scene: Picture
    attention: Picture | None
    focus: str
    now: tuple[LookTile, ...]
    before: tuple[LookTile, ...] | None
    summary: str


@dataclasses.dataclass(frozen=True, slots=True)
class CoverageRow:
    """Coverage of a category, in words; shares are 0..100 for the bars."""

    label: str
    parents: str
    answered: str
    answered_share: float
    listed: str
    listed_share: float
    leaders: str


def build_looks(rankings: Rankings, book: PictureBook) -> tuple[Look, ...]:
    """The chosen lists in their order."""
    return tuple(_look(rankings, key, book) for key in rankings.chosen)


def _look(rankings: Rankings, key: ListKey, book: PictureBook) -> Look:
    scene_id, path = key
    category, parents = formats.category(path)
    now = rankings.lists.get(key, ())
    before = rankings.earlier.lists.get(key) if rankings.earlier else None
    attention = rankings.attention.get(key)
    tiles = _Tiles(book, rankings.product_pictures)
    return Look(
        scene_id=scene_id,
        path=path,
        category=category,
        parents=parents,
        scene=_picture(book, rankings.pictures.get(scene_id)),
        attention=heat_layer(attention.grid, attention.weights) if attention else None,
        focus=focus(attention.weights) if attention else "",
        now=tiles.of(now, marks_now(now, before)),
        before=None if before is None else tiles.of(before, marks_before(now, before)),
        summary=_summary(rankings.earlier, now, before),
    )


class _Tiles:
    """Makes tiles out of a list and its marks."""

    def __init__(self, book: PictureBook, digests: Mapping[str, str]) -> None:
        self._book = book
        self._digests = digests

    def of(
        self, products: Sequence[ListedProduct], marks: Mapping[str, Mark]
    ) -> tuple[LookTile, ...]:
        return tuple(
            LookTile(
                product.rank,
                product.product_id,
                _picture(self._book, self._digests.get(product.product_id), TILE_PX),
                marks.get(product.product_id),
            )
            for product in products[:TOP_PRODUCTS]
        )


def _picture(book: PictureBook, sha256: str | None, px: int | None = None) -> Picture:
    if sha256 is None:
        return Picture("", 0, 0, UNKNOWN)
    return book.thumbnail(sha256) if px is None else book.thumbnail(sha256, px=px)


def marks_now(
    now: Sequence[ListedProduct], before: Sequence[ListedProduct] | None
) -> dict[str, Mark]:
    """What became of each product of today's list; no marks without an earlier one."""
    if before is None:
        return {}
    ranks = {product.product_id: product.rank for product in before}
    return {
        product.product_id: _moved(ranks.get(product.product_id), product.rank)
        for product in now
    }


def marks_before(
    now: Sequence[ListedProduct], before: Sequence[ListedProduct]
) -> dict[str, Mark]:
    """Where each product of the earlier list is today."""
    ranks = {product.product_id: product.rank for product in now}
    return {
        product.product_id: _went(ranks.get(product.product_id), product.rank)
        for product in before
    }


def _moved(before: int | None, now: int) -> Mark:
    if before is None:
        return Mark("is-entered", "new", "entered the list")
    if before == now:
        return Mark("is-same", "=", "same rank as before")
    steps = abs(before - now)
    if now < before:
        return Mark("is-up", f"▲ {steps}", f"moved up from rank {before}")
    return Mark("is-down", f"▼ {steps}", f"moved down from rank {before}")


def _went(now: int | None, before: int) -> Mark:
    if now is None:
        return Mark("is-left", "left", "left the list")
    if now == before:
        return Mark("is-same", "=", "same rank today")
    css = "is-up" if now < before else "is-down"
    return Mark(css, f"→ {now}", f"today at rank {now}")


def _summary(
    earlier: EarlierLists | None,
    now: Sequence[ListedProduct],
    before: Sequence[ListedProduct] | None,
) -> str:
    if earlier is None:
        return ""
    if before is None:
        return f"no such list on {earlier.run_date}"
    shown = {product.product_id for product in now[:TOP_PRODUCTS]}
    stayed = shown & {product.product_id for product in before[:TOP_PRODUCTS]}
    # Not “new”: that is the mark of what was nowhere in the list before.
    came = len(shown) - len(stayed)
    return f"not among the first {TOP_PRODUCTS} before: {came} of {len(shown)}"


def coverage_rows(coverage: Sequence[CategoryCoverage]) -> tuple[CoverageRow, ...]:
    """Coverage as the page's table shows it."""
    return tuple(_coverage_row(row) for row in coverage)


def _coverage_row(row: CategoryCoverage) -> CoverageRow:
    label, parents = formats.category(row.category)
    return CoverageRow(
        label,
        parents,
        _of(row.answered, row.asked),
        _share(row.answered, row.asked),
        _of(row.listed, row.products),
        _share(row.listed, row.products),
        formats.count(row.leaders),
    )


def _of(part: int, whole: int) -> str:
    return f"{formats.count(part)} of {formats.count(whole)}"


def _share(part: int, whole: int) -> float:
    return round(100.0 * part / whole, 1) if whole else 0.0
