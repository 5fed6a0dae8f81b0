"""What top-k lists are held against: every pair for itself, and all of them sorted."""

from __future__ import annotations

from collections import Counter

import numpy as np

from beam_jobs.ranking.lists import ListRule, Ranking
from beam_jobs.ranking.ordering import NOTHING
from beam_jobs.ranking.scorers import InnerProducts, ProductBlock

List = list[tuple[float, int]]
"""(distance, product) by rank."""


class SmallPieces(InnerProducts):
    """Few queries and products at once, so that small cases have many pieces."""

    query_rows = 3
    product_rows = 5


def brute_force(
    queries: np.ndarray,
    products: ProductBlock,
    rule: ListRule,
    excluded: frozenset[tuple[int, int]] = frozenset(),
) -> list[List]:
    """Every pair for itself in float64, rounded once; then one product at a time."""
    vectors = products.vectors.astype(np.float64)
    lists = []
    for number, query in enumerate(queries.astype(np.float64)):
        distances = (2.0 - (vectors * query).sum(axis=1)).astype(np.float32)
        found: List = []
        seen: Counter[int] = Counter()
        for distance, product, place in sorted(
            zip(
                distances.tolist(),
                products.products.tolist(),
                range(len(vectors)),
                strict=True,
            )
        ):
            if (number, product) in excluded or len(found) == rule.k:
                continue
            if rule.per_group is not None:
                assert products.groups is not None
                group = int(products.groups[place])
                if seen[group] == rule.per_group:
                    continue
                seen[group] += 1
            found.append((distance, product))
        lists.append(found)
    return lists


def as_lists(ranking: Ranking) -> list[List]:
    """The lists, with what is behind their ends checked and cut off."""
    lists = []
    for products, distances, length in zip(
        ranking.products, ranking.distances, ranking.lengths, strict=True
    ):
        assert (products[length:] == NOTHING).all()
        assert np.isinf(distances[length:]).all()
        lists.append(
            list(
                zip(
                    distances[:length].tolist(), products[:length].tolist(), strict=True
                )
            )
        )
    return lists
