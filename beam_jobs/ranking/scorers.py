"""Scores of blocks of products, and the distances that the scores stand for.

A scorer holds the queries. Its scores are rough: how a matrix product rounds depends on
where a product is in the block. Its distances are not: they depend on query and product
alone, so that products that look the same are equally far.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Protocol

import numpy as np

_COLUMNS = 256  # products × `query_rows`: 2 MB of scores, which a core's caches hold
_TILES = 8  # of so many columns, between two looks at what was found
_WORDS = 125_000  # of eight flags, that are looked into at once
_PAIRS = 1024  # of which distances are summed at once: 2 MB at 128 dimensions
_UNIT = 2.0**-24  # relative error of one rounding to float32
_NOT_FINITE = "an embedding is not finite, or too large for float32; train again"


@dataclasses.dataclass(frozen=True)
class ProductBlock:
    """Products of one category.

    Attributes:
        products: [m] int64 numbers, ascending.
        vectors: [m, dim] float32.
        keys: [m, dim] float32, what the attention looks for with each; None where it
            does not depend on the product.
        groups: [m] int64, what they are alike in; None where it does not matter.
    """

    products: np.ndarray
    vectors: np.ndarray
    keys: np.ndarray | None = None
    groups: np.ndarray | None = None

    def rows(self, chosen: slice) -> ProductBlock:
        """Some of them."""
        return ProductBlock(
            self.products[chosen],
            self.vectors[chosen],
            None if self.keys is None else self.keys[chosen],
            None if self.groups is None else self.groups[chosen],
        )

    @functools.cached_property
    def largest_norm(self) -> float:
        """Of the vectors.

        Raises:
            ValueError: one is not finite.
        """
        return float(finite_norms(self.vectors).max(initial=0.0))


class Scorer(Protocol):
    """Queries, and how near products are to them.

    Attributes:
        n_queries: that it holds.
        query_rows: that are best taken through a block at once.
        product_rows: of a block that are best looked at between two looks at the lists.
    """

    n_queries: int
    query_rows: int
    product_rows: int

    def score(self, queries: slice, block: ProductBlock, *, out: np.ndarray) -> None:
        """Rough scores of products, the nearer the higher: [queries, m] float32."""
        ...

    def above(
        self, queries: slice, block: ProductBlock, floors: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs whose rough score is above the floor of the query, in some parts.

        Args:
            queries: n of them.
            block: of products.
            floors: [n] float32, finite.

        Yields:
            [c] queries, counted from the first of the slice, and [c] places in the
            block, in any order.
        """
        ...

    def slacks(self, queries: slice, block: ProductBlock) -> np.ndarray:
        """How far a score may be from the distance it stands for: [queries] float32.

        Raises:
            ValueError: a vector is not finite, or a score could overflow.
        """
        ...

    def score_of(self, distances: np.ndarray) -> np.ndarray:
        """The scores that stand for distances."""
        ...

    def distances(
        self, queries: np.ndarray, block: ProductBlock, columns: np.ndarray
    ) -> np.ndarray:
        """Distances of pairs, each summed for itself.

        Args:
            queries: [c] numbers.
            block: of products.
            columns: [c] places in the block.

        Returns:
            [c] float32.
        """
        ...


