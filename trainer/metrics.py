"""Ranking metrics of evaluation pairs: pure NumPy, exact under ties.

A model that gives equal distances has not ranked those products, so their order is
taken as uniformly random and every metric is the *expectation* over it, in closed form:
with `nearer` products strictly nearer than the positive and `tied` others at its
distance, the rank is uniform over nearer + 1 … nearer + tied + 1. The `random` baseline
is therefore "everything tied", and its figures are exact, not one draw of luck.

One positive counts per pair: the caller takes co-positives out by giving them an
infinite distance, and intervals are `trainer.bootstrap`'s affair.
"""

from __future__ import annotations

import dataclasses

import numpy as np

METRICS = (
    "binary_accuracy",
    "recall_at_1",
    "recall_at_5",
    "recall_at_10",
    "mrr",
    "ndcg_at_10",
)
"""Columns of `pair_metrics`."""

RECALL_CUTOFFS = (1, 5, 10)
NDCG_CUTOFF = 10


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RankCounts:
    """Where each pair's positive stands among its candidates.

    Attributes:
        nearer: [n] candidates strictly nearer than the positive.
        tied: [n] other candidates at exactly the positive's distance.
        n_candidates: [n] candidates, the positive among them.
    """

    nearer: np.ndarray
    tied: np.ndarray
    n_candidates: np.ndarray


def rank_counts(distances: np.ndarray, positives: np.ndarray) -> RankCounts:
    """Count the candidates nearer than and level with each positive.

    Args:
        distances: [n, n_products] float; infinite where a product is no candidate.
        positives: [n] column of each pair's positive.

    Raises:
        ValueError: a distance is NaN, which would compare as "not nearer" and so pass
            for a perfect rank, or a positive is no candidate of its own pair.
    """
    if np.isnan(distances).any():
        raise ValueError("distances hold NaN")
    own = np.take_along_axis(distances, positives[:, None], axis=1)
    if np.isinf(own).any():
        raise ValueError("a positive is not among its own candidates")
    return RankCounts(
        nearer=np.count_nonzero(distances < own, axis=1),
        tied=np.count_nonzero(distances == own, axis=1) - 1,
        n_candidates=np.count_nonzero(np.isfinite(distances), axis=1),
    )


def expected_recall(counts: RankCounts, k: int) -> np.ndarray:
    """Probability that the positive is among the first k.

    Returns:
        [n] float64: the share of its possible ranks that are k or better.
    """
    return np.clip(k - counts.nearer, 0, counts.tied + 1) / (counts.tied + 1)


def expected_reciprocal_rank(counts: RankCounts) -> np.ndarray:
    """Mean of 1/rank over the possible ranks; [n] float64."""
    last = counts.nearer + counts.tied + 1
    ranks = np.arange(1, last.max(initial=1) + 1)
    return _mean_gain(counts, _prefix_sums(1.0 / ranks))


def expected_ndcg(counts: RankCounts, k: int = NDCG_CUTOFF) -> np.ndarray:
    """Mean of 1/log2(1 + rank) for ranks up to k, else 0; [n] float64.

    The ideal ranking has the one positive first, whose gain is 1, so NDCG is DCG.
    """
    return _mean_gain(counts, _prefix_sums(1.0 / np.log2(np.arange(2, k + 2))))


def _prefix_sums(gains: np.ndarray) -> np.ndarray:
    """[r] gain of each rank from 1 → [r + 1] sum of the first 0, 1, … r of them."""
    return np.concatenate(([0.0], np.cumsum(gains)))


def _mean_gain(counts: RankCounts, sums: np.ndarray) -> np.ndarray:
    """Mean gain over ranks nearer + 1 … nearer + tied + 1; ranks past `sums` give 0."""
    end = len(sums) - 1
    first = np.minimum(counts.nearer, end)
    last = np.minimum(counts.nearer + counts.tied + 1, end)
    return (sums[last] - sums[first]) / (counts.tied + 1)


def binary_accuracy(
    distances: np.ndarray, positives: np.ndarray, *, negatives: np.ndarray
) -> np.ndarray:
    """Share of drawn negatives that lie farther than the positive; a tie is half.

    Args:
        distances: [n, n_products] float.
        positives: [n] column of each pair's positive.
        negatives: [n, k] columns of each pair's negatives, filled up with -1.

    Returns:
        [n] float64, NaN for a pair without a negative.
    """
    drawn = negatives >= 0
    own = np.take_along_axis(distances, positives[:, None], axis=1)
    others = np.take_along_axis(distances, np.where(drawn, negatives, 0), axis=1)
    credit = np.where(own < others, 1.0, np.where(own == others, 0.5, 0.0))
    n_drawn = drawn.sum(axis=1)
    total = np.where(drawn, credit, 0.0).sum(axis=1)
    return np.divide(total, n_drawn, out=np.full(len(total), np.nan), where=n_drawn > 0)


def pair_metrics(
    distances: np.ndarray, positives: np.ndarray, *, negatives: np.ndarray
) -> np.ndarray:
    """Every metric of every pair.

    Args:
        distances: [n, n_products] float; infinite where a product is no candidate.
        positives: [n] column of each pair's positive.
        negatives: [n, k] columns of each pair's negatives, filled up with -1.

    Returns:
        [n, len(METRICS)] float64; binary accuracy is NaN where there is no negative.
    """
    counts = rank_counts(distances, positives)
    return np.stack(
        [
            binary_accuracy(distances, positives, negatives=negatives),
            *(expected_recall(counts, k) for k in RECALL_CUTOFFS),
            expected_reciprocal_rank(counts),
            expected_ndcg(counts),
        ],
        axis=1,
    )
