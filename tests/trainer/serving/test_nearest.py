"""The nearest products: exact, in order, ties by id, in blocks of any size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from trainer.serving import nearest
from trainer.serving.nearest import Product, RankedProduct, nearest_products

DIM = 8


def unit(generator: np.random.Generator, n: int) -> np.ndarray:
    vectors = generator.normal(size=(n, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def world(seed: int) -> tuple[list[Product], dict[str, np.ndarray], np.ndarray]:
    """Products in no order, of which some share a picture, and queries."""
    generator = np.random.default_rng(seed)
    pictures = dict(
        zip([f"sha-{n}" for n in range(9)], unit(generator, 9), strict=True)
    )
    names = generator.permutation(30)
    products = [Product(f"p{n:02d}", f"sha-{n % 9}") for n in names]
    return products, pictures, 2 * unit(generator, 3)


def ids(ranked: Sequence[RankedProduct]) -> list[str]:
    return [item.product.product_id for item in ranked]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("block", [1, 7, 100])
def test_ranking_is_that_of_all_distances_sorted_with_their_ids(
    seed: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_BLOCK", block)
    products, pictures, queries = world(seed)
    ranked = nearest_products(
        queries,
        products,
        lambda wanted: np.stack([pictures[sha256] for sha256 in wanted]),
        top=12,
    )
    for query, found in zip(queries, ranked, strict=True):
        exact = {
            p.product_id: np.float32(
                2.0
                - sum(
                    float(a) * float(b)
                    for a, b in zip(query, pictures[p.sha256], strict=True)
                )
            )
            for p in products
        }
        expected = sorted(exact, key=lambda name: (round(float(exact[name]), 6), name))
        assert ids(found) == expected[:12]
        assert [item.rank for item in found] == list(range(1, 13))


def test_distance_is_worked_out_by_hand() -> None:
    # q = (1.2, 0.5), f = (0.6, 0.8): 2 - (0.72 + 0.40) = 0.88.
    ((found,),) = nearest_products(
        np.array([[1.2, 0.5]], np.float32),
        [Product("p", "sha")],
        lambda _: np.array([[0.6, 0.8]], np.float32),
        top=5,
    )
    assert found.rank == 1
    assert found.distance == pytest.approx(0.88)


@pytest.mark.parametrize("block", [1, 2, 100])
def test_products_that_look_the_same_are_ordered_by_id(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_BLOCK", block)
    products = [Product(name, "same") for name in ("c", "a", "d", "b")]
    query = np.random.default_rng(0).normal(size=(1, DIM)).astype(np.float32)
    (found,) = nearest_products(
        query, products, lambda wanted: np.full((len(wanted), DIM), 0.3), top=3
    )
    assert ids(found) == ["a", "b", "c"]
    assert len({item.distance for item in found}) == 1
