from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.metrics import (
    METRICS,
    RankCounts,
    binary_accuracy,
    expected_auc,
    expected_ndcg,
    expected_recall,
    expected_reciprocal_rank,
    fill_in_the_blank,
    pair_metrics,
    pair_notes,
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


def test_auc_worked_by_hand() -> None:
    # Of five others one is nearer, two are level and two farther: (2 + 2 / 2) / 5.
    # The sixth is a co-positive and no candidate.
    distances = np.array([[0.4, 0.1, 0.4, np.inf, 0.9, 0.4, 0.7]])
    assert expected_auc(rank_counts(distances, np.array([2])))[0] == 3 / 5


def test_fill_in_the_blank_worked_by_hand() -> None:
    # The positive at 2; others nearer, level, level, farther: four questions of three.
    distances = np.array([[2.0, 1.0, 2.0, 2.0, 3.0, np.inf]])
    found = fill_in_the_blank(
        distances, np.array([0]), negatives=np.array([[1, 2, 3, 4, -1]])
    )
    # Without the nearer one the positive is one of three that are level; else lost.
    assert found[0] == pytest.approx((0 + 0 + 0 + 1 / 3) / 4)
    farther = np.array([[2.0, 9.0, 2.0, 2.0, 3.0, np.inf]])
    found = fill_in_the_blank(
        farther, np.array([0]), negatives=np.array([[1, 2, 3, 4, -1]])
    )
    # Questions (9 2 2), (9 2 3), (9 2 3), (2 2 3): 1/3, 1/2, 1/2, 1/3.
    assert found[0] == pytest.approx(5 / 12)


def fitb_by_asking(own: float, drawn: list[float]) -> float:
    """Every three of the drawn are a question; every order of ties is as likely."""
    answers = [
        mean([float(rank == 1) for rank in ranks_over_orders([own, *question], 0)])
        for question in itertools.combinations(drawn, 3)
    ]
    return mean(answers)


@given(
    own=st.sampled_from([0.0, 0.5, 1.0]),
    drawn=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=7),
    filling=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_fill_in_the_blank_equals_asking_every_question_in_every_order(
    own: float, drawn: list[float], filling: int
) -> None:
    negatives = [*range(1, len(drawn) + 1), *[-1] * filling]
    found = fill_in_the_blank(
        np.array([[own, *drawn]]), np.array([0]), negatives=np.array([negatives])
    )
    assert found[0] == pytest.approx(fitb_by_asking(own, drawn))


@pytest.mark.parametrize("drawn", [0, 1, 2])
def test_fill_in_the_blank_of_fewer_choices_is_undefined(drawn: int) -> None:
    negatives = np.array([[1, 2, 3][:drawn] + [-1] * (4 - drawn)])
    found = fill_in_the_blank(np.zeros((1, 9)), np.array([0]), negatives=negatives)
    assert np.isnan(found).all()


@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_auc_equals_asking_one_candidate_at_a_time(seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    distances = generator.integers(0, levels, (6, 15)).astype(np.float32)
    distances[generator.random((6, 15)) < 0.2] = np.inf  # co-positives
    positives = generator.integers(0, 15, 6)
    distances[np.arange(6), positives] = generator.integers(0, levels, 6)
    distances[0] = np.inf  # a pair without another candidate
    distances[0, positives[0]] = 1.0
    found = expected_auc(rank_counts(distances, positives))
    assert np.isnan(found[0])
    for row, positive, value in list(zip(distances, positives, found, strict=True))[1:]:
        gaps = [
            row[other] - row[positive]
            for other in range(15)
            if other != positive and np.isfinite(row[other])
        ]
        if gaps:
            expected = mean([1.0 if g > 0 else 0.5 if g == 0 else 0.0 for g in gaps])
            assert value == pytest.approx(expected)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_auc_is_binary_accuracy_against_every_candidate(seed: int) -> None:
    generator = np.random.default_rng(seed)
    distances = generator.integers(0, 5, (4, 9)).astype(np.float32)
    positives = np.zeros(4, np.int64)
    everybody = np.tile(np.arange(1, 9), (4, 1))
    np.testing.assert_allclose(
        expected_auc(rank_counts(distances, positives)),
        binary_accuracy(distances, positives, negatives=everybody),
    )


def test_order_that_distances_are_turned_over_in_turns_auc_over() -> None:
    distances = np.random.default_rng(0).integers(0, 4, (8, 20)).astype(float)
    positives = np.arange(8)
    auc, turned = (
        expected_auc(rank_counts(sign * distances, positives)) for sign in (1, -1)
    )
    np.testing.assert_allclose(auc + turned, 1.0)


def test_pairs_with_few_others_are_noted() -> None:
    values = np.zeros((5, len(METRICS)))
    assert pair_notes(values) == []
    values[:2, METRICS.index("fitb_4")] = np.nan
    (few,) = pair_notes(values)
    assert few.startswith("2 pairs have fewer than 3 drawn negatives")
    values[0, METRICS.index("auc")] = np.nan
    alone, _ = pair_notes(values)
    assert alone.startswith("1 pairs have no product of their category")


@pytest.mark.parametrize("n_products", [4, 7, 100])
def test_everything_tied_gives_the_exact_figures_of_chance(n_products: int) -> None:
    negatives = np.arange(1, n_products)[None, :5]
    values = pair_metrics(np.zeros((1, n_products)), np.array([0]), negatives=negatives)
    found = dict(zip(METRICS, values[0], strict=True))
    assert found["binary_accuracy"] == 0.5
    assert found["auc"] == 0.5
    assert found["fitb_4"] == 0.25
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
