from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.metrics import (
    METRICS,
    RankCounts,
    binary_accuracy,
    expected_ndcg,
    expected_recall,
    expected_reciprocal_rank,
    pair_metrics,
    rank_counts,
)

NO_NEGATIVES = np.full((1, 1), -1)


def ranks_over_orders(distances: list[float], positive: int) -> list[int]:
    """The positive's rank after a stable sort, for every order ties may come in."""
    ranks = []
    for order in itertools.permutations(range(len(distances))):
        ranking = sorted(order, key=lambda product: distances[product])
        ranks.append(ranking.index(positive) + 1)
    return ranks


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def counts(nearer: int, tied: int) -> RankCounts:
    return RankCounts(
        np.array([nearer]), np.array([tied]), np.array([nearer + tied + 1])
    )


def test_rank_counts_worked_by_hand() -> None:
    distances = np.array([[0.4, 0.1, 0.4, np.inf, 0.9, 0.4]])
    found = rank_counts(distances, np.array([2]))
    assert (found.nearer[0], found.tied[0], found.n_candidates[0]) == (1, 2, 5)


def test_expectations_worked_by_hand() -> None:
    # One product is nearer and two are level: the rank is 2, 3 or 4, each as likely.
    found = counts(1, 2)
    assert expected_recall(found, 1)[0] == 0
    assert expected_recall(found, 3)[0] == pytest.approx(2 / 3)
    assert expected_recall(found, 5)[0] == 1
    assert expected_reciprocal_rank(found)[0] == pytest.approx(13 / 36)
    by_hand = (1 / math.log2(3) + 1 / 2 + 1 / math.log2(5)) / 3
    assert expected_ndcg(found)[0] == pytest.approx(by_hand)


def test_ndcg_counts_nothing_past_the_cutoff() -> None:
    assert expected_ndcg(counts(10, 0))[0] == 0
    assert expected_ndcg(counts(9, 0))[0] == pytest.approx(1 / math.log2(11))
    assert expected_ndcg(counts(9, 1))[0] == pytest.approx(1 / math.log2(11) / 2)


@given(
    distances=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=6),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_expectations_equal_mean_over_all_orders_of_ties(
    distances: list[float], data: st.DataObject
) -> None:
    positive = data.draw(st.integers(0, len(distances) - 1))
    ranks = ranks_over_orders(distances, positive)
    found = rank_counts(np.array([distances]), np.array([positive]))
    for k in (1, 2, 5):
        expected = mean([float(rank <= k) for rank in ranks])
        assert expected_recall(found, k)[0] == pytest.approx(expected)
    expected = mean([1 / rank for rank in ranks])
    assert expected_reciprocal_rank(found)[0] == pytest.approx(expected)
    expected = mean([1 / math.log2(1 + rank) * (rank <= 3) for rank in ranks])
    assert expected_ndcg(found, k=3)[0] == pytest.approx(expected)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_rank_without_ties_is_the_place_in_the_sorted_list(seed: int) -> None:
    generator = np.random.default_rng(seed)
    distances = generator.permuted(np.tile(np.arange(40.0), (7, 1)), axis=1)
    positives = generator.integers(0, 40, 7)
    ranks = [
        list(np.argsort(row)).index(p) + 1
        for row, p in zip(distances, positives, strict=True)
    ]
    found = rank_counts(distances, positives)
    assert (found.nearer + 1).tolist() == ranks
    assert not found.tied.any()
    np.testing.assert_allclose(expected_reciprocal_rank(found), 1 / np.array(ranks))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_binary_accuracy_equals_counting_one_negative_at_a_time(seed: int) -> None:
    generator = np.random.default_rng(seed)
    distances = generator.integers(0, 4, (5, 9)).astype(np.float32)
    positives = np.zeros(5, np.int64)
    negatives = np.array([generator.permutation(np.arange(1, 9))[:4] for _ in range(5)])
    negatives[0, 2:] = -1
    found = binary_accuracy(distances, positives, negatives=negatives)
    for row in range(5):
        drawn = [n for n in negatives[row] if n >= 0]
        credits = []
        for negative in drawn:
            gap = distances[row, negative] - distances[row, 0]
            credits.append(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0)
        assert found[row] == pytest.approx(mean(credits))


def test_binary_accuracy_without_negatives_is_undefined() -> None:
    found = binary_accuracy(np.zeros((1, 1)), np.array([0]), negatives=NO_NEGATIVES)
    assert np.isnan(found).all()


@pytest.mark.parametrize("n_products", [2, 7, 100])
def test_everything_tied_gives_the_exact_figures_of_chance(n_products: int) -> None:
    negatives = np.arange(1, n_products)[None, :5]
    values = pair_metrics(np.zeros((1, n_products)), np.array([0]), negatives=negatives)
    found = dict(zip(METRICS, values[0], strict=True))
    assert found["binary_accuracy"] == 0.5
    assert found["recall_at_10"] == pytest.approx(min(1, 10 / n_products))
    harmonic = sum(1 / rank for rank in range(1, n_products + 1))
    assert found["mrr"] == pytest.approx(harmonic / n_products)


def test_rank_counts_refuses_nan() -> None:
    # NaN compares as "not nearer": unnoticed it would be a perfect ranking.
    with pytest.raises(ValueError, match="NaN"):
        rank_counts(np.array([[np.nan, 1.0]]), np.array([0]))


def test_rank_counts_refuses_an_excluded_positive() -> None:
    with pytest.raises(ValueError, match="own candidates"):
        rank_counts(np.array([[np.inf, 1.0]]), np.array([0]))
