from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_schema.errors import InputError
from trainer.evaluation import eval_set
from trainer.evaluation.eval_set import (
    CategoryTask,
    EvalPair,
    EvalSet,
    Product,
    category_task,
    draw,
)
from trainer.evaluation.metrics import METRICS, pair_metrics
from trainer.evaluation.scene_features import SceneView
from trainer.evaluation.scorers import (
    CosineScorer,
    ModelScorer,
    PopularityScorer,
    RandomScorer,
    Scorer,
    checked_distances,
)
from trainer.evaluation.vectors import QueryVectors

FEATURES = {
    "p0:product": [3.0, 4.0],
    "p1:product": [0.0, 2.0],
    "p2:product": [0.0, 0.0],
    "s:0,0,9,9": [1.0, 0.0],
    "s:whole": [0.0, 1.0],
    "s:blanked:0,9,9,12": [0.6, 0.8],
}


class FakeFeatures:
    """Features by key; the one region of a key is its pooled vector."""

    def pooled(self, keys: Sequence[str]) -> np.ndarray:
        return np.array([FEATURES[key] for key in keys], np.float16)

    def regions(self, keys: Sequence[str]) -> np.ndarray:
        return self.pooled(keys)[:, None]

    def scenes(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        return self.pooled(keys), self.regions(keys)


class FakeModel:
    """Unit vectors of the features; a query is the scene's plus its region's."""

    def __init__(self) -> None:
        self.manifest: dict[str, Any] = {}

    def embed_products(self, pooled: np.ndarray) -> np.ndarray:
        wide = pooled.astype(np.float32)
        return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-6)

    def embed_scenes(
        self, pooled: np.ndarray, regions: np.ndarray, categories: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        assert list(categories) == ["shoes"] * len(pooled)
        attention = np.ones(regions.shape[:2], np.float32)
        return self.embed_products(pooled) + self.embed_products(regions[:, 0]), (
            attention
        )


def pair(pair_id: str, product_id: str, *co_positives: str) -> EvalPair:
    return EvalPair(
        pair_id=pair_id,
        scene_id="scene",
        scene_group="group",
        scene_sha256="s",
        crop_px=(0, 0, 9, 9),
        box_px=(0, 9, 9, 12),
        category="shoes",
        product_id=product_id,
        product_sha256="unused",
        product_seen=True,
        co_positive_ids=frozenset(co_positives),
    )


PRODUCTS = (
    Product("a", "p0", 5),
    Product("b", "p1", 0),
    Product("c", "p2", 7),
    Product("d", "p0", 1),
)


def task(*pairs: EvalPair, negatives: int = 10, seed: int = 0) -> CategoryTask:
    return category_task(
        EvalSet({"shoes": pairs}, {"shoes": PRODUCTS}),
        "shoes",
        features=FakeFeatures(),
        negatives=negatives,
        seed=seed,
    )


ONE = slice(0, 1)


def model_scorer(view: SceneView = SceneView.CROP) -> ModelScorer:
    return ModelScorer("paper", QueryVectors(FakeModel(), FakeFeatures()), view)


def score_category(scorer: Scorer, found: CategoryTask, name: str) -> np.ndarray:
    """All metrics of all pairs of a category, block by block."""
    opened = scorer.open(found)
    blocks = [
        pair_metrics(
            checked_distances(opened, found, rows=rows, name=name),
            found.positives[rows],
            negatives=found.negatives[rows],
        )
        for rows in found.blocks()
    ]
    return np.concatenate(blocks)


def test_random_ties_everything() -> None:
    distances = RandomScorer().open(task(pair("1", "a"), pair("2", "b")))(slice(0, 2))
    np.testing.assert_array_equal(distances, np.zeros((2, 4), np.float32))


def test_popularity_puts_the_most_worn_first() -> None:
    distances = PopularityScorer().open(task(pair("1", "a")))(ONE)
    assert distances.dtype == np.float32
    assert distances.tolist() == [[-5, 0, -7, -1]]


def test_cosine_worked_by_hand_and_zero_vector_at_one() -> None:
    distances = CosineScorer(FakeFeatures()).open(task(pair("1", "a")))(ONE)
    np.testing.assert_allclose(distances, [[0.4, 1.0, 1.0, 0.4]], rtol=1e-6)


def test_model_distance_is_two_minus_query_times_product() -> None:
    scorer = model_scorer()
    distances = scorer.open(task(pair("1", "a")))(ONE)
    # The query is 2 · (1, 0); products are (0.6, 0.8), (0, 1), (0, 0), (0.6, 0.8).
    np.testing.assert_allclose(distances, [[0.8, 2.0, 2.0, 0.8]], rtol=1e-6)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (SceneView.WHOLE, [[0.4, 0.0, 2.0, 0.4]]),
        (SceneView.BLANKED, [[0.0, 0.4, 2.0, 0.0]]),
    ],
)
def test_model_sees_what_it_is_shown(
    view: SceneView, expected: list[list[float]]
) -> None:
    distances = model_scorer(view).open(task(pair("1", "a")))(ONE)
    np.testing.assert_allclose(distances, expected, atol=1e-3)


