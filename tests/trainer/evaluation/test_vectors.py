from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
from evaluation_world import (
    BOX_PX,
    CROP,
    N_STYLES,
    FakeFeatures,
    FakeModel,
    eval_pair,
    sha,
)

from trainer.evaluation.eval_set import (
    CategoryTask,
    EvalSet,
    Product,
    category_task,
    with_pairs,
)
from trainer.evaluation.scene_features import RecentScenes, SceneView
from trainer.evaluation.vectors import PairVectors, QueryVectors, category_vectors
from trainer.models.export import ExportedModel
from trainer.models.model import StyleModel


class CountingModel(FakeModel):
    """Says how many products and scenes it was given."""

    def __init__(self) -> None:
        super().__init__("r1", slice(0, 3))
        self.products: list[int] = []
        self.scenes: list[int] = []

    def embed_products(self, pooled: np.ndarray) -> np.ndarray:
        self.products.append(len(pooled))
        return super().embed_products(pooled)

    def embed_scenes(
        self, pooled: np.ndarray, regions: np.ndarray, categories: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        self.scenes.append(len(pooled))
        found = 2 * super().embed_products(pooled)
        return found, np.full(regions.shape[:2], 0.25, np.float32)


@pytest.fixture
def features() -> FakeFeatures:
    names = ("shoes-1", "shoes-2", "g1", "g2", "g3")
    return FakeFeatures({sha(name): i % 3 for i, name in enumerate(names)})


def test_category_is_embedded_once_whoever_asks(features: FakeFeatures) -> None:
    pairs = tuple(eval_pair(f"pair-{g}", g) for g in ("g1", "g2"))
    products = tuple(Product(name, sha(name), 0) for name in ("shoes-1", "shoes-2"))
    found = category_task(
        EvalSet({"shoes": pairs}, {"shoes": products}),
        "shoes",
        features=features,
        negatives=2,
        seed=0,
    )
    model = CountingModel()
    vectors = QueryVectors(model, features)
    rows = slice(0, 2)
    first = vectors.scenes(found, rows)
    assert vectors.scenes(found, rows) is first
    vectors.scenes(found, rows, SceneView.WHOLE)
    assert model.scenes == [2, 2]
    assert vectors.products(found) is vectors.products(found)
    other = with_pairs(found, (eval_pair("pair-3", "g3"),), negatives=2, seed=0)
    # The same catalogue for other pairs: only their scene is new.
    vectors.products(other)
    query, _ = vectors.scenes(other, slice(0, 1))
    assert model.products == [2]
    assert model.scenes == [2, 2, 1]
    keys = [pair.scene_key() for pair in other.pairs]
    np.testing.assert_array_equal(
        query, 2 * FakeModel("r1", slice(0, 3)).embed_products(features.pooled(keys))
    )


def test_views_of_a_scene_have_keys_of_their_own() -> None:
    pair = eval_pair("pair", "g1")
    edges = [",".join(map(str, edges)) for edges in (CROP, BOX_PX)]
    assert pair.scene_key() == f"{sha('g1')}:{edges[0]}"
    assert pair.scene_key(SceneView.WHOLE) == f"{sha('g1')}:whole"
    assert pair.scene_key(SceneView.BLANKED) == f"{sha('g1')}:blanked:{edges[1]}"


def test_recent_scenes_are_read_once(features: FakeFeatures) -> None:
    recent = RecentScenes(features)
    keys = [f"{sha('g1')}:whole", f"{sha('g2')}:whole"]
    pooled, regions = recent.scenes(keys)
    assert recent.pooled(keys) is pooled
    assert recent.regions(tuple(keys)) is regions
    assert features.asked == keys
    np.testing.assert_array_equal(pooled, features.pooled(keys))
    np.testing.assert_array_equal(regions, features.regions(keys))


def test_shared_scenes_cannot_be_written_to(features: FakeFeatures) -> None:
    pooled, _ = RecentScenes(features).scenes([f"{sha('g1')}:whole"])
    with pytest.raises(ValueError, match="read-only"):
        pooled[0] = 0


def test_recent_scenes_keep_a_block_of_each_view_and_no_more(
    features: FakeFeatures,
) -> None:
    recent = RecentScenes(features)
    blocks = [[f"{sha('g1')}:{view}"] for view in "abcd"]
    for keys in blocks:
        recent.scenes(keys)
    for keys in blocks[1:]:
        recent.scenes(keys)
    assert len(features.asked) == 4
    recent.scenes(blocks[0])
    assert len(features.asked) == 5


def exported_model(**sizes: Any) -> ExportedModel:
    """An untrained one over the features of the world."""
    keras.utils.set_random_seed(7)
    dim = 2 * N_STYLES
    model = StyleModel(
        global_dim=dim, region_dim=dim, categories=["shoes"], sizes=sizes
    )
    model.build()
    return ExportedModel(model, {"run_id": "r1"})


@pytest.fixture
def shoes(features: FakeFeatures) -> CategoryTask:
    pairs = tuple(eval_pair(f"pair-{g}", g) for g in ("g1", "g2", "g3"))
    products = tuple(Product(name, sha(name), 0) for name in ("shoes-1", "shoes-2"))
    return category_task(
        EvalSet({"shoes": pairs}, {"shoes": products}),
        "shoes",
        features=features,
        negatives=1,
        seed=0,
    )


@pytest.mark.parametrize("distance", ["hybrid", "global", "local"])
def test_regions_against_products_give_what_queries_give(
    distance: str, shoes: CategoryTask, features: FakeFeatures
) -> None:
    model = exported_model(distance=distance)
    for rows in (slice(0, 2), slice(2, 3)):
        by_query = QueryVectors(model, features)
        by_pair = PairVectors(model, features)
        for view in (SceneView.CROP, SceneView.WHOLE):
            np.testing.assert_allclose(
                by_pair.distances(shoes, rows, view),
                by_query.distances(shoes, rows, view),
                atol=1e-5,
            )


def test_model_is_asked_for_queries_where_it_has_them(features: FakeFeatures) -> None:
    for sizes, kind in (({}, QueryVectors), ({"squared": False}, PairVectors)):
        assert type(category_vectors(exported_model(**sizes), features)) is kind


def test_attention_by_product_is_that_for_each_pair_s_own(
    shoes: CategoryTask, features: FakeFeatures
) -> None:
    model = exported_model(attention="product")
    vectors = PairVectors(model, features)
    attention = vectors.attention(shoes, slice(1, 3))
    keys = [pair.scene_key() for pair in shoes.pairs[1:3]]
    pooled, regions = features.scenes(keys)
    scenes = model.scene_vectors(pooled, regions, ["shoes"] * 2)
    own = model.product_vectors(features.pooled([sha("shoes-1")] * 2))
    assert scenes.keys is not None
    assert own.keys is not None
    for row in range(2):
        squares = np.square(scenes.keys[row] - own.keys[row]).sum(axis=1)
        expected = np.exp(-squares) / np.exp(-squares).sum()
        np.testing.assert_allclose(attention[row], expected, rtol=1e-5)
