"""Ranking metrics of evaluation pairs: pure NumPy, exact under ties.

A model that gives equal distances has not ranked those products, so their order is
taken as uniformly random and every metric is the *expectation* over it, in closed form:
with `nearer` products strictly nearer than the positive and `tied` others at its
distance, the rank is uniform over nearer + 1 … nearer + tied + 1. The `random` baseline
is therefore "everything tied", and its figures are exact, not one draw of luck.

One positive counts per pair: the caller takes co-positives out by giving them an
infinite distance, and intervals are `trainer.evaluation.bootstrap`'s affair.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

METRICS = (
    "binary_accuracy",
    "auc",
    "fitb_4",
    "recall_at_1",
    "recall_at_5",
    "recall_at_10",
    "mrr",
    "ndcg_at_10",
)
"""Columns of `pair_metrics`."""

RECALL_CUTOFFS = (1, 5, 10)
NDCG_CUTOFF = 10

FITB_OTHERS = 3
"""Wrong choices of a fill-in-the-blank question: four choices with the positive."""


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


def expected_auc(counts: RankCounts) -> np.ndarray:
    """Probability that another candidate, drawn at random, is farther; a tie is half.

    This is the area under the ROC curve of one positive among its candidates (Mann and
    Whitney 1947): the mean over all candidates of what binary accuracy credits for one.

    Returns:
        [n] float64, NaN for a pair without another candidate.
    """
    others = counts.n_candidates - 1
    farther = others - counts.nearer - counts.tied
    undefined = np.full(len(others), np.nan)
    return np.divide(farther + counts.tied / 2, others, out=undefined, where=others > 0)


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
    farther, tied, n_drawn = _drawn_counts(distances, positives, negatives)
    undefined = np.full(len(n_drawn), np.nan)
    return np.divide(farther + tied / 2, n_drawn, out=undefined, where=n_drawn > 0)


def fill_in_the_blank(
    distances: np.ndarray, positives: np.ndarray, *, negatives: np.ndarray
) -> np.ndarray:
    """Probability that the positive is chosen out of itself and 3 drawn negatives.

    Every 3 of a pair's drawn negatives are a question (Han et al. 2017, "fill in the
    blank"), and the pair's value is the mean over all of them: what one question drawn
    at random gives in expectation, without the luck of the draw. The nearest choice is
    taken, and j others at the positive's distance leave it a chance of 1 / (1 + j). Of
    the C(k, 3) questions, C(tied, j) · C(farther, 3 - j) hold just j such others and
    nobody nearer, and these alone count.

    Args:
        distances: [n, n_products] float.
        positives: [n] column of each pair's positive.
        negatives: [n, k] columns of each pair's negatives, filled up with -1.

    Returns:
        [n] float64, NaN for a pair with fewer than 3 negatives: a question of fewer
        choices is an easier one, and chance would not be a quarter.
    """
    farther, tied, n_drawn = _drawn_counts(distances, positives, negatives)
    credit = sum(
        _choose(tied, j) * _choose(farther, FITB_OTHERS - j) / (1 + j)
        for j in range(FITB_OTHERS + 1)
    )
    questions = _choose(n_drawn, FITB_OTHERS)
    undefined = np.full(len(n_drawn), np.nan)
    return np.divide(credit, questions, out=undefined, where=questions > 0)


def _drawn_counts(
    distances: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each pair's drawn negatives those farther, those level, and all; each [n]."""
    drawn = negatives >= 0
    own = np.take_along_axis(distances, positives[:, None], axis=1)
    others = np.take_along_axis(distances, np.where(drawn, negatives, 0), axis=1)
    return (
        np.count_nonzero(drawn & (own < others), axis=1),
        np.count_nonzero(drawn & (own == others), axis=1),
        np.count_nonzero(drawn, axis=1),
    )


def _choose(n: np.ndarray, k: int) -> np.ndarray:
    """Binomial coefficients, k at most 3; [n] float64, exact."""
    product = np.ones(len(n))
    for i in range(k):
        product *= np.maximum(n - i, 0)
    return product / math.factorial(k)


def pair_metrics(
    distances: np.ndarray, positives: np.ndarray, *, negatives: np.ndarray
) -> np.ndarray:
    """Every metric of every pair.

    Args:
        distances: [n, n_products] float; infinite where a product is no candidate.
        positives: [n] column of each pair's positive.
        negatives: [n, k] columns of each pair's negatives, filled up with -1.

    Returns:
        [n, len(METRICS)] float64; NaN in a metric that compares with more others than
        the pair has.
    """
    counts = rank_counts(distances, positives)
    return np.stack(
        [
            binary_accuracy(distances, positives, negatives=negatives),
            expected_auc(counts),
            fill_in_the_blank(distances, positives, negatives=negatives),
            *(expected_recall(counts, k) for k in RECALL_CUTOFFS),
            expected_reciprocal_rank(counts),
            expected_ndcg(counts),
        ],
        axis=1,
    )


def pair_notes(values: np.ndarray) -> list[str]:
    """What a reader of the figures has to know about pairs with few others.

    Args:
        values: [n, len(METRICS)] of any model: what is NaN depends on the pairs alone.
    """
    alone, few = (
        int(np.isnan(values[:, METRICS.index(name)]).sum())
        for name in ("auc", "fitb_4")
    )
    notes = []
    if alone:
        notes.append(
            f"{alone} pairs have no product of their category to compare with; they "
            "count in the ranking metrics, where they are first, and not in binary "
            "accuracy and AUC"
        )
    if few:
        notes.append(
            f"{few} pairs have fewer than {FITB_OTHERS} drawn negatives and are not in "
            "fill-in-the-blank"
        )
    return notes