def test_products_with_one_picture_tie_exactly() -> None:
    found = task(pair("1", "a"))
    assert found.pictures == ("p0", "p1", "p2")
    assert found.picture_of.tolist() == [0, 1, 2, 0]
    distances = CosineScorer(FakeFeatures()).open(found)(ONE)
    assert distances[0, 0] == distances[0, 3]


def test_co_positives_are_no_candidates_and_never_drawn() -> None:
    found = task(pair("1", "a", "c", "elsewhere"))
    distances = checked_distances(
        PopularityScorer().open(found), found, rows=ONE, name="popularity"
    )
    assert distances.tolist() == [[-5, 0, np.inf, -1]]
    assert sorted(found.negatives[0]) == [-1] * 8 + [1, 3]
    values = score_category(PopularityScorer(), found, "popularity")
    assert dict(zip(METRICS, values[0], strict=True))["recall_at_1"] == 1.0


def test_scores_do_not_depend_on_the_block_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = task(*(pair(str(i), "abcd"[i % 4]) for i in range(9)))
    whole = score_category(model_scorer(), found, "paper")
    monkeypatch.setattr(eval_set, "_BLOCK_ENTRIES", 8)
    assert [rows.stop - rows.start for rows in found.blocks()] == [2, 2, 2, 2, 1]
    blocked = score_category(model_scorer(), found, "paper")
    np.testing.assert_array_equal(blocked, whole)


def test_distance_that_is_no_number_names_scorer_category_and_pair() -> None:
    found = task(pair("1", "a"), pair("2", "b"))
    broken = dataclasses.replace(found, popularity=np.full(4, np.nan, np.float32))
    with pytest.raises(InputError, match=r"popularity .* pair 1 in category 'shoes'"):
        score_category(PopularityScorer(), broken, "popularity")


def test_positive_outside_its_category_is_an_input_error() -> None:
    with pytest.raises(InputError, match="product zz is not in category 'shoes'"):
        task(pair("1", "zz"))


@given(
    n=st.integers(0, 12),
    m=st.integers(0, 30),
    key=st.integers(0, 2**64 - 1),
)
@settings(max_examples=50, deadline=None)
def test_draw_gives_distinct_items_and_repeats_itself(n: int, m: int, key: int) -> None:
    items = np.arange(100, 100 + m)
    drawn = draw(items, n, key=key)
    assert len(set(drawn.tolist())) == min(n, m)
    assert set(drawn.tolist()) <= set(items.tolist())
    np.testing.assert_array_equal(drawn, draw(items, n, key=key))


def test_draws_depend_on_pair_and_seed_only() -> None:
    first = task(pair("1", "a"), pair("2", "a"), negatives=1)
    alone = task(pair("2", "a"), negatives=1)
    np.testing.assert_array_equal(first.negatives[1], alone.negatives[0])
    drawn = {
        int(task(pair("1", "a"), negatives=1, seed=seed).negatives[0, 0])
        for seed in range(30)
    }
    assert drawn == {1, 2, 3}
    many = task(*(pair(str(i), "a") for i in range(30)), negatives=1)
    assert set(many.negatives[:, 0].tolist()) == {1, 2, 3}
