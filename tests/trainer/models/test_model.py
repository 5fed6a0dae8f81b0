"""The embedding model against its formulas in NumPy float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer.configuration.config import Distance
from trainer.models.distances import distance_matrix
from trainer.models.layers import CategoryAttention, EmbeddingHead, Standardize
from trainer.models.losses import triplet_loss
from trainer.models.model import StyleModel
from trainer.models.pair_vectors import ProductVectors, SceneVectors

CATEGORIES = ["bags", "hats", "shoes"]
GLOBAL_DIM, N_REGIONS, REGION_DIM, DIM = 10, 6, 8, 5
SIZES = {"embedding_dim": DIM, "global_units": 9, "local_units": 7, "dropout": 0.5}
SEEDS = range(5)
Arrays = dict[str, np.ndarray]


def random_model(seed: int, **sizes: Any) -> StyleModel:
    """A model all of whose weights are random, statistics of its norms included."""
    model = StyleModel(
        global_dim=GLOBAL_DIM,
        region_dim=REGION_DIM,
        categories=CATEGORIES,
        sizes=SIZES | sizes,
    )
    model.build()
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith(("variance", "deviation", "gamma")):
            weight.assign(generator.uniform(0.5, 2.0, weight.shape))
        else:
            weight.assign(generator.normal(0.0, 1.0, weight.shape))
    return model


def random_triplets(seed: int, n: int = 4) -> Arrays:
    generator = np.random.default_rng(1000 + seed)
    shapes = {
        "scene": (n, GLOBAL_DIM),
        "regions": (n, N_REGIONS, REGION_DIM),
        "positive": (n, GLOBAL_DIM),
        "negative": (n, GLOBAL_DIM),
    }
    triplets = {
        name: generator.normal(0.0, 2.0, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    category = generator.integers(0, len(CATEGORIES), n).astype(np.int32)
    return triplets | {"category": category}


def triplet_distances(
    model: StyleModel, triplets: Arrays, *, training: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Distances of each scene to its positive and to its negative."""
    products = np.concatenate([triplets["positive"], triplets["negative"]])
    found = model(triplets | {"products": products}, training=training)
    distances = np.asarray(model.distances(*found))
    n = len(distances)
    return np.diagonal(distances[:, :n]), np.diagonal(distances[:, n:])


class Oracle:
    """The model's formulas over its weights, in float64 and one row at a time."""

    def __init__(self, model: StyleModel) -> None:
        self._weights = {
            weight.path.removeprefix(f"{model.name}/"): np.asarray(weight, np.float64)
            for weight in model.weights
        }

    def standardized(self, which: str, features: np.ndarray) -> np.ndarray:
        mean, deviation = (
            self._weights[f"standardize_{which}/{name}"]
            for name in ("mean", "deviation")
        )
        return (features.astype(np.float64) - mean) / deviation

    def head(self, name: str, features: np.ndarray) -> np.ndarray:
        """One vector through a head, with the norm's own statistics."""
        part = {
            path.removeprefix(f"{name}/"): weight
            for path, weight in self._weights.items()
            if path.startswith(f"{name}/")
        }
        hidden = features @ part["hidden/kernel"]
        hidden = (hidden - part["norm/moving_mean"]) / np.sqrt(
            part["norm/moving_variance"] + 1e-3
        )
        hidden = np.maximum(hidden * part["norm/gamma"] + part["norm/beta"], 0.0)
        out = hidden @ part["project/kernel"] + part["project/bias"]
        return out / np.sqrt((out**2).sum())

    def attention(self, keys: np.ndarray, category: int) -> np.ndarray:
        (table,) = (w for p, w in self._weights.items() if p.startswith("attention"))
        vector = table[category] / np.sqrt((table[category] ** 2).sum())
        scores = np.array([-((key - vector) ** 2).sum() for key in keys])
        return np.exp(scores) / np.exp(scores).sum()

    def attention_of(self, regions: np.ndarray, category: int) -> np.ndarray:
        cells = self.standardized("regions", regions)
        return self.attention(
            np.array([self.head("key_head", cell) for cell in cells]), category
        )

    def distance(
        self, scene: np.ndarray, regions: np.ndarray, category: int, product: np.ndarray
    ) -> float:
        f_s = self.head("global_head", self.standardized("pooled", scene))
        f_p = self.head("global_head", self.standardized("pooled", product))
        cells = self.standardized("regions", regions)
        weights = self.attention_of(regions, category)
        d_local = sum(
            weight * ((self.head("local_head", cell) - f_p) ** 2).sum()
            for weight, cell in zip(weights, cells, strict=True)
        )
        return 0.5 * (((f_s - f_p) ** 2).sum() + d_local)

    def distances(self, triplets: Arrays, product: str) -> np.ndarray:
        columns = (triplets[n] for n in ("scene", "regions", "category", product))
        return np.array([self.distance(*row) for row in zip(*columns, strict=True)])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(4, 6), (3, 5, 6)])
