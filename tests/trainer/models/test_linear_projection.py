"""The closed-form projection: planted directions, hand-made oracles, and edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trainer.configuration.config import ProjectionConfig
from trainer.models import linear_projection
from trainer.models.linear_projection import (
    LinearProjection,
    PairBlock,
    ProjectionFit,
    Rows,
    cross_covariance,
    whole_groups,
)

DIM, STYLES = 24, 3
SEEDS = range(5)


def planted(
    seed: int, n: int = 400
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scenes and products that share a style, under a louder category and noise."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(2, STYLES, DIM))
    category = generator.integers(0, 2, n)
    style = generator.normal(size=(n, STYLES))
    loud = 6.0 * generator.normal(size=(2, 2, DIM))

    def seen(side: int) -> np.ndarray:
        noise = generator.normal(size=(n, DIM))
        features = style @ mixing[side] + loud[side, category] + noise
        return np.square(features + 40.0).astype(np.float64)

    return seen(0), seen(1), category, np.arange(n)


def fitted(
    scenes: np.ndarray,
    products: np.ndarray,
    category: np.ndarray,
    groups: np.ndarray,
    *,
    ridge: float = 0.8,
    **config: float,
) -> LinearProjection:
    def rows(features: np.ndarray) -> Rows:
        return Rows(features, np.arange(len(features)))

    return ProjectionFit(
        rows(scenes),
        rows(products),
        category,
        groups,
        n_categories=2,
        config=ProjectionConfig(**config),  # type: ignore[arg-type]
    ).solve(ridge)


def accuracy(projection: LinearProjection, seed: int) -> float:
    """How often a pair's product is nearer than another of its category."""
    scenes, products, category, _ = planted(seed)
    # The mixing is that of the seed, the rows are others than those fitted below.
    queries = projection.scenes.vectors(scenes[200:], category[200:])
    vectors = projection.products.vectors(products[200:])
    scores = queries @ vectors.T
    same = category[200:][:, None] == category[200:][None]
    np.fill_diagonal(same, False)
    nearer = np.diagonal(scores)[:, None] > scores
    return float(nearer[same].mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_products_of_a_scene_are_near_on_rows_that_were_not_fitted(seed: int) -> None:
    assert accuracy(fitted(*(part[:200] for part in planted(seed))), seed) > 0.75


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_found_where_pairs_are_by_chance(seed: int) -> None:
    scenes, products, category, ids = (part[:200] for part in planted(seed))
    order = np.random.default_rng(seed).permutation(200)
    projection = fitted(scenes, products[order], category, ids)
    assert abs(accuracy(projection, seed) - 0.5) < 0.17


def test_directions_are_those_of_canonical_correlation_without_a_ridge() -> None:
    scenes, products, category, ids = planted(7)
    projection = fitted(
        scenes, products, category, ids, ridge=0.0, shrinkage=0.0, power=1.0
    )

    x, y = np.sqrt(scenes), np.sqrt(products)
    for name in np.unique(category):
        for side in (x, y):
            side[category == name] -= side[category == name].mean(axis=0)
    xx, yy, xy = x.T @ x, y.T @ y, x.T @ y
    # Hotelling's eigenproblem.
    squared = np.linalg.eigvals(np.linalg.solve(xx, xy) @ np.linalg.solve(yy, xy.T))
    expected = np.sqrt(np.sort(squared.real)[::-1])

    left, right = (
        side.standard(np.sqrt(features), category) @ side.kernel()
        for side, features in (
            (projection.scenes, scenes),
            (projection.products, products),
        )
    )
    found = [np.corrcoef(left[:, n], right[:, n])[0, 1] for n in range(STYLES)]
    np.testing.assert_allclose(found, expected[:STYLES], atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [1, 5, 100])
def test_covariance_counts_a_scene_s_other_products_pair_by_pair(
    seed: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_projection, "_BLOCK", size)
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(12, 2)), generator.normal(size=(12, 3))
    groups = np.sort(generator.integers(0, 5, 12))
    pairs = [(i, j) for i in range(12) for j in range(12) if groups[i] == groups[j]]
    others = [(i, j) for i, j in pairs if i != j]
    own = sum(np.outer(x[i], y[i]) for i in range(12)) / 12
    more = sum(np.outer(x[i], y[j]) for i, j in others) / len(others)
    blocks = [PairBlock(x[s], y[s], groups[s]) for s in whole_groups(groups)]
    found = cross_covariance(blocks, 0.3)
    np.testing.assert_allclose(found, own + 0.3 * more, atol=1e-12)


def test_covariance_of_scenes_with_one_product_each_is_that_of_the_pairs() -> None:
    x, y = np.array([[1.0], [3.0]]), np.array([[2.0, 0.0], [1.0, 4.0]])
    found = cross_covariance([PairBlock(x, y, np.array([0, 1]))], 0.3)
    np.testing.assert_allclose(found, [[2.5, 6.0]])  # (1·2 + 3·1) / 2, (3·4) / 2


@pytest.mark.parametrize("size", [1, 3, 4, 50])
def test_no_group_is_cut(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_projection, "_BLOCK", size)
    groups = np.repeat([0, 1, 2, 5], [2, 1, 6, 3])
    slices = list(whole_groups(groups))
    assert [n for s in slices for n in range(s.start, s.stop)] == list(range(12))
    for before, after in itertools.pairwise(slices):
        assert groups[before.stop - 1] != groups[after.start]


def test_vectors_have_unit_length_and_follow_from_the_input_alone() -> None:
    scenes, products, category, ids = planted(1)
    first = fitted(scenes, products, category, ids)
    again = fitted(scenes, products, category, ids)
    found = first.scenes.vectors(scenes.astype(np.float16), category)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(
        found, again.scenes.vectors(scenes.astype(np.float16), category)
    )


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_pairs_give_finite_vectors(n: int) -> None:
    scenes, products, category, ids = (part[:n] for part in planted(2))
    projection = fitted(scenes, products, category, ids)
    # A category that no pair has is taken for one that is like all of them.
    found = projection.scenes.vectors(scenes, np.ones(n, int))
    assert np.isfinite(found).all()
    assert len(projection.products.vectors(products[:0])) == 0


def test_blocks_of_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes, products, category, ids = planted(3)
    whole = fitted(scenes, products, category, ids // 2)
    monkeypatch.setattr(linear_projection, "_BLOCK", 37)
    blocked = fitted(scenes, products, category, ids // 2)
    cosines = (
        whole.scenes.vectors(scenes, category) @ whole.products.vectors(products).T
    )
    found = blocked.scenes.vectors(scenes, category)
    np.testing.assert_allclose(
        found @ blocked.products.vectors(products).T, cosines, atol=1e-5
    )


def test_rows_that_pairs_share_are_those_repeated() -> None:
    scenes, products, category, ids = planted(4, n=60)
    of_pair = np.random.default_rng(4).integers(0, 30, 60)
    repeated = fitted(scenes[of_pair], products, category, ids)
    shared = ProjectionFit(
        Rows(scenes[:30], of_pair),
        Rows(products, np.arange(60)),
        category,
        ids,
        n_categories=2,
        config=ProjectionConfig(),
    ).solve(0.8)
    np.testing.assert_allclose(
        shared.scenes.kernel(), repeated.scenes.kernel(), rtol=1e-6
    )
