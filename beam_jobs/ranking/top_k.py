"""Exact top-k over blocks of products, and merging what was found in some of them.

A matrix product in float32 gives rough scores of a block (`scorers`). A product can be
among the k nearest of a query only if its score exceeds the query's floor: that of the
k-th nearest so far, less what rounding may do. So one comparison leaves few candidates.
Their distances are summed anew, in a way that depends on query and product alone, and
they are merged in bulk. The result is the same to the bit whatever the blocks are, in
whatever order they come. Equal distances are ordered by the product's number.

A list may be told to hold at most so many products of a group. In the order of distance
a product is then passed over when that many of its group are in the list. Lists of some
of the products, made like this, merge into those of all.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Sequence

import numpy as np

from beam_jobs.ranking.ordering import order_candidates, places, places_in_groups
from beam_jobs.ranking.scorers import ProductBlock, Scorer
from beam_jobs.ranking.threads import Workers

NOTHING = -1
"""The product of a place that a list does not fill."""

_MERGE_SHARE = 0.5
"""Candidates are merged when there are this many of the lists' places; earlier merges
cost more than the sharper floors save."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ranking:
    """The nearest products of a block of queries.

    Attributes:
        products: [n, k] int64 numbers of products by ascending distance, equal ones
            ascending; `NOTHING` behind the end of a list.
        distances: [n, k] float32; infinite behind the end of a list.
        groups: [n, k] int64, what their products are alike in; None where lists are not
            told to be diverse.
    """

    products: np.ndarray
    distances: np.ndarray
    groups: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """[n]: how many products each list holds."""
        return np.count_nonzero(self.products != NOTHING, axis=1)


