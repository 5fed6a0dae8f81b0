"""Exact top-k against sorting everything, whatever the blocks, threads and merges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sorted_lists import SmallPieces, as_lists, brute_force

from beam_jobs.ranking.lists import ListRule, Ranking, merge_rankings
from beam_jobs.ranking.ordering import NOTHING
from beam_jobs.ranking.scorers import InnerProducts, ProductBlock
from beam_jobs.ranking.threads import Workers
from beam_jobs.ranking.top_k import (
    NOTHING_EXCLUDED,
    Excluded,
    rank_blocks,
)


def cut_up(products: ProductBlock, owners: Sequence[int]) -> list[ProductBlock]:
    """The products dealt into blocks by their owners."""
    found = []
    for owner in dict.fromkeys(owners):
        rows = np.flatnonzero(np.asarray(owners) == owner)
        groups = None if products.groups is None else products.groups[rows]
        found.append(
            ProductBlock(products.products[rows], products.vectors[rows], None, groups)
        )
    return found


def excluded_of(pairs: frozenset[tuple[int, int]]) -> Excluded:
    ordered = sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    flat = np.array(ordered, np.int64).reshape(-1, 2)
    return Excluded(flat[:, 0], flat[:, 1])


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Small whole numbers: many ties, many equal vectors, sums without rounding."""
    n = draw(st.integers(0, 8))
    m = draw(st.integers(0, 40))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    dim = draw(st.sampled_from([1, 3, 8]))
    spread = draw(st.sampled_from([1, 2, 50]))
    numbers = np.sort(generator.choice(1000, m, replace=False)).astype(np.int64)
    queries = generator.integers(-spread, spread + 1, (n, dim)).astype(np.float32)
    products = ProductBlock(
        numbers,
        generator.integers(-spread, spread + 1, (m, dim)).astype(np.float32),
        None,
        generator.integers(0, max(1, m // 2), m),
    )
    share = draw(st.sampled_from([0.0, 0.1, 0.9]))
    excluded = frozenset(
        (query, int(number))
        for query in range(n)
        for number in numbers
        if generator.random() < share
    )
    return {
        "queries": queries,
        "products": products,
        "rule": ListRule(
            draw(st.sampled_from([1, 2, 7, 39, 60])),
            draw(st.sampled_from([None, 1, 2, 5])),
        ),
        "excluded": excluded,
        "owners": draw(st.lists(st.integers(0, 4), min_size=m, max_size=m)),
        "pieces": (draw(st.integers(1, 9)), draw(st.integers(1, 50))),
        "threads": draw(st.sampled_from([1, 3])),
    }


def rank(world: dict[str, Any], blocks: Sequence[ProductBlock]) -> Ranking:
    scorer = InnerProducts(world["queries"])
    scorer.query_rows, scorer.product_rows = world["pieces"]
    return rank_blocks(
        scorer,
        blocks,
        world["rule"],
        excluded=excluded_of(world["excluded"]),
        workers=Workers(world["threads"]),
    )


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_lists_are_those_of_sorting_all_whatever_the_blocks(
    world: dict[str, Any],
) -> None:
    expected = brute_force(
        world["queries"], world["products"], world["rule"], world["excluded"]
    )
    blocks = cut_up(world["products"], world["owners"])
    assert as_lists(rank(world, blocks)) == expected
    # And of blocks that are ranked for themselves and merged, in any nesting.
    parts = [rank(world, [block]) for block in blocks]
    if parts:
        whole = merge_rankings(parts, world["rule"])
        assert as_lists(whole) == expected
        half = len(parts) // 2
        nested = [
            merge_rankings(some, world["rule"])
            for some in (parts[half:], parts[:half])
            if some
        ]
        assert as_lists(merge_rankings(nested, world["rule"])) == expected


def unit(seed: int, *, n: int = 20, m: int = 3000) -> tuple[np.ndarray, ProductBlock]:
    """Queries and products as a model makes them, a tenth of the products equal."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(m, 128))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[generator.choice(m, m // 10, replace=False)] = vectors[0]
    queries = generator.normal(size=(n, 128)) / 8
    return queries.astype(np.float32), ProductBlock(
        np.arange(m), vectors.astype(np.float32), None, np.arange(m) // 3
    )


@pytest.mark.parametrize("per_group", [None, 1])
@pytest.mark.parametrize("seed", range(3))
def test_unit_vectors_give_the_same_bits_whatever_the_pieces(
    seed: int, per_group: int | None
) -> None:
    queries, products = unit(seed)
    rule = ListRule(50, per_group)
    whole = rank_blocks(InnerProducts(queries), [products], rule)
    generator = np.random.default_rng(seed)
    blocks = cut_up(products, generator.integers(0, 7, len(products.products)).tolist())
    other = rank_blocks(SmallPieces(queries), blocks, rule, workers=Workers(2))
    np.testing.assert_array_equal(other.products, whole.products)
    np.testing.assert_array_equal(other.distances, whole.distances)
    alone = rank_blocks(InnerProducts(queries[3:4]), [products], rule)
    np.testing.assert_array_equal(alone.distances[0], whole.distances[3])
    expected = brute_force(queries, products, rule)
    for found, wanted in zip(as_lists(whole), expected, strict=True):
        # The oracle sums in another order: its last bit may differ, not its list.
        assert [product for _, product in found] == [product for _, product in wanted]
        np.testing.assert_allclose(
            [distance for distance, _ in found],
            [distance for distance, _ in wanted],
            rtol=3e-7,
        )


def test_blocks_of_long_vectors_after_short_ones_are_ranked_exactly() -> None:
    # What rounding does grows with the vectors, so that a floor of short ones is not
    # one of long ones.
    generator = np.random.default_rng(5)
    vectors = generator.normal(size=(400, 64)).astype(np.float32)
    vectors[200:] *= 1e4
    queries = generator.normal(size=(6, 64)).astype(np.float32)
    products = ProductBlock(np.arange(400), vectors)
    rule = ListRule(150)
    blocks = [products.rows(slice(at, at + 50)) for at in range(0, 400, 50)]
    found = rank_blocks(InnerProducts(queries), blocks, rule)
    whole = rank_blocks(InnerProducts(queries), [products], rule)
    np.testing.assert_array_equal(found.products, whole.products)
    expected = brute_force(queries, products, rule)
    assert [[product for _, product in row] for row in as_lists(found)] == [
        [product for _, product in row] for row in expected
    ]


def test_ranking_of_a_hand_worked_case() -> None:
    products = ProductBlock(
        np.array([2, 5, 6, 9]), np.array([[0, 1], [1, 0], [0, -1], [0, 1]], np.float32)
    )
    queries = np.array([[1, 1], [0, 2]], np.float32)
    # Distances 2 − q·p: 1, 1, 3, 1 and 0, 2, 4, 0.
    found = rank_blocks(InnerProducts(queries), [products], ListRule(3))
    assert found.products.tolist() == [[2, 5, 9], [2, 9, 5]]
    assert found.distances.tolist() == [[1, 1, 1], [0, 0, 2]]
    assert found.distances.dtype == np.float32


def test_list_holds_no_more_of_a_group_than_it_may() -> None:
    products = ProductBlock(
        np.arange(4),
        np.array([[4], [3], [2], [1]], np.float32),
        None,
        np.array([7, 7, 8, 7]),
    )
    query = InnerProducts(np.ones((1, 1), np.float32))
    assert rank_blocks(query, [products], ListRule(3, 1)).products.tolist() == [
        [0, 2, NOTHING]
    ]
    assert rank_blocks(query, [products], ListRule(3, 2)).products.tolist() == [
        [0, 1, 2]
    ]


def test_empty_category_gives_empty_lists() -> None:
    nothing = ProductBlock(np.empty(0, np.int64), np.empty((0, 4), np.float32))
    found = rank_blocks(InnerProducts(np.ones((2, 4), np.float32)), [nothing], RULE)
    assert as_lists(found) == [[], []]
    assert as_lists(rank_blocks(InnerProducts(np.ones((2, 4))), [], RULE)) == [[], []]


RULE = ListRule(3)


def test_catalogue_of_equal_products_is_ranked_by_number() -> None:
    products = ProductBlock(np.arange(20_000), np.ones((20_000, 8), np.float32))
    queries = np.ones((4, 8), np.float32)
    found = rank_blocks(InnerProducts(queries), [products], ListRule(5))
    assert found.products.tolist() == [[0, 1, 2, 3, 4]] * 4


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
@pytest.mark.parametrize("side", ["query", "product"])
def test_vector_that_is_not_finite_is_an_error(value: float, side: str) -> None:
    queries, products = unit(0, n=5, m=20)
    target = queries if side == "query" else products.vectors
    target[3, 5] = value
    with pytest.raises(ValueError, match="not finite"):
        rank_blocks(InnerProducts(queries), [products], RULE, excluded=NOTHING_EXCLUDED)


def test_no_thread_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 threads"):
        Workers(0)


def test_error_in_a_thread_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        Workers(2).each(lambda number: [1 // number][:0].clear(), [1, 0, 2])
