"""What can be varied of the model, each against its formula in NumPy float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_model import (
    CATEGORIES,
    GLOBAL_DIM,
    N_REGIONS,
    REGION_DIM,
    Oracle,
    random_model,
    random_triplets,
)

from trainer.configuration.config import Attention, Distance

SEEDS = range(3)
# Whole maps of products are what only pictures have: see test_article.py.
ATTENTION = [kind for kind in Attention if kind is not Attention.PRODUCT_MAP]
VARIANTS = list(itertools.product(Distance, ATTENTION, (True, False), (True, False)))


class VariantOracle(Oracle):
    """The distance of one scene to one product, region by region."""

    def weights(
        self,
        regions: np.ndarray,
        category: int,
        product: np.ndarray,
        *,
        attention: Attention,
        near: bool,
    ) -> np.ndarray:
        if attention is Attention.UNIFORM:
            return np.full(len(regions), 1 / len(regions))
        if attention is Attention.CATEGORY:
            (table,) = (
                w for p, w in self._weights.items() if p.startswith("attention")
            )
            wanted = table[category] / np.linalg.norm(table[category])
        else:
            wanted = self.head("product_key_head", self.standardized("pooled", product))
        cells = self.standardized("regions", regions)
        keys = np.array([self.head("key_head", cell) for cell in cells])
        squares = ((keys - wanted) ** 2).sum(axis=1)
        exponents = np.exp(-squares if near else squares)
        return exponents / exponents.sum()

    def varied(
        self,
        scene: np.ndarray,
        regions: np.ndarray,
        category: int,
        product: np.ndarray,
        *,
        variant: tuple[Distance, Attention, bool, bool],
    ) -> float:
        distance, attention, near, squared = variant
        power = 2 if squared else 1
        f_s = self.head("global_head", self.standardized("pooled", scene))
        f_p = self.head("global_head", self.standardized("pooled", product))
        d_global = np.linalg.norm(f_s - f_p) ** power
        if distance is Distance.GLOBAL:
            return float(d_global)
        weights = self.weights(
            regions, category, product, attention=attention, near=near
        )
        cells = self.standardized("regions", regions)
        local = [self.head("local_head", cell) for cell in cells]
        d_local = sum(
            weight * np.linalg.norm(f_i - f_p) ** power
            for weight, f_i in zip(weights, local, strict=True)
        )
        return float(
            d_local if distance is Distance.LOCAL else (d_global + d_local) / 2
        )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_distances_of_a_variant_follow_its_formula(
    seed: int, variant: tuple[Distance, Attention, bool, bool]
) -> None:
    distance, attention, near, squared = variant
    model = random_model(
        seed, distance=distance, attention=attention, near_regions=near, squared=squared
    )
    batch = random_triplets(seed, n=3)
    scenes = model.scene_vectors(batch["scene"], batch["regions"], batch["category"])
    products = model.product_vectors(batch["positive"])
    found = np.asarray(model.distances(scenes, products))

    oracle = VariantOracle(model)
    expected = [
        [
            oracle.varied(*scene, product, variant=variant)
            for product in batch["positive"]
        ]
        for scene in zip(
            batch["scene"], batch["regions"], batch["category"], strict=True
        )
    ]
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(
    "variant",
    [v for v in VARIANTS if v[3] and (v[0] == "global" or v[1] != "product")],
)
def test_query_vectors_of_a_variant_give_its_distances(
    variant: tuple[Distance, Attention, bool, bool],
) -> None:
    distance, attention, near, _ = variant
    model = random_model(5, distance=distance, attention=attention, near_regions=near)
    batch = random_triplets(5, n=4)
    arguments = batch["scene"], batch["regions"], batch["category"]
    products = model.product_vectors(batch["positive"])
    expected = np.asarray(model.distances(model.scene_vectors(*arguments), products))

    queries, weights = (np.asarray(part) for part in model.embed_scenes(*arguments))
    np.testing.assert_allclose(
        2 - queries @ np.asarray(products.vectors).T, expected, atol=1e-5
    )
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert weights.shape == (4, N_REGIONS)
    together = np.asarray(model.embed_queries(*arguments[:2]))
    assert together.shape[:2] == (4, len(CATEGORIES))
    rows = np.arange(4)
    np.testing.assert_allclose(together[rows, batch["category"]], queries, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "more", "fewer"),
    [
        ({"distance": "global"}, set(), {"local_head", "key_head", "attention"}),
        ({"attention": "uniform"}, {"local_head"}, {"key_head", "attention"}),
        ({"attention": "product"}, {"product_key_head"}, {"attention"}),
    ],
)
def test_variant_has_no_weights_that_it_does_not_use(
    sizes: dict[str, str], more: set[str], fewer: set[str]
) -> None:
    model = random_model(0, **sizes)
    parts = {weight.path.split("/")[-3] for weight in model.weights}
    parts |= {weight.path.split("/")[-2] for weight in model.weights}
    assert more <= parts
    assert not fewer & parts
    assert (GLOBAL_DIM, REGION_DIM) == (model.global_dim, model.region_dim)


@pytest.mark.parametrize("grid", [1, 2])
def test_model_of_a_coarser_grid_is_that_of_the_means_of_its_regions(grid: int) -> None:
    generator = np.random.default_rng(grid)
    regions = generator.normal(size=(3, 16, REGION_DIM)).astype(np.float32)
    pooled = generator.normal(size=(3, GLOBAL_DIM)).astype(np.float32)
    category = np.array([0, 1, 0], np.int32)
    side = 4 // grid
    cells = regions.reshape(3, grid, side, grid, side, REGION_DIM).mean(axis=(2, 4))
    cells = cells.reshape(3, grid * grid, REGION_DIM)
    coarse, plain = random_model(grid, grid=grid), random_model(grid)
    plain.set_weights(coarse.get_weights())
    for found, expected in zip(
        coarse.embed_scenes(pooled, regions, category),
        plain.embed_scenes(pooled, cells, category),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        coarse.embed_queries(pooled, regions),
        plain.embed_queries(pooled, cells),
        rtol=1e-4,
        atol=1e-6,
    )
