"""Hard negatives: those that a model takes for nearly as good as the positive.

A member of the pool is semi-hard for a pair where d⁺ < d⁻ < d⁺ + margin (Schroff et
al. 2015, "FaceNet", section 3.2, equation 4). Members at d⁺ or nearer are left aside:
of the products that a model likes better than the known one many do go with the scene,
only nobody has said so, and they would teach it to push matches away. So a pair gets

1. members of the window, every one alike;
2. where it has too few, the nearest beyond it;
3. where the far side of the pool is used up, what is left of the pool, every one alike:
   members that the model has no features of, and those nearer than the positive. It
   comes to this only where the positive is among the last of the pool, so that what
   the model says of the pair means little, and no pair is lost for it.

Nothing here knows a network: queries and vectors are arrays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from beam_jobs.mining.negative_draws import (
    CandidatePool,
    choose,
    draw_key,
    drawing_order,
    running_sum,
)
from beam_jobs.mining.negatives import Candidate, NegativeRule

_ROUNDING = 1e-4
"""Far above what rounding does to a product of |q| ≤ 2 and a unit vector: 1e-6."""

_NEAREST = 256  # members beyond the window that are put in order at first


@dataclasses.dataclass(frozen=True, slots=True)
class RankedPool:
    """A pool and the vectors of those of its members that a model can rank.

    Attributes:
        pool: m candidates.
        rows: [r] int64, the members with a vector, ascending.
        vectors: [r, dim] float32 unit vectors.
    """

    pool: CandidatePool
    rows: np.ndarray
    vectors: np.ndarray

    def rough_distances(self, queries: np.ndarray) -> np.ndarray:
        """Distances of queries [n, dim] to the vectors, [n, r] float32.

        One matrix product. How its sums are rounded depends on the place in the
        block, so what hangs on the last digits is summed anew, see `Ring`.
        """
        return np.float32(2.0) - queries @ self.vectors.T


@dataclasses.dataclass(frozen=True, slots=True)
class PairVectors:
    """What a model says of a pair.

    Attributes:
        query: [dim] float32, of the scene crop for the pair's category.
        positive: [dim] float32, of the pair's product.
        rough: [r] float32, `RankedPool.rough_distances` of the query.
    """

    query: np.ndarray
    positive: np.ndarray
    rough: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Ring:
    """Where the vectors of a pool lie, seen from a pair.

    Attributes:
        window: [r] bool, d⁺ < d⁻ < d⁺ + margin.
        beyond: [r] bool, d⁺ + margin ≤ d⁻.
    """

    window: np.ndarray
    beyond: np.ndarray


def exact_distances(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """2 − q·f_p of a query [dim] to vectors [n, dim], each summed for itself, [n]."""
    return 2.0 - (vectors.astype(np.float64) * query).sum(axis=1)


def ring_of(pair: PairVectors, vectors: np.ndarray, margin: float) -> Ring:
    """Tell the window from what is beyond, whatever the rounding of `pair.rough`.

    Args:
        pair: seen from this pair.
        vectors: [r, dim], of the pool.
        margin: width of the window.

    Raises:
        ValueError: a vector is not finite.
    """
    inner = exact_distances(pair.query, pair.positive[None])[0]
    if not np.isfinite(inner) or not np.isfinite(pair.rough).all():
        raise ValueError("an embedding is not finite; train the model again")
    outer = inner + margin
    distances = pair.rough.astype(np.float64)
    from_edge = np.minimum(np.abs(distances - inner), np.abs(distances - outer))
    unsure = np.flatnonzero(from_edge < _ROUNDING)
    distances[unsure] = exact_distances(pair.query, vectors[unsure])
    return Ring((inner < distances) & (distances < outer), distances >= outer)


def draw_hard(
    pair_id: str,
    ranked: RankedPool,
    pair: PairVectors,
    *,
    positives: Sequence[Candidate],
    rule: NegativeRule,
) -> tuple[list[Candidate], int]:
    """Draw a pair's negatives, the semi-hard ones first.

    Args:
        pair_id: the pair; with the rule's seed it decides the draw.
        ranked: candidates of the pair's category.
        pair: what the model says of it.
        positives: the pair's product and its co-positives of that category.
        rule: how many, the margin and the seed.

    Returns:
        At most `rule.per_pair` candidates in drawing order, and how many of them are
        of the window.
    """
    ring = ring_of(pair, ranked.vectors, rule.margin)
    rows = choose(
        ranked.pool,
        _order(pair_id, ranked, pair, ring=ring, rule=rule),
        positives=positives,
        limit=rule.per_pair,
    )
    is_hard = np.zeros(len(ranked.pool), bool)
    is_hard[ranked.rows[ring.window]] = True
    n_hard = int(is_hard[rows].sum()) if rows else 0
    return [ranked.pool.candidates[row] for row in rows], n_hard


def _order(
    pair_id: str,
    ranked: RankedPool,
    pair: PairVectors,
    *,
    ring: Ring,
    rule: NegativeRule,
) -> Iterator[int]:
    """All rows of the pool in the order in which they are to be taken."""
    key = draw_key(pair_id, rule)
    yield from _alike(ranked.rows[ring.window], (*key, "window"))
    yield from _nearest_first(ranked, pair, np.flatnonzero(ring.beyond))
    farther = ranked.rows[ring.window | ring.beyond]
    yield from _alike(np.setdiff1d(ranked.pool.rows, farther), (*key, "rest"))


def _alike(rows: np.ndarray, key: tuple[object, ...]) -> Iterator[int]:
    return drawing_order(rows, running_sum(np.ones(len(rows))), key=key)


def _nearest_first(
    ranked: RankedPool, pair: PairVectors, numbers: np.ndarray
) -> Iterator[int]:
    """Rows by distance, equal ones in the pool's order.

    Args:
        ranked: the pool.
        pair: seen from this pair.
        numbers: which of the pool's vectors.
    """
    rough = pair.rough[numbers]
    while len(numbers):
        # Most pairs want a few: all within the rounding of those are put in order.
        last = min(_NEAREST, len(numbers)) - 1
        is_near = rough <= np.partition(rough, last)[last] + _ROUNDING
        near = numbers[is_near]
        exact = exact_distances(pair.query, ranked.vectors[near])
        certain = exact <= _certain_limit(rough[~is_near])
        ordered = near[certain][np.argsort(exact[certain], kind="stable")]
        yield from ranked.rows[ordered].tolist()
        is_left = ~np.isin(numbers, ordered)
        numbers, rough = numbers[is_left], rough[is_left]


def _certain_limit(rough: np.ndarray) -> float:
    """A distance that none of the others can be as small as."""
    return float(rough.min()) - _ROUNDING / 2 if len(rough) else np.inf
