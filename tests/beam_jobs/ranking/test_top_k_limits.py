"""Top-k lists at the limits: rounding, equal products, more columns than a tile."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sorted_lists import SmallPieces, as_lists, brute_force

from beam_jobs.ranking import top_k
from beam_jobs.ranking.lists import ListRule
from beam_jobs.ranking.scorers import InnerProducts, ProductBlock
from beam_jobs.ranking.top_k import rank_blocks


def test_products_of_many_tiles_are_ranked_as_those_of_one() -> None:
    # The scorer looks at 256 columns at a time, and at 2,048 between two looks at the
    # lists; whole numbers, so that sums are exact.
    generator = np.random.default_rng(11)
    vectors = generator.integers(-9, 10, (15_003, 6)).astype(np.float32)
    queries = generator.integers(-9, 10, (5, 6)).astype(np.float32)
    products = ProductBlock(7 + 2 * np.arange(len(vectors)), vectors)
    found = rank_blocks(InnerProducts(queries), [products], ListRule(40))
    assert as_lists(found) == brute_force(queries, products, ListRule(40))


def test_nearest_product_is_found_though_its_rough_score_is_far_off() -> None:
    # 2²⁴ + ½ is 2²⁴ in float32, so that a thousand halves between 2²⁴ and −2²⁴ are lost
    # or nearly so, whatever the order in which a matrix product sums.
    query = np.r_[1, np.full(1022, 1 / 32), 1].astype(np.float32)[None, :]
    vectors = np.zeros((40, 1024), np.float32)
    vectors[:39, 1] = 32 * np.arange(489, 450, -1)
    vectors[39] = np.r_[2**24, np.full(1022, 16), -(2**24)]
    assert (query @ vectors.T)[0, 39] < 450  # instead of 511, which is the best
    products = ProductBlock(np.arange(40), vectors)
    for scorer in (InnerProducts(query), SmallPieces(query)):
        found = rank_blocks(scorer, [products], ListRule(2))
        assert as_lists(found) == [[(2.0 - 511, 39), (2.0 - 489, 0)]]


def test_distances_that_round_to_the_same_are_ordered_by_number() -> None:
    # Both signs, so that scores differ; next to 2 they are nothing.
    products = ProductBlock(
        np.arange(30),
        np.where(np.arange(30) % 3, 1e-9, -1e-9).astype(np.float32)[:, None],
    )
    found = rank_blocks(
        SmallPieces(np.ones((2, 1), np.float32)), [products], ListRule(3)
    )
    assert as_lists(found) == [[(2.0, 0), (2.0, 1), (2.0, 2)]] * 2


@pytest.mark.parametrize("per_group", [None, 1])
def test_memory_of_equal_products_is_that_of_a_few_queries(
    per_group: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A million candidates, 65,536 at a time; with groups too few for a full list there
    # is never a bound.
    monkeypatch.setattr(top_k, "_FIRST_QUERIES", 64)
    n = 1024
    products = ProductBlock(
        np.arange(n), np.ones((n, 2), np.float32), None, np.arange(n) % 10
    )
    scorer = InnerProducts(np.ones((n, 2), np.float32))
    tracemalloc.start()
    try:
        found = rank_blocks(scorer, [products], ListRule(20, per_group))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40e6
    expected = list(range(10 if per_group else 20))
    assert [[product for _, product in row] for row in as_lists(found)] == [
        expected
    ] * n