class InnerProducts:
    """Queries of a model whose distance is 2 − q·p; the score is q·p. See `Scorer`."""

    query_rows = 2048
    product_rows = 8192

    def __init__(self, queries: np.ndarray) -> None:
        """Take queries, [n, dim] float32.

        Raises:
            ValueError: one is not finite.
        """
        self.n_queries = len(queries)
        self._queries = np.ascontiguousarray(queries)
        self._norms = finite_norms(queries)

    def score(self, queries: slice, block: ProductBlock, *, out: np.ndarray) -> None:
        """See `Scorer.score`."""
        np.matmul(self._queries[queries], block.vectors.T, out=out)

    def above(
        self, queries: slice, block: ProductBlock, floors: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `Scorer.above`.

        The floors are one more term of the product, q·p − f·1. What is above them is
        positive then, which takes one look at scores that a core's caches still hold.
        """
        m, dim = block.vectors.shape
        lowered = np.empty((len(floors), dim + 1), np.float32)
        lowered[:, :dim] = self._queries[queries]
        lowered[:, dim] = -floors
        width = min(_COLUMNS, m)
        products = np.ones((width, dim + 1), np.float32)
        scores = np.empty((len(floors), width), np.float32)
        is_above = np.empty((_TILES, len(floors), width), bool)
        for first in range(0, m, _TILES * width):
            starts = range(first, min(first + _TILES * width, m), width)
            for tile, at in enumerate(starts):
                vectors = block.vectors[at : at + width]
                products[: len(vectors), :dim] = vectors
                products[len(vectors) :] = 0  # above nothing
                np.matmul(lowered, products.T, out=scores)
                np.greater(scores, 0, out=is_above[tile])
            for found in _true_places(is_above[: len(starts)].reshape(-1)):
                tiles, rows, columns = np.unravel_index(found, is_above.shape)
                yield rows, first + tiles * width + columns

    def slacks(self, queries: slice, block: ProductBlock) -> np.ndarray:
        """See `Scorer.slacks`."""
        sizes = self._norms[queries] * block.largest_norm
        # However n + 1 terms are summed, the sum is off by no more than 1.01 (n + 1) u
        # times the sum of their sizes: |q| |p| and the floor's. A floor above 2 |q| |p|
        # is above every score by far, and one below −2 |q| |p| below; so 3 |q| |p|.
        # The distance itself is rounded once, of at most 2 + |q| |p|.
        n_terms = self._queries.shape[1] + 1
        slacks = 4 * n_terms * _UNIT * sizes + 4 * _UNIT * (2 + sizes)
        return _finite(slacks, limit=sizes)

    def score_of(self, distances: np.ndarray) -> np.ndarray:
        """See `Scorer.score_of`."""
        return np.float32(2) - distances

    def distances(
        self, queries: np.ndarray, block: ProductBlock, columns: np.ndarray
    ) -> np.ndarray:
        """See `Scorer.distances`."""
        found = np.empty(len(queries), np.float32)
        shape = (min(_PAIRS, len(queries)), block.vectors.shape[1])
        ours, theirs = np.empty(shape, np.float32), np.empty(shape, np.float32)
        terms = np.empty(shape, np.float64)
        for at in range(0, len(queries), _PAIRS):
            some = slice(at, min(at + _PAIRS, len(queries)))
            n = some.stop - at
            # What is out of bounds cannot be, and not to look for it saves a copy.
            self._queries.take(queries[some], axis=0, out=ours[:n], mode="clip")
            block.vectors.take(columns[some], axis=0, out=theirs[:n], mode="clip")
            np.multiply(ours[:n], theirs[:n], out=terms[:n], dtype=np.float64)
            found[some] = 2.0 - terms[:n].sum(axis=1)
        return found


def _true_places(flags: np.ndarray) -> Iterator[np.ndarray]:
    """Places of the few that are true, ascending, in some parts.

    Eight are passed over at once, and no part is of more than a million.
    """
    n_words = len(flags) // 8
    words = np.flatnonzero(flags[: n_words * 8].view(np.uint64) != 0)
    for at in range(0, len(words), _WORDS):
        found = (words[at : at + _WORDS, None] * 8 + np.arange(8)).reshape(-1)
        yield found[flags[found]]
    yield n_words * 8 + np.flatnonzero(flags[n_words * 8 :])


def finite_norms(vectors: np.ndarray) -> np.ndarray:
    """Lengths of vectors: [n] float64.

    Raises:
        ValueError: one is not finite.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    if not np.isfinite(squares).all():
        raise ValueError(_NOT_FINITE)
    return np.sqrt(squares)


def _finite(slacks: np.ndarray, *, limit: np.ndarray) -> np.ndarray:
    if (limit > np.finfo(np.float32).max / 4).any():
        raise ValueError(_NOT_FINITE)
    # Rounded up.
    return np.nextafter(slacks.astype(np.float32), np.float32(np.inf))
