"""Exact top-k against sorting everything, and merging against not cutting at all."""

from __future__ import annotations

import numpy as np
import pytest

from beam_jobs.ranking.top_k import ProductBlock, Ranking, merge_rankings, rank_block

SEEDS = range(6)


def with_ties(seed: int, *, n: int = 5, m: int = 40) -> tuple[np.ndarray, ProductBlock]:
    """Queries and products of small whole numbers: many distances are equal."""
    generator = np.random.default_rng(seed)
    queries = generator.integers(-2, 3, (n, 4)).astype(np.float32)
    vectors = generator.integers(-1, 2, (m, 4)).astype(np.float32)
    return queries, ProductBlock(product_ids(m), vectors)


def unit(seed: int, *, n: int = 9, m: int = 101) -> tuple[np.ndarray, ProductBlock]:
    """Queries and products as a model makes them."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(m, 128))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = generator.normal(size=(n, 128)) / 8
    return queries.astype(np.float32), ProductBlock(
        product_ids(m), vectors.astype(np.float32)
    )


def product_ids(m: int) -> np.ndarray:
    # Ascending as text, which as numbers they are not: p1, p10, p100, p11 …
    return np.array(sorted(f"p{number}" for number in range(m)))


def brute_force(queries: np.ndarray, products: ProductBlock, k: int) -> list[list[str]]:
    """Ids by (distance, id), every pair for itself; distances as float32 has them."""
    return [
        [
            product_id
            for _, product_id in sorted(
                (np.float32(2.0 - query.astype(np.float64) @ vector), str(product_id))
                for product_id, vector in zip(
                    products.ids, products.vectors.astype(np.float64), strict=True
                )
            )
        ][:k]
        for query in queries
    ]


def part(products: ProductBlock, rows: np.ndarray) -> ProductBlock:
    rows = np.sort(rows)
    return ProductBlock(products.ids[rows], products.vectors[rows])


def assert_same(found: Ranking, expected: Ranking) -> None:
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_ranking_of_a_hand_worked_case() -> None:
    products = ProductBlock(
        np.array(["a", "b", "c", "d"]),
        np.array([[0, 1], [1, 0], [0, -1], [0, 1]], np.float32),
    )
    queries = np.array([[1, 1], [0, 2]], np.float32)
    # Distances 2 − q·p: 1, 1, 3, 1 and 0, 2, 4, 0.
    found = rank_block(queries, products, 3)
    assert found.ids.tolist() == [["a", "b", "d"], ["a", "d", "b"]]
    assert found.distances.tolist() == [[1, 1, 1], [0, 0, 2]]
    assert found.distances.dtype == np.float32


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 7, 39, 40, 100])
def test_ranking_with_ties_is_that_of_sorting_all(seed: int, k: int) -> None:
    queries, products = with_ties(seed)
    found = rank_block(queries, products, k)
    assert found.ids.tolist() == brute_force(queries, products, k)
    assert found.distances.shape == (len(queries), min(k, len(products.ids)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 10, 101])
def test_ranking_of_unit_vectors_is_that_of_sorting_all(seed: int, k: int) -> None:
    queries, products = unit(seed)
    found = rank_block(queries, products, k)
    assert found.ids.tolist() == brute_force(queries, products, k)


@pytest.mark.parametrize("seed", SEEDS)
def test_products_with_the_same_vector_are_ranked_by_id(seed: int) -> None:
    queries, products = unit(seed, n=30)
    same = np.random.default_rng(seed).choice(len(products.ids), 12, replace=False)
    products.vectors[same] = products.vectors[same[0]]
    found = rank_block(queries, products, len(products.ids))
    wanted = sorted(products.ids[same])
    for ids, distances in zip(found.ids, found.distances, strict=True):
        is_same = np.isin(ids, wanted)
        assert ids[is_same].tolist() == wanted
        assert len(set(distances[is_same])) == 1
    for k in range(1, len(products.ids), 5):  # a list that ends among them too
        short = rank_block(queries, products, k)
        assert_same(short, Ranking(found.ids[:, :k], found.distances[:, :k]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("world", [with_ties, unit])
def test_merge_of_any_partition_in_any_order_is_the_whole(
    seed: int, world: type
) -> None:
    queries, products = world(seed)
    generator = np.random.default_rng(seed)
    for k in (1, 6, 25, 200):
        owner = generator.integers(0, 5, len(products.ids))
        rankings = [
            rank_block(queries, part(products, np.flatnonzero(owner == number)), k)
            for number in generator.permutation(np.unique(owner))
        ]
        whole = rank_block(queries, products, k)
        assert_same(merge_rankings(rankings, k), whole)
        cut = int(generator.integers(1, len(rankings)))
        nested = [merge_rankings(rankings[:cut], k), merge_rankings(rankings[cut:], k)]
        assert_same(merge_rankings(nested, k), whole)


def test_merge_keeps_long_ids_beside_short_ones() -> None:
    short = Ranking(np.array([["b"]]), np.array([[1.0]], np.float32))
    long = Ranking(np.array([["a much longer id"]]), np.array([[1.0]], np.float32))
    found = merge_rankings([short, long], 5)
    assert found.ids.tolist() == [["a much longer id", "b"]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["query", "product"])
def test_vector_that_is_not_finite_is_an_error(value: float, side: str) -> None:
    queries, products = unit(0)
    target = queries if side == "query" else products.vectors
    target[3, 5] = value
    with pytest.raises(ValueError, match="not finite"):
        rank_block(queries, products, 3)