def test_head_gives_unit_vectors_of_pooled_and_of_regions(
    seed: int, shape: tuple[int, ...]
) -> None:
    keras.utils.set_random_seed(seed)
    features = np.random.default_rng(seed).normal(0.0, 9.0, shape)
    vectors = np.asarray(EmbeddingHead(64, DIM)(features))
    assert vectors.shape == (*shape[:-1], DIM)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, atol=1e-6)


def test_head_drops_outputs_in_training_only() -> None:
    keras.utils.set_random_seed(0)
    head = EmbeddingHead(64, DIM, dropout=0.5)
    features = np.random.default_rng(0).normal(size=(8, 6))
    plain, again = head(features), head(features)
    np.testing.assert_array_equal(plain, again)
    first, second = (head(features, training=True) for _ in range(2))
    assert np.abs(np.asarray(first) - np.asarray(second)).max() > 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_attention_is_the_softmax_of_negative_squared_distances(seed: int) -> None:
    model, triplets = random_model(seed), random_triplets(seed)
    oracle = Oracle(model)
    _, attention = model.embed_scenes(
        triplets["scene"], triplets["regions"], triplets["category"]
    )
    expected = [
        oracle.attention_of(*row)
        for row in zip(triplets["regions"], triplets["category"], strict=True)
    ]
    np.testing.assert_allclose(np.sum(attention, axis=-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(attention, expected, atol=1e-5)


def test_attention_prefers_the_region_at_the_category_vector() -> None:
    layer = CategoryAttention(2, 2)
    layer.build()
    layer.table.embeddings.assign([[3.0, 0.0], [0.0, 0.5]])  # normalised when used
    keys = np.array([[[1.0, 0.0], [0.0, 1.0]]], np.float32)
    # Squared distances 0 and 2, so by hand: 1 and e⁻² over their sum.
    near, far = 1 / (1 + np.exp(-2)), np.exp(-2) / (1 + np.exp(-2))
    np.testing.assert_allclose(layer(keys, np.array([0])), [[near, far]], atol=1e-6)
    np.testing.assert_allclose(
        layer.over_categories(keys), [[[near, far], [far, near]]], atol=1e-6
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_distances_follow_the_formulas(seed: int) -> None:
    model, triplets = random_model(seed), random_triplets(seed)
    positive, negative = triplet_distances(model, triplets)
    oracle = Oracle(model)
    np.testing.assert_allclose(
        positive, oracle.distances(triplets, "positive"), atol=1e-5
    )
    np.testing.assert_allclose(
        negative, oracle.distances(triplets, "negative"), atol=1e-5
    )


def test_distances_of_float16_features_are_those_of_the_rounded_numbers() -> None:
    model, triplets = random_model(3), random_triplets(3)
    half = {
        name: value if name == "category" else value.astype(np.float16)
        for name, value in triplets.items()
    }
    positive, _ = triplet_distances(model, half)
    np.testing.assert_allclose(
        positive, Oracle(model).distances(half, "positive"), atol=1e-5
    )


def test_training_statistics_are_of_scenes_and_products_together() -> None:
    model, triplets = random_model(4, dropout=0.0), random_triplets(4)
    pooled = np.concatenate([triplets[n] for n in ("scene", "positive", "negative")])
    norm = model.global_head.norm
    hidden = Oracle(model).standardized("pooled", pooled) @ np.asarray(
        model.global_head.hidden.kernel
    )
    before = np.array(norm.moving_mean)
    triplet_distances(model, triplets, training=True)
    expected = norm.momentum * before + (1 - norm.momentum) * hidden.mean(axis=0)
    np.testing.assert_allclose(norm.moving_mean, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("distance", "squared", "expected"),
    [
        # Global: 1 + 1 = 2. Local: 0.5·0 + 0.25·2 + 0.25·4 = 1.5.
        (Distance.GLOBAL, True, 2.0),
        (Distance.LOCAL, True, 1.5),
        (Distance.HYBRID, True, 1.75),
        # √2; and 0.5·0 + 0.25·√2 + 0.25·2.
        (Distance.GLOBAL, False, 2**0.5),
        (Distance.LOCAL, False, 0.25 * 2**0.5 + 0.5),
        (Distance.HYBRID, False, 0.625 * 2**0.5 + 0.25),
    ],
)
def test_distance_of_a_hand_worked_case(
    distance: Distance, squared: bool, expected: float
) -> None:
    scenes = SceneVectors(
        scene=np.array([[1.0, 0.0]]),
        local=np.array([[[0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]]),
        keys=None,
        attention=np.array([[0.5, 0.25, 0.25]]),
    )
    products = ProductVectors(np.array([[0.0, 1.0]]), None)
    found = distance_matrix(scenes, products, distance=distance, squared=squared)
    np.testing.assert_allclose(found, [[expected]], atol=1e-6)


def test_triplet_loss_of_hand_worked_cases() -> None:
    positive = np.array([1.0, 1.0, 0.5, 0.5])
    negative = np.array([0.5, 1.0, 0.625, 0.75])
    # 1 − 0.5 + 0.2; the margin alone; 0.2 − 0.125; beyond the margin nothing.
    found = triplet_loss(positive, negative, 0.2)
    np.testing.assert_allclose(found, [0.7, 0.2, 0.075, 0.0], atol=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_query_dot_product_gives_the_network_distance(seed: int) -> None:
    model, triplets = random_model(seed), random_triplets(seed, n=7)
    expected, _ = triplet_distances(model, triplets)
    queries, _ = model.embed_scenes(
        triplets["scene"], triplets["regions"], triplets["category"]
    )
    products = np.asarray(model.embed_products(triplets["positive"]))
    found = 2.0 - (np.asarray(queries) * products).sum(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_queries_of_all_categories_are_those_of_each(seed: int) -> None:
    model, triplets = random_model(seed), random_triplets(seed)
    scene, regions = triplets["scene"], triplets["regions"]
    together = np.asarray(model.embed_queries(scene, regions))
    assert together.shape == (len(scene), len(CATEGORIES), DIM)
    for number in range(len(CATEGORIES)):
        numbers = np.full(len(scene), number, np.int32)
        alone, _ = model.embed_scenes(scene, regions, numbers)
        np.testing.assert_allclose(together[:, number], alone, atol=1e-5)


def test_saved_model_loads_without_code_and_gives_the_same_numbers(
    tmp_path: Path,
) -> None:
    model, triplets = random_model(7), random_triplets(7)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(
        tmp_path / "model.keras", compile=False, safe_mode=True
    )
    assert loaded.categories == CATEGORIES
    for found, expected in zip(
        triplet_distances(loaded, triplets),
        triplet_distances(model, triplets),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


def test_standardize_shifts_and_scales_once_statistics_are_set() -> None:
    layer = Standardize()
    features = np.array([[1.0, 10.0, 7.0], [3.0, 30.0, 7.0]], np.float16)
    np.testing.assert_array_equal(layer(features), features)
    layer.set_statistics(np.array([2.0, 20.0, 7.0]), np.array([1.0, 10.0, 0.0]))
    # The last feature never varies: it becomes 0 and is not divided by 0.
    np.testing.assert_array_equal(layer(features), [[-1, -1, 0], [1, 1, 0]])
