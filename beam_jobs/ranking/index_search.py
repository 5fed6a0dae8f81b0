"""Rank a block of products by its index: candidates from it, distances as ever.

What an index finds is ranked anew as everything is: distances are summed in float64,
equal ones are ordered by number, groups are counted. So a list is exact among the
products that the index has looked at. Where that cannot be said, because the list is
not full or the products at its end are as far as those that were cut off, the query is
ranked without the index.
"""

from __future__ import annotations

import numpy as np

from beam_jobs.ranking.lists import (
    ListRule,
    Ranking,
    merge_rankings,
    stack_rankings,
)
from beam_jobs.ranking.ordering import NOTHING
from beam_jobs.ranking.product_index import ROUNDING, ProductIndex
from beam_jobs.ranking.scorers import InnerProducts, ProductBlock, finite_norms
from beam_jobs.ranking.threads import Workers
from beam_jobs.ranking.top_k import Excluded, rank_blocks

SPARE = 32
"""Candidates beyond a list's length: for equal distances at its end, and for products
that the list may not hold."""
_QUERIES = 1024
"""Searched at once, whatever the threads: FAISS rounds by how many there are."""


def search_block(
    queries: np.ndarray,
    block: ProductBlock,
    index: ProductIndex,
    rule: ListRule,
    *,
    probes: int,
    excluded: Excluded,
    workers: Workers,
) -> Ranking:
    """The nearest products of each query among those that the index looks at.

    Args:
        queries: [n, dim] float32; the distance is 2 − q·p.
        block: of products.
        index: of the block.
        rule: what lists are to be like.
        probes: lists of the index that a query looks at.
        excluded: what lists may not hold.
        workers: threads.
    """
    scorer = InnerProducts(queries)
    if not len(queries):
        return rank_blocks(scorer, [], rule)
    parts: dict[int, Ranking] = {}
    left: dict[int, np.ndarray] = {}

    def search(at: int) -> None:
        rows = slice(at, min(at + _QUERIES, len(queries)))
        places = index.search(queries[rows], rule.k + SPARE, probes=probes)
        found = _candidates(scorer, rows.start, block, places, rule)
        # What was cut off scored less than all candidates, as far as rounding can tell.
        sizes = finite_norms(queries[rows]) * block.largest_norm
        slacks = scorer.slacks(rows, block) + ROUNDING * sizes
        furthest = found.distances.max(axis=1)  # infinite where no more were found
        _leave_out(found, excluded.within(rows.start, rows.stop))
        lists = merge_rankings([found], rule)
        ends = lists.distances[:, -1]
        is_open = (lists.lengths < rule.k) | (furthest <= ends + 2 * slacks)
        parts[at], left[at] = lists, at + np.flatnonzero(is_open)

    workers.each(search, range(0, len(queries), _QUERIES))
    ranking = stack_rankings((parts[at] for at in sorted(parts)), rule)
    numbers = np.concatenate([left[at] for at in sorted(left)])
    if len(numbers):
        exact = rank_blocks(
            InnerProducts(queries[numbers]),
            [block],
            rule,
            excluded=among(excluded, numbers),
            workers=workers,
        )
        _replace(ranking, numbers, exact)
    return ranking


def among(excluded: Excluded, queries: np.ndarray) -> Excluded:
    """What some queries' lists may not hold, the queries counted among themselves.

    Args:
        excluded: of all queries.
        queries: numbers of some, ascending.
    """
    is_theirs = np.isin(excluded.queries, queries)
    return Excluded(
        np.searchsorted(queries, excluded.queries[is_theirs]),
        excluded.products[is_theirs],
    )


def _candidates(
    scorer: InnerProducts,
    first: int,
    block: ProductBlock,
    places: np.ndarray,
    rule: ListRule,
) -> Ranking:
    """What was found as lists that are too long; [n, width] places, from a query on."""
    rows, columns = np.nonzero(places >= 0)
    chosen = places[rows, columns]
    products = np.full(places.shape, NOTHING, np.int64)
    distances = np.full(places.shape, np.inf, np.float32)
    products[rows, columns] = block.products[chosen]
    distances[rows, columns] = scorer.distances(rows + first, block, chosen)
    if rule.per_group is None:
        return Ranking(products, distances)
    assert block.groups is not None
    groups = np.full(places.shape, NOTHING, np.int64)
    groups[rows, columns] = block.groups[chosen]
    return Ranking(products, distances, groups)


def _leave_out(found: Ranking, excluded: Excluded) -> None:
    if not len(excluded.products):
        return
    rows = np.arange(len(found.products))[:, None]
    wanted = excluded.queries << 32 | excluded.products
    is_out = np.isin(rows << 32 | found.products, wanted)
    found.products[is_out] = NOTHING
    found.distances[is_out] = np.inf


def _replace(ranking: Ranking, queries: np.ndarray, others: Ranking) -> None:
    ranking.products[queries] = others.products
    ranking.distances[queries] = others.distances
    if ranking.groups is not None:
        ranking.groups[queries] = others.groups
