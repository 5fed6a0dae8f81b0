"""Exact top-k by blocks: one matrix product, a selection, and a merge.

The distance of a product to a query is 2 − q·p (see `trainer.model`), so ranking a
block is a matrix product in float32. Equal distances are ordered by product id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np


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
    distances = 2.0 - queries @ products.vectors.T
    if not np.isfinite(distances).all():
        raise ValueError("an embedding is not finite; train the model again")
    return _nearest(np.broadcast_to(products.ids, distances.shape), distances, k)


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
