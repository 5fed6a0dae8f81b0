"""Figures of the validation split, of vectors whose distances are known beforehand."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from trainer.configuration.config import Distance, LossConfig, ModelConfig, Objective
from trainer.inputs.pair_table import PairTable
from trainer.models.embedding_model import EmbeddingModel
from trainer.models.pair_vectors import ProductVectors, SceneVectors
from trainer.training.validation import mean_cosine, validate


class Plain(EmbeddingModel):
    """Features are their own vectors."""

    def product_vectors(self, pooled: keras.KerasTensor) -> ProductVectors:
        return ProductVectors(pooled, None)

    def scene_vectors(
        self,
        pooled: keras.KerasTensor,
        regions: keras.KerasTensor,
        category: keras.KerasTensor,
    ) -> SceneVectors:
        return SceneVectors(pooled, None, None, None)


NEAREST, ABOVE, UP, OPPOSITE, BELOW = range(5)
"""Products at 0°, 60°, 90°, 180° and −60° of the scene: 0, 1, 2, 4 and 1 from it."""

ROOT = math.sqrt(3) / 2
DIRECTIONS = np.array([[1, 0], [0.5, ROOT], [0, 1], [-1, 0], [0.5, -ROOT]], np.float32)


def table_of(*pairs: tuple[int, list[int]]) -> PairTable:
    """Pairs of the one scene with a product, and with its negatives."""
    positive = np.array([own for own, _ in pairs])
    return PairTable(
        scenes=np.array([[1, 0]], np.float32),
        regions=np.zeros((1, 1, 1), np.float16),
        products=DIRECTIONS,
        scene=np.zeros(len(pairs), int),
        positive=positive,
        negatives=[np.array(negatives) for _, negatives in pairs],
        alike=[np.array([own]) for own in positive],
        group=np.zeros(len(pairs), int),
        category=np.zeros(len(pairs), np.int32),
        product_category=np.zeros(len(DIRECTIONS), np.int32),
    )


PAIRS = (
    (ABOVE, [BELOW]),  # as far: the margin, 0.2
    (NEAREST, [UP, OPPOSITE]),  # nothing
    (UP, [ABOVE]),  # 2 − 1 + 0.2
    (ABOVE, [NEAREST, UP]),  # the mean of 1 − 0 + 0.2 and nothing
)


@pytest.fixture(scope="module")
def model() -> Plain:
    sizes = ModelConfig(distance=Distance.GLOBAL)
    return Plain(global_dim=2, categories=["hats"], sizes=sizes)


def test_figures_of_the_triplet_loss(model: Plain) -> None:
    found = validate(model, table_of(*PAIRS), LossConfig(margin=0.2))
    assert found.loss == pytest.approx((0.2 + 0 + 1.2 + 0.6) / 4)
    assert found.binary_accuracy == (0.5 + 1 + 0 + 0.5) / 4
    assert found.at_margin == 1 / 4


def test_figures_of_the_softmax_loss(model: Plain) -> None:
    config = LossConfig(Objective.SOFTMAX, temperature=0.5)
    found = validate(model, table_of(*PAIRS), config)
    losses = [
        math.log(2),
        math.log(1 + math.exp(-4) + math.exp(-8)),
        math.log(1 + math.exp(2)),
        math.log(1 + math.exp(2) + math.exp(-2)),
    ]
    assert found.loss == pytest.approx(sum(losses) / 4)
    assert found.at_margin == 1 / 4  # the first, which is one choice in two


def test_share_at_the_margin_is_of_pairs_and_of_losses_that_are_about_it(
    model: Plain,
) -> None:
    as_far = (ABOVE, [BELOW])
    found = validate(model, table_of(as_far, as_far, PAIRS[1]), LossConfig())
    assert found.at_margin == pytest.approx(2 / 3)


def test_mean_cosine_of_a_validation_is_that_of_its_products(model: Plain) -> None:
    # Of ten pairs: 0.5, 0, −1, 0.5; √¾, −0.5, −0.5; 0, −√¾; −0.5.
    found = validate(model, table_of(*PAIRS), LossConfig())
    assert found.mean_cosine == pytest.approx(-1.5 / 10)


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([[1, 0], [0, 1], [-1, 0]], -1 / 3),
        ([[1, 0], [0.6, 0.8]], 0.6),
        ([[1, 0], [1, 0], [0, 1]], 0.0),  # the same vector is no pair with itself
        ([[0, 1], [0, 1]], 1.0),  # all have become one
    ],
)
def test_mean_cosine_worked_by_hand(
    vectors: list[list[float]], expected: float
) -> None:
    assert mean_cosine(np.array(vectors, np.float32)) == pytest.approx(expected)


def test_mean_cosine_of_many_is_that_of_every_third() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(0.2, 1.0, (3 * 512 + 2, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors[::3] @ vectors[::3].T
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    assert mean_cosine(vectors) == pytest.approx(pairs.mean())
