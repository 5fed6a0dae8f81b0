"""Lists of the nearest products, filled from candidates in bulk, and merged.

Equal distances are ordered by the product's number, so that a list depends on nothing
but what was offered to it. A list may be told to hold at most so many products of a
group: in the order of distance a product is then passed over when that many of its
group are in the list. Lists of some of the products merge into those of all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from beam_jobs.ranking.ordering import (
    END,
    NOTHING,
    distances_of,
    list_keys,
    places,
    places_in_groups,
    products_of,
)

_MERGE_SHARE = 0.3
"""Candidates are merged when there are this many of the lists' places; earlier merges
cost more than the sharper floors save."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ranking:
    """The nearest products of a block of queries.

    Attributes:
        products: [n, k] int64 numbers of products by ascending distance, equal ones
            ascending; `ordering.NOTHING` behind the end of a list.
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
class Candidates:
    """What may be in lists: flat arrays of the same length.

    Attributes:
        queries: [c] numbers of the lists.
        products: [c] numbers from 0, below 2³² − 1.
        distances: [c] float32.
        groups: [c] of the products; None where they do not count.
    """

    queries: np.ndarray
    products: np.ndarray
    distances: np.ndarray
    groups: np.ndarray | None


class Lists:
    """The lists of n queries while they are filled; of one thread at a time."""

    def __init__(self, n: int, rule: ListRule) -> None:
        """Start with empty ones."""
        self._rule = rule
        self._rows = _Rows.empty((n, rule.k), rule)
        self._waiting: list[Candidates] = []
        self._n_waiting = 0

    def offer(self, candidates: Candidates) -> bool:
        """Take candidates, no product twice for a query; whether lists changed."""
        self._waiting.append(candidates)
        self._n_waiting += len(candidates.queries)
        if self._n_waiting <= _MERGE_SHARE * self._rows.keys.size:
            return False
        self._merge()
        return True

    @property
    def last_distances(self) -> np.ndarray:
        """[n] float32 of the last place; infinite where a list is not full yet."""
        return distances_of(self._rows.keys[:, -1])

    def ranking(self) -> Ranking:
        """The lists of all that was offered."""
        self._merge()
        return self._rows.ranking()

    def _merge(self) -> None:
        waiting, self._waiting, self._n_waiting = self._waiting, [], 0
        queries = np.concatenate([np.empty(0, np.int64), *(w.queries for w in waiting)])
        if not len(queries):
            return
        keys = np.concatenate([list_keys(w.distances, w.products) for w in waiting])
        groups = [w.groups for w in waiting if w.groups is not None]
        # Sixteen bits are sorted by their digits, in a fraction of the time.
        narrow = (
            queries.astype(np.uint16) if len(self._rows.keys) < 1 << 16 else queries
        )
        order = np.argsort(narrow, kind="stable")
        queries, keys = queries[order], keys[order]
        of_groups = np.concatenate(groups)[order] if groups else None
        # No more to a list at once than k or the mean, so that one of many does not
        # widen all.
        place = places(queries)
        width = max(self._rule.k, len(place) // int(np.count_nonzero(place == 0)))
        rounds, columns = np.divmod(place, width)
        for number in range(rounds.max() + 1):
            now = rounds == number
            is_first = np.diff(queries[now], prepend=-1) > 0
            some = _Rows.scattered(
                np.cumsum(is_first) - 1,
                columns[now],
                keys[now],
                None if of_groups is None else of_groups[now],
            )
            listed = queries[now][is_first]
            self._rows.put(listed, self._rows.at(listed).beside(some).cut(self._rule))


def merge_rankings(rankings: Iterable[Ranking], rule: ListRule) -> Ranking:
    """Merge rankings of the same queries over disjoint products.

    Associative and commutative, so partial results can be merged in any order.

    Args:
        rankings: at least one, each made by the rule.
        rule: what lists are to be like.
    """
    first, *others = (
        _Rows(list_keys(found.distances, found.products), found.groups)
        for found in rankings
    )
    return first.beside(*others).cut(rule).ranking()


def stack_rankings(rankings: Iterable[Ranking], rule: ListRule) -> Ranking:
    """One ranking of the queries of all, in their order."""
    parts = list(rankings)
    if not parts:
        return _Rows.empty((0, rule.k), rule).ranking()
    groups = [part.groups for part in parts if part.groups is not None]
    return Ranking(
        np.concatenate([part.products for part in parts]),
        np.concatenate([part.distances for part in parts]),
        np.concatenate(groups) if groups else None,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Rows:
    """Lists as rows of keys, [n, w] int64, and the groups of their products."""

    keys: np.ndarray
    groups: np.ndarray | None

    @classmethod
    def empty(cls, shape: tuple[int, int], rule: ListRule) -> _Rows:
        groups = None if rule.per_group is None else np.full(shape, NOTHING, np.int64)
        return cls(np.full(shape, END, np.int64), groups)

    @classmethod
    def scattered(
        cls,
        rows: np.ndarray,
        columns: np.ndarray,
        keys: np.ndarray,
        groups: np.ndarray | None,
    ) -> _Rows:
        """Of flat arrays, ascending by row."""
        shape = (rows[-1] + 1, columns.max() + 1)
        found = cls(
            np.full(shape, END, np.int64),
            None if groups is None else np.full(shape, NOTHING, np.int64),
        )
        found.keys[rows, columns] = keys
        if found.groups is not None:
            found.groups[rows, columns] = groups
        return found

    def at(self, rows: np.ndarray) -> _Rows:
        return _Rows(
            self.keys[rows], None if self.groups is None else self.groups[rows]
        )

    def put(self, rows: np.ndarray, others: _Rows) -> None:
        self.keys[rows] = others.keys
        if self.groups is not None:
            self.groups[rows] = others.groups

    def beside(self, *others: _Rows) -> _Rows:
        """Rows of the same lists joined to longer ones, in no order."""
        parts = [self, *others]
        groups = [part.groups for part in parts if part.groups is not None]
        return _Rows(
            np.concatenate([part.keys for part in parts], axis=1),
            np.concatenate(groups, axis=1) if groups else None,
        )

    def cut(self, rule: ListRule) -> _Rows:
        """The first k of each, in order, as the rule says."""
        if rule.per_group is None:
            return _Rows(np.sort(self.keys, axis=1)[:, : rule.k], None)
        found = self._sorted()
        assert found.groups is not None
        rows, columns = np.nonzero(found.keys != END)
        place = places_in_groups(rows, found.groups[rows, columns])
        is_over = place >= rule.per_group
        found.keys[rows[is_over], columns[is_over]] = END
        found = found._sorted()
        assert found.groups is not None
        return _Rows(found.keys[:, : rule.k], found.groups[:, : rule.k])

    def _sorted(self) -> _Rows:
        assert self.groups is not None
        order = np.argsort(self.keys, axis=1)
        return _Rows(
            np.take_along_axis(self.keys, order, axis=1),
            np.take_along_axis(self.groups, order, axis=1),
        )

    def ranking(self) -> Ranking:
        groups = self.groups
        if groups is not None:
            groups = np.where(self.keys == END, NOTHING, groups)
        return Ranking(products_of(self.keys), distances_of(self.keys), groups)
