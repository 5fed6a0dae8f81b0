"""Ranking by distances that are no inner products, against the formulas in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from beam_jobs.ranking.lists import ListRule
from beam_jobs.ranking.pair_scorer import PairDistances, PairRule, SceneArrays
from beam_jobs.ranking.scorers import ProductBlock
from beam_jobs.ranking.top_k import rank_blocks
from trainer.configuration.config import Distance

N, M, REGIONS, DIM, K = 7, 60, 4, 6, 9


def units(generator: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = generator.normal(size=shape)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors.astype(np.float32)


def scenes(seed: int, *, by_category: bool) -> SceneArrays:
    generator = np.random.default_rng(seed)
    attention = generator.dirichlet(np.ones(REGIONS), N).astype(np.float32)
    return SceneArrays(
        units(generator, N, DIM),
        units(generator, N, REGIONS, DIM),
        units(generator, N, REGIONS, DIM),
        attention if by_category else None,
    )


def products(seed: int) -> ProductBlock:
    generator = np.random.default_rng([1, seed])
    vectors, keys = units(generator, M, DIM), units(generator, M, DIM)
    copies = generator.choice(M, 12, replace=False)
    vectors[copies], keys[copies] = vectors[copies[0]], keys[copies[0]]
    return ProductBlock(np.arange(M), vectors, keys)


def distance(
    scenes: SceneArrays, n: int, block: ProductBlock, m: int, rule: PairRule
) -> float:
    """Kang et al. 2019, equations 4, 5 and 7, of one pair."""

    def far(a: np.ndarray, b: np.ndarray) -> float:
        square = float(((a.astype(np.float64) - b.astype(np.float64)) ** 2).sum())
        return square if rule.squared else square**0.5

    d_global = far(scenes.scene[n], block.vectors[m])
    if rule.distance is Distance.GLOBAL:
        return d_global
    assert scenes.local is not None
    if scenes.attention is not None:
        weights = scenes.attention[n].astype(np.float64)
    else:
        assert scenes.keys is not None
        assert block.keys is not None
        sign = -1 if rule.near_regions else 1
        gaps = scenes.keys[n].astype(np.float64) - block.keys[m]
        weights = np.exp(sign * (gaps**2).sum(axis=1))
        weights /= weights.sum()
    to_regions = [far(region, block.vectors[m]) for region in scenes.local[n]]
    d_local = float(weights @ np.array(to_regions))
    if rule.distance is Distance.LOCAL:
        return d_local
    return (d_global + d_local) / 2


RULES = [
    (PairRule(kind, squared, near), by_category)
    for kind, squared, near, by_category in itertools.product(
        Distance, [True, False], [True, False], [True, False]
    )
]


@pytest.mark.parametrize(("rule", "by_category"), RULES)
def test_lists_are_those_of_every_pair_for_itself(
    rule: PairRule, by_category: bool
) -> None:
    some, block = scenes(3, by_category=by_category), products(4)
    found = rank_blocks(PairDistances(some, rule), [block], ListRule(K))
    for n in range(N):
        all_distances = [distance(some, n, block, m, rule) for m in range(M)]
        expected = sorted(range(M), key=lambda m: (round(all_distances[m], 5), m))[:K]
        assert found.products[n].tolist() == expected
        np.testing.assert_allclose(
            found.distances[n], [all_distances[m] for m in expected], atol=2e-6
        )


@pytest.mark.parametrize(("rule", "by_category"), RULES[::3])
def test_blocks_do_not_change_a_bit(rule: PairRule, by_category: bool) -> None:
    some, block = scenes(5, by_category=by_category), products(6)
    whole = rank_blocks(PairDistances(some, rule), [block], ListRule(K))
    scorer = PairDistances(some, rule)
    scorer.query_rows, scorer.product_rows = 2, 7
    pieces = [block.rows(slice(at, at + 11)) for at in range(0, M, 11)]
    found = rank_blocks(scorer, pieces[::-1], ListRule(K))
    np.testing.assert_array_equal(found.products, whole.products)
    np.testing.assert_array_equal(found.distances, whole.distances)


@pytest.mark.parametrize("place", ["scene", "local", "keys", "product", "wanted"])
def test_vector_that_is_not_finite_is_an_error(place: str) -> None:
    some, block = scenes(7, by_category=False), products(8)
    array = {
        "scene": some.scene,
        "local": some.local,
        "keys": some.keys,
        "product": block.vectors,
        "wanted": block.keys,
    }[place]
    assert array is not None
    array[2] = np.nan
    rule = PairRule(Distance.HYBRID, True, True)
    with pytest.raises(ValueError, match="not finite"):
        rank_blocks(PairDistances(some, rule), [block], ListRule(K))
