"""Exact top-k over blocks of products.

A matrix product in float32 gives rough scores of a block (`scorers`). A product can be
among the k nearest of a query only if its score exceeds the query's floor: that of the
k-th nearest so far, less what rounding may do. So one comparison leaves few candidates.
Their distances are summed anew, in a way that depends on query and product alone, and
they are offered to the lists (`lists`). The result is the same to the bit whatever the
blocks are, in whatever order they come.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Iterator

import numpy as np

from beam_jobs.ranking.lists import (
    Candidates,
    ListRule,
    Lists,
    Ranking,
    stack_rankings,
)
from beam_jobs.ranking.ordering import places
from beam_jobs.ranking.scorers import ProductBlock, Scorer
from beam_jobs.ranking.threads import Workers

_FIRST_QUERIES = 512
"""Of which all scores are kept, of the first products: 16 MB of 8,192."""

_SETS = 8
"""Sets of columns, times k, whose best are partitioned for a first bound."""


@dataclasses.dataclass(frozen=True, slots=True)
class Excluded:
    """Products that a query's list may not hold, ascending by product.

    Attributes:
        queries: [e] numbers of queries.
        products: [e] numbers of products.
    """

    queries: np.ndarray
    products: np.ndarray

    def within(self, first: int, last: int) -> Excluded:
        """Those of some of the queries, which are counted from the first of them."""
        chosen = (self.queries >= first) & (self.queries < last)
        return Excluded(self.queries[chosen] - first, self.products[chosen])

    def of(self, products: np.ndarray) -> Excluded:
        """Those of some products, ascending, with their places among them instead."""
        if not len(products) or not len(self.products):
            return NOTHING_EXCLUDED
        bounds = [products[0], products[-1] + 1]
        first, last = np.searchsorted(self.products, bounds)
        wanted = self.products[first:last]
        places_found = np.searchsorted(products, wanted)
        is_there = products[places_found] == wanted  # not all products can be ranked
        return Excluded(self.queries[first:last][is_there], places_found[is_there])


NOTHING_EXCLUDED = Excluded(np.empty(0, np.int64), np.empty(0, np.int64))


def rank_blocks(
    scorer: Scorer,
    blocks: Iterable[ProductBlock],
    rule: ListRule,
    *,
    excluded: Excluded = NOTHING_EXCLUDED,
    workers: Workers | None = None,
) -> Ranking:
    """The nearest products of each query.

    Memory: a block, the lists, and for each thread the scores of a few hundred queries
    times `scorer.product_rows` products with a byte each besides. Where products are
    equally far, nearly all of those are candidates, of up to 200 bytes each.

    Args:
        scorer: with n queries.
        blocks: of products, disjoint, in any order; taken one at a time.
        rule: what lists are to be like.
        excluded: what they may not hold.
        workers: threads; None for this one alone.

    Raises:
        ValueError: a vector is not finite, or scores could overflow.
    """
    workers = workers or Workers(1)
    # As many parts as threads, or a multiple, so that no thread waits for the last one.
    turns = max(1, -(-scorer.n_queries // (scorer.query_rows * workers.n)))
    rows = max(1, -(-scorer.n_queries // (turns * workers.n)))
    parts = [
        _Part(scorer, slice(at, min(at + rows, scorer.n_queries)), rule, excluded)
        for at in range(0, scorer.n_queries, rows)
    ]
    for block in blocks:
        workers.each(operator.methodcaller("add", block), parts)
    return stack_rankings((part.lists.ranking() for part in parts), rule)


def _kth_best(scores: np.ndarray, piece: ProductBlock, rule: ListRule) -> np.ndarray:
    """[queries]: no more than the score of the k-th that a list could hold.

    Minus infinity where there are not so many. It partitions the best of sets of
    columns, in a fraction of the time of partitioning all. A set may hold two of the k
    best, so that the k-th best of sets is below the k-th best product, by little.
    """
    n, m = scores.shape
    best = scores
    if rule.per_group is not None:
        # The best of each group may all be in one list.
        assert piece.groups is not None
        order = np.argsort(piece.groups, kind="stable")
        begins = np.flatnonzero(places(piece.groups[order]) == 0)
        if len(begins):
            best = np.maximum.reduceat(scores[:, order], begins, axis=1)
    elif (size := m // (_SETS * rule.k)) > 1:
        best = scores[:, : m // size * size].reshape(n, size, -1).max(axis=1)
    at = best.shape[1] - rule.k
    if at < 0:
        return np.full(n, -np.inf, np.float32)
    return np.partition(best, at, axis=1)[:, at]


def _without(
    excluded: Excluded, queries: np.ndarray, columns: np.ndarray, m: int
) -> tuple[np.ndarray, np.ndarray]:
    if not len(excluded.queries):
        return queries, columns
    not_allowed = excluded.queries * m + excluded.products
    is_allowed = ~np.isin(queries * m + columns, not_allowed)
    return queries[is_allowed], columns[is_allowed]


class _Part:
    """Some of the queries on their way through the blocks; of one thread at a time."""

    def __init__(
        self, scorer: Scorer, rows: slice, rule: ListRule, excluded: Excluded
    ) -> None:
        self._scorer = scorer
        self._rows = rows
        self._rule = rule
        self._n = rows.stop - rows.start
        self._excluded = excluded.within(rows.start, rows.stop)
        # No more than the score that the k-th nearest product's distance stands for.
        self._bounds = np.full(self._n, -np.inf, np.float32)
        self.lists = Lists(self._n, rule)

    def add(self, block: ProductBlock) -> None:
        """Look at a block."""
        size = self._scorer.product_rows
        slacks = self._scorer.slacks(self._rows, block)
        for at in range(0, len(block.products), size):
            piece = block.rows(slice(at, at + size))
            excluded = self._excluded.of(piece.products)
            if (self._bounds > -np.inf).all():
                floors = self._bounds - slacks
                for queries, columns in self._scorer.above(self._rows, piece, floors):
                    found = _without(excluded, queries, columns, len(piece.products))
                    self._take(piece, *found)
            else:
                for queries, columns in self._above_first(piece, slacks, excluded):
                    self._take(piece, queries, columns)

    def _above_first(
        self, piece: ProductBlock, slacks: np.ndarray, excluded: Excluded
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Candidates where queries have no bound yet, which the piece gives them.

        They are parts of a few queries each: all products are candidates where none is
        nearer than the others, or where groups are fewer than places.
        """
        for at in range(0, self._n, _FIRST_QUERIES):
            rows = slice(at, min(at + _FIRST_QUERIES, self._n))
            scores = np.empty((rows.stop - at, len(piece.products)), np.float32)
            first = self._rows.start
            queries = slice(first + at, first + rows.stop)
            self._scorer.score(queries, piece, out=scores)
            of_rows = excluded.within(at, rows.stop)
            scores[of_rows.queries, of_rows.products] = -np.inf
            kth = _kth_best(scores, piece, self._rule) - slacks[rows]
            bounds = np.maximum(self._bounds[rows], kth, out=self._bounds[rows])
            floors = bounds - slacks[rows]
            found, columns = np.nonzero(scores > floors[:, None])
            yield found + at, columns

    def _take(
        self, piece: ProductBlock, queries: np.ndarray, columns: np.ndarray
    ) -> None:
        distances = self._scorer.distances(queries + self._rows.start, piece, columns)
        groups = None
        if self._rule.per_group is not None:
            assert piece.groups is not None
            groups = piece.groups[columns]
        candidates = Candidates(queries, piece.products[columns], distances, groups)
        if self.lists.offer(candidates):
            # Of full lists only: the last place of others is infinitely far.
            bounds = self._scorer.score_of(self.lists.last_distances)
            np.maximum(self._bounds, bounds, out=self._bounds)
