"""Whatever can say how far a product is from a scene: the model and its baselines.

A scorer opens one category and then gives distances for blocks of its pairs against all
its products. Smaller is better, equal means "no opinion".

| scorer | distance |
|---|---|
| `random` | 0 for every product: all tied, so its expected metrics are exact |
| `popularity` | minus the product's positives in the train split |
| `backbone_cosine` | 1 - cosine of the backbone's pooled features |
| `linear` | 2 - 2 q·p of two linear maps of them (`trainer.models.linear_projection`) |
| a model | its exact distance (see `trainer.models.distances`) |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np

from tfrecords_schema.errors import InputError
from trainer.evaluation.eval_set import CategoryTask
from trainer.evaluation.scene_features import Features, SceneView
from trainer.evaluation.vectors import CategoryVectors

RANDOM = "random"
POPULARITY = "popularity"
BACKBONE_COSINE = "backbone_cosine"
BASELINES = (RANDOM, POPULARITY, BACKBONE_COSINE)

DistanceBlock = Callable[[slice], np.ndarray]
"""Rows of pairs → [rows, n_products] float32."""


class Scorer(Protocol):
    """Ranks the products of a category for its pairs."""

    @property
    def name(self) -> str:
        """What the metrics call it."""
        ...

    def open(self, task: CategoryTask) -> DistanceBlock:
        """Prepare for a category; what is prepared lives as long as the result."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class RandomScorer:
    """Has no opinion: every product at distance 0."""

    name: str = RANDOM

    def open(self, task: CategoryTask) -> DistanceBlock:
        """See `Scorer.open`."""
        n_products = len(task.product_ids)
        return lambda rows: np.zeros((len(task.pairs[rows]), n_products), np.float32)


@dataclasses.dataclass(frozen=True, slots=True)
class PopularityScorer:
    """Ranks what was worn most in the train split first, whatever the scene."""

    name: str = POPULARITY

    def open(self, task: CategoryTask) -> DistanceBlock:
        """See `Scorer.open`."""
        return lambda rows: np.tile(-task.popularity, (len(task.pairs[rows]), 1))


@dataclasses.dataclass(frozen=True, slots=True)
class CosineScorer:
    """Ranks products whose picture looks like the scene crop to the frozen backbone.

    Holds the category's features in float32: n_products × global_dim × 4 bytes.
    """

    features: Features
    name: str = BACKBONE_COSINE

    def open(self, task: CategoryTask) -> DistanceBlock:
        """See `Scorer.open`."""
        products = _unit(task.pooled)

        def distances(rows: slice) -> np.ndarray:
            keys = [pair.scene_key() for pair in task.pairs[rows]]
            cosine = _unit(self.features.pooled(keys)) @ products.T
            return (np.float32(1) - cosine)[:, task.picture_of]

        return distances


def _unit(vectors: np.ndarray) -> np.ndarray:
    """[n, d] as float32 unit vectors; a zero vector stays zero, at cosine 0 to all."""
    wide = vectors.astype(np.float32)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)


@dataclasses.dataclass(frozen=True, slots=True)
class ModelScorer:
    """A trained model.

    Attributes:
        name: what the metrics call it.
        vectors: of the model; scorers of one model share them.
        view: what it looks at: the crop off the product, as in training, or something
            else as a control.
    """

    name: str
    vectors: CategoryVectors
    view: SceneView = SceneView.CROP

    def open(self, task: CategoryTask) -> DistanceBlock:
        """See `Scorer.open`."""
        return lambda rows: self.vectors.distances(task, rows, self.view)[
            :, task.picture_of
        ]


def checked_distances(
    opened: DistanceBlock, task: CategoryTask, *, rows: slice, name: str
) -> np.ndarray:
    """Distances of candidates: [rows, n_products] float32, co-positives infinite.

    Raises:
        InputError: a distance is not a finite number.
    """
    distances = opened(rows)
    finite = np.isfinite(distances).all(axis=1)
    if not finite.all():
        pair = task.pairs[rows][int(np.argmin(finite))]
        raise InputError(
            f"{name} gives a distance that is not a number for pair {pair.pair_id} in "
            f"category {task.category!r}: its weights or features hold NaN or infinity"
        )
    return task.candidates_only(distances, rows)
