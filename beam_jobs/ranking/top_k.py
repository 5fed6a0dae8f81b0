"""Exact top-k by blocks: one matrix product, a selection, and a merge.

The distance of a product to a query is 2 − q·p (see `trainer.model`), so ranking a
block is a matrix product in float32. It finds the candidates only: how its sums are
rounded depends on a product's place in the block. The distances of the candidates are
summed anew, so that they depend on query and product alone, and products that look the
same are equally far. Equal distances are ordered by product id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

_ROUNDING = 1e-4
"""Far above what rounding does to a product of |q| ≤ 2 and a unit vector, about 1e-6;
a larger one would only make more candidates."""


@dataclasses.dataclass(frozen=True, slots=True)
class ProductBlock:
    """Products of one category.

    Attributes:
        ids: [m] product ids, ascending.
        vectors: [m, dim] float32 unit vectors.
    """

    ids: np.ndarray
    vectors: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Ranking:
    """The nearest products of a block of queries.

    Attributes:
        ids: [n, k] product ids by ascending distance, equal ones by ascending id.
        distances: [n, k] float32.
    """

    ids: np.ndarray
    distances: np.ndarray


def rank_block(queries: np.ndarray, products: ProductBlock, k: int) -> Ranking:
    """The k nearest products of each query, or all where the block has fewer.

    Args:
        queries: [n, dim] float32.
        products: m products.
        k: at least 1.

    Raises:
        ValueError: a vector is not finite.
    """
    rough = 2.0 - queries @ products.vectors.T
    if not np.isfinite(rough).all():
        raise ValueError("an embedding is not finite; train the model again")
    n, m = rough.shape
    k = min(k, m)
    limits = np.partition(rough, k - 1, axis=1)[:, k - 1] + _ROUNDING
    ids = np.empty((n, k), products.ids.dtype)
    distances = np.empty((n, k), np.float32)
    for row in range(n):
        within = np.flatnonzero(rough[row] <= limits[row])
        exact = _distances(queries[row], products.vectors[within])
        order = np.lexsort((products.ids[within], exact))[:k]
        ids[row] = products.ids[within[order]]
        distances[row] = exact[order]
    return Ranking(ids, distances)


def _distances(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Distances of a query [dim] to vectors [m, dim], each summed for itself."""
    products = vectors.astype(np.float64) * query
    return (2.0 - products.sum(axis=1)).astype(np.float32)


def merge_rankings(rankings: Iterable[Ranking], k: int) -> Ranking:
    """Merge rankings of the same queries over disjoint products.

    Associative and commutative, so partial results can be merged in any order.
    """
    parts = list(rankings)
    ids = np.concatenate([part.ids for part in parts], axis=1)
    distances = np.concatenate([part.distances for part in parts], axis=1)
    return _nearest(ids, distances, k)


def _nearest(ids: np.ndarray, distances: np.ndarray, k: int) -> Ranking:
    """The k smallest of each row, ties at the k-th place decided by id."""
    n, m = distances.shape
    k = min(k, m)
    limits = np.partition(distances, k - 1, axis=1)[:, k - 1]
    chosen_ids = np.empty((n, k), ids.dtype)
    chosen = np.empty((n, k), distances.dtype)
    for row in range(n):
        # All that tie with the k-th are candidates; a partition alone would keep any.
        within = np.flatnonzero(distances[row] <= limits[row])
        order = np.lexsort((ids[row, within], distances[row, within]))[:k]
        chosen_ids[row] = ids[row, within[order]]
        chosen[row] = distances[row, within[order]]
    return Ranking(chosen_ids, chosen)
