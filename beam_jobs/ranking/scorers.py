"""Scores of blocks of products, and the distances that the scores stand for.

A scorer holds the queries. Its scores are rough: how a matrix product rounds depends on
where a product is in the block. Its distances are not: they depend on query and product
alone, so that products that look the same are equally far.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Protocol

import numpy as np

_PAIRS = 16_384  # of which distances are summed at once: 16 MB at 128 dimensions
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
        query_rows: of which scores are best computed at once.
        product_rows: for which scores are best computed at once.
    """

    n_queries: int
    query_rows: int
    product_rows: int

    def score(self, queries: slice, block: ProductBlock, *, out: np.ndarray) -> None:
        """Rough scores of products, the nearer the higher: [queries, m] float32."""
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

    query_rows = 1024
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

    def slacks(self, queries: slice, block: ProductBlock) -> np.ndarray:
        """See `Scorer.slacks`."""
        sizes = self._norms[queries] * block.largest_norm
        # However a product of n terms is summed, it is off by less than 2 n u |q| |p|;
        # the distance itself is rounded once, of at most 2 + |q| |p|.
        slacks = 2 * self._queries.shape[1] * _UNIT * sizes + 4 * _UNIT * (2 + sizes)
        return _finite(slacks, limit=sizes)

    def score_of(self, distances: np.ndarray) -> np.ndarray:
        """See `Scorer.score_of`."""
        return np.float32(2) - distances

    def distances(
        self, queries: np.ndarray, block: ProductBlock, columns: np.ndarray
    ) -> np.ndarray:
        """See `Scorer.distances`."""
        found = np.empty(len(queries), np.float32)
        for at in range(0, len(queries), _PAIRS):
            some = slice(at, at + _PAIRS)
            products = block.vectors[columns[some]].astype(np.float64)
            products *= self._queries[queries[some]]
            found[some] = 2.0 - products.sum(axis=1)
        return found


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