@dataclasses.dataclass(frozen=True, slots=True)
class ListRule:
    """What a list is to be like.

    Attributes:
        k: products, at most.
        per_group: of a group's products, at most so many; None for any.
    """

    k: int
    per_group: int | None = None


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

    Memory: a block, the lists, and for each thread the scores of `scorer.query_rows`
    queries times `scorer.product_rows` products with a byte each besides.

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
    rows = max(1, min(scorer.query_rows, -(-scorer.n_queries // workers.n)))
    parts = [
        _Part(scorer, slice(at, min(at + rows, scorer.n_queries)), rule, excluded)
        for at in range(0, scorer.n_queries, rows)
    ]
    for block in blocks:
        workers.each(operator.methodcaller("add", block), parts)
    workers.each(_Part.merge, parts)
    if not parts:
        return _empty(0, rule)
    return _stacked([part.lists for part in parts])


def merge_rankings(rankings: Iterable[Ranking], rule: ListRule) -> Ranking:
    """Merge rankings of the same queries over disjoint products.

    Associative and commutative, so partial results can be merged in any order.

    Args:
        rankings: at least one, each made by the rule.
        rule: what lists are to be like.
    """
    found = [_candidates(ranking) for ranking in rankings]
    n = max(len(part.lists) for part in found)
    return _cut(_joined([part.candidates for part in found]), n, rule)


@dataclasses.dataclass(frozen=True, slots=True)
class _Candidates:
    """Flat arrays of the same length; groups are None where none count."""

    queries: np.ndarray
    products: np.ndarray
    distances: np.ndarray
    groups: np.ndarray | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Unrolled:
    lists: np.ndarray
    candidates: _Candidates


def _candidates(ranking: Ranking) -> _Unrolled:
    queries, columns = np.nonzero(ranking.products != NOTHING)
    groups = None if ranking.groups is None else ranking.groups[queries, columns]
    return _Unrolled(
        ranking.products,
        _Candidates(
            queries,
            ranking.products[queries, columns],
            ranking.distances[queries, columns],
            groups,
        ),
    )


def _joined(parts: Sequence[_Candidates]) -> _Candidates:
    groups = [part.groups for part in parts if part.groups is not None]
    return _Candidates(
        np.concatenate([part.queries for part in parts]),
        np.concatenate([part.products for part in parts]),
        np.concatenate([part.distances for part in parts]),
        np.concatenate(groups) if groups else None,
    )


def _cut(found: _Candidates, n: int, rule: ListRule) -> Ranking:
    """The lists of n queries, of their candidates."""
    order = order_candidates(found.queries, found.distances, found.products)
    if rule.per_group is not None:
        assert found.groups is not None
        queries, groups = found.queries[order], found.groups[order]
        order = order[places_in_groups(queries, groups) < rule.per_group]
    queries = found.queries[order]
    columns = places(queries)
    fits = columns < rule.k
    order, queries, columns = order[fits], queries[fits], columns[fits]
    lists = _empty(n, rule)
    lists.products[queries, columns] = found.products[order]
    lists.distances[queries, columns] = found.distances[order]
    if lists.groups is not None and found.groups is not None:
        lists.groups[queries, columns] = found.groups[order]
    return lists


def _empty(n: int, rule: ListRule) -> Ranking:
    shape = (n, rule.k)
    groups = None if rule.per_group is None else np.full(shape, NOTHING, np.int64)
    return Ranking(
        np.full(shape, NOTHING, np.int64), np.full(shape, np.inf, np.float32), groups
    )


def _stacked(lists: Sequence[Ranking]) -> Ranking:
    groups = [part.groups for part in lists if part.groups is not None]
    return Ranking(
        np.concatenate([part.products for part in lists]),
        np.concatenate([part.distances for part in lists]),
        np.concatenate(groups) if groups else None,
    )


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
        self._waiting: list[_Candidates] = []
        # No more than the score that the k-th nearest product's distance stands for.
        self._bounds = np.full(self._n, -np.inf, np.float32)
        self.lists = _empty(self._n, rule)

    def add(self, block: ProductBlock) -> None:
        """Look at a block."""
        size = self._scorer.product_rows
        slacks = self._scorer.slacks(self._rows, block)
        width = min(size, len(block.products))
        scores = np.empty((self._n, width), np.float32)
        above = np.empty((self._n, width), bool)
        for at in range(0, len(block.products), size):
            piece = block.rows(slice(at, at + size))
            if len(piece.products) < width:  # the last: arrays that lie together
                shape = (self._n, len(piece.products))
                scores = np.empty(shape, np.float32)
                above = np.empty(shape, bool)
            self._scorer.score(self._rows, piece, out=scores)
            self._exclude(piece, scores)
            self._find_bounds(piece, scores, slacks)
            floors = self._bounds - slacks
            np.greater(scores, floors[:, None], out=above)
            self._take(piece, np.flatnonzero(above))

    def _exclude(self, piece: ProductBlock, scores: np.ndarray) -> None:
        if not len(self._excluded.products) or not len(piece.products):
            return
        bounds = [piece.products[0], piece.products[-1] + 1]
        first, last = np.searchsorted(self._excluded.products, bounds)
        wanted = self._excluded.products[first:last]
        columns = np.searchsorted(piece.products, wanted)
        is_there = piece.products[columns] == wanted  # not all products can be ranked
        queries = self._excluded.queries[first:last][is_there]
        scores[queries, columns[is_there]] = -np.inf

    def _find_bounds(
        self, piece: ProductBlock, scores: np.ndarray, slacks: np.ndarray
    ) -> None:
        """Where there is none yet: the k-th best score of some products is one."""
        if (self._bounds > -np.inf).all():
            return
        best = scores
        if self._rule.per_group is not None and len(piece.products):
            # The best of each group may all be in one list.
            assert piece.groups is not None
            order = np.argsort(piece.groups, kind="stable")
            begins = np.flatnonzero(places(piece.groups[order]) == 0)
            best = np.maximum.reduceat(scores[:, order], begins, axis=1)
        at = best.shape[1] - self._rule.k
        if at >= 0:
            found = np.partition(best, at, axis=1)[:, at] - slacks
            np.maximum(self._bounds, found, out=self._bounds)

    def _take(self, piece: ProductBlock, found: np.ndarray) -> None:
        queries, columns = np.divmod(found, max(1, len(piece.products)))
        distances = self._scorer.distances(queries + self._rows.start, piece, columns)
        groups = None
        if self._rule.per_group is not None:
            assert piece.groups is not None
            groups = piece.groups[columns]
        self._waiting.append(
            _Candidates(queries, piece.products[columns], distances, groups)
        )
        n_waiting = sum(len(part.queries) for part in self._waiting)
        if n_waiting > _MERGE_SHARE * self._n * self._rule.k:
            self.merge()
            # Of full lists only: the last place of others is infinitely far.
            bounds = self._scorer.score_of(self.lists.distances[:, -1])
            np.maximum(self._bounds, bounds, out=self._bounds)

    def merge(self) -> None:
        """Merge the candidates that wait into the lists."""
        if not self._waiting:
            return
        parts = [_candidates(self.lists).candidates, *self._waiting]
        self._waiting = []
        self.lists = _cut(_joined(parts), self._n, self._rule)
