"""Ranking a block by its index, against ranking it exactly and sums in float64."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from absent_faiss import hide_faiss

from beam_jobs.ranking.index_search import search_block
from beam_jobs.ranking.lists import ListRule, Ranking
from beam_jobs.ranking.ordering import NOTHING
from beam_jobs.ranking.product_index import ProductIndex, build_index, faiss_library
from beam_jobs.ranking.scorers import InnerProducts, ProductBlock
from beam_jobs.ranking.threads import Workers
from beam_jobs.ranking.top_k import NOTHING_EXCLUDED, Excluded, rank_blocks
from tfrecords_schema.errors import InputError

M, N, DIM, K = 4000, 60, 16, 10
ALL_LISTS = 63  # the root of 4,000
FIRST = 70_000  # products are numbered from the category's first, not the block's


@pytest.fixture(autouse=True)
def _library() -> None:
    pytest.importorskip("faiss")


def clustered(seed: int, n: int) -> np.ndarray:
    """Unit vectors around fifty centres."""
    centres = np.random.default_rng(0).normal(size=(50, DIM))
    generator = np.random.default_rng([1, seed])
    vectors = centres[generator.integers(0, 50, n)]
    vectors = vectors + 0.4 * generator.normal(size=(n, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def block(seed: int) -> ProductBlock:
    """Among the products, thirty that look the same, and groups of four."""
    vectors = clustered(seed, M)
    vectors[100:130] = vectors[100]
    return ProductBlock(FIRST + np.arange(M), vectors, None, np.arange(M) // 4)


def queries(seed: int) -> np.ndarray:
    return clustered(seed + 100, N) + clustered(seed + 200, N)


def some_excluded(seed: int) -> Excluded:
    """A tenth of the products for some queries, and nearly all for one."""
    generator = np.random.default_rng([2, seed])
    pairs = {
        (int(query), int(product))
        for query in generator.choice(N, 20, replace=False)
        for product in generator.choice(M, M // 10, replace=False)
    }
    pairs |= {(3, product) for product in range(M - 5)}
    both = np.array(sorted(pairs, key=lambda pair: pair[::-1]))
    return Excluded(both[:, 0], FIRST + both[:, 1])


def search(
    seed: int,
    rule: ListRule,
    *,
    probes: int,
    excluded: Excluded = NOTHING_EXCLUDED,
    threads: int = 1,
    of: ProductBlock | None = None,
) -> Ranking:
    products = of or block(seed)
    return search_block(
        queries(seed),
        products,
        ProductIndex(build_index(products.vectors)),
        rule,
        probes=probes,
        excluded=excluded,
        workers=Workers(threads),
    )


def assert_equal(found: Ranking, expected: Ranking) -> None:
    np.testing.assert_array_equal(found.products, expected.products)
    np.testing.assert_array_equal(found.distances, expected.distances)
    if expected.groups is not None:
        np.testing.assert_array_equal(found.groups, expected.groups)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rule", [ListRule(K), ListRule(K, per_group=1)])
@pytest.mark.parametrize("excludes", [False, True])
def test_index_that_looks_at_all_lists_ranks_exactly_to_the_bit(
    seed: int, rule: ListRule, excludes: bool
) -> None:
    excluded = some_excluded(seed) if excludes else NOTHING_EXCLUDED
    found = search(seed, rule, probes=ALL_LISTS, excluded=excluded)
    exact = rank_blocks(
        InnerProducts(queries(seed)), [block(seed)], rule, excluded=excluded
    )
    assert_equal(found, exact)


@pytest.mark.parametrize("seed", range(3))
def test_few_lists_find_most_and_give_all_their_exact_distances(seed: int) -> None:
    found, products = search(seed, ListRule(K), probes=6), block(seed)
    exact = rank_blocks(InnerProducts(queries(seed)), [products], ListRule(K))
    hits = sum(
        len({*a} & {*b})
        for a, b in zip(found.products.tolist(), exact.products.tolist(), strict=True)
    )
    assert 0.9 < hits / (N * K) < 1.0  # or nothing would have been left to the index
    wanted = products.vectors[found.products - FIRST].astype(np.float64)
    expected = 2 - (queries(seed).astype(np.float64)[:, None] * wanted).sum(axis=2)
    np.testing.assert_array_equal(found.distances, expected.astype(np.float32))
    for row in range(N):
        pairs = list(zip(found.distances[row], found.products[row], strict=True))
        assert pairs == sorted(pairs)


@pytest.mark.parametrize("probes", [1, ALL_LISTS])
def test_lists_are_full_although_few_products_are_looked_at(probes: int) -> None:
    rule = ListRule(200, per_group=1)
    found = search(0, rule, probes=probes, excluded=some_excluded(0))
    expected = np.full(N, 200)
    expected[3] = 2  # five products of two groups are left to it
    np.testing.assert_array_equal(found.lengths, expected)


def test_more_equal_products_than_are_spare_are_ordered_by_number() -> None:
    vectors = clustered(5, M)
    vectors[np.random.default_rng(3).choice(M, 500, replace=False)] = vectors[0]
    products = ProductBlock(FIRST + np.arange(M), vectors)
    one = 2 * vectors[:1]
    found = search_block(
        one,
        products,
        ProductIndex(build_index(vectors)),
        ListRule(K),
        probes=1,
        excluded=NOTHING_EXCLUDED,
        workers=Workers(1),
    )
    assert_equal(found, rank_blocks(InnerProducts(one), [products], ListRule(K)))
    assert len(set(found.distances[0].tolist())) == 1


@pytest.mark.parametrize("apart", [0.0, 1e-6, 1e-5])
def test_products_that_the_index_cannot_tell_apart_are_ranked_exactly(
    apart: float,
) -> None:
    # float16 has steps of 1e-4 here: which of the 500 are found has nothing to do with
    # which are nearest.
    vectors = clustered(5, M)
    generator = np.random.default_rng(3)
    alike = generator.choice(M, 500, replace=False)
    vectors[alike] = vectors[0] + apart * generator.normal(size=(500, DIM))
    products = ProductBlock(FIRST + np.arange(M), vectors)
    some = clustered(5, 1) + np.r_[
        np.zeros((1, DIM)), 0.1 * generator.normal(size=(9, DIM))
    ].astype(np.float32)
    found = search_block(
        some,
        products,
        ProductIndex(build_index(vectors)),
        ListRule(K),
        probes=ALL_LISTS,
        excluded=NOTHING_EXCLUDED,
        workers=Workers(1),
    )
    assert_equal(found, rank_blocks(InnerProducts(some), [products], ListRule(K)))


def test_product_that_is_excluded_is_in_no_list() -> None:
    excluded = some_excluded(1)
    found = search(1, ListRule(K), probes=4, excluded=excluded)
    out = set(zip(excluded.queries.tolist(), excluded.products.tolist(), strict=True))
    listed = {
        (row, product)
        for row, products in enumerate(found.products.tolist())
        for product in products
        if product != NOTHING
    }
    assert not listed & out


def test_same_vectors_make_the_same_index_whatever_the_threads() -> None:
    faiss = faiss_library()
    made: list[bytes] = []

    def build(threads: int) -> None:
        faiss.omp_set_num_threads(threads)
        made.append(build_index(clustered(7, M)))

    for threads in (1, 2, 3):
        worker = threading.Thread(target=build, args=(threads,))
        worker.start()
        worker.join()
    assert made[0] == made[1] == made[2]


def test_threads_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_jobs.ranking.index_search._QUERIES", 7)
    one = search(8, ListRule(K), probes=3, threads=1)
    assert_equal(search(8, ListRule(K), probes=3, threads=3), one)


def test_no_queries_find_nothing() -> None:
    products = block(0)
    found = search_block(
        np.empty((0, DIM), np.float32),
        products,
        ProductIndex(build_index(products.vectors)),
        ListRule(K, per_group=2),
        probes=3,
        excluded=NOTHING_EXCLUDED,
        workers=Workers(1),
    )
    assert found.products.shape == (0, K)
    assert found.groups is not None


def test_library_that_is_absent_is_an_error_that_names_option_and_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide_faiss(monkeypatch)
    with pytest.raises(InputError, match=r"--index needs FAISS.*'\.\[index\]'"):
        faiss_library()
