"""Whatever can say how far a product is from a scene: the model and its baselines.

A scorer opens one category and then gives distances for blocks of its pairs against all
its products. Smaller is better, equal means "no opinion".

| scorer | distance |
|---|---|
| `random` | 0 for every product: all tied, so its expected metrics are exact |
| `popularity` | minus the product's positives in the train split |
| `backbone_cosine` | 1 - cosine of the backbone's pooled features |
| a model | 2 - q·p, its exact distance (see `trainer.model`) |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tfrecords_schema.errors import InputError
from trainer.eval_set import CategoryTask, Features
from trainer.metrics import METRICS, pair_metrics

RANDOM = "random"
POPULARITY = "popularity"
BACKBONE_COSINE = "backbone_cosine"
BASELINES = (RANDOM, POPULARITY, BACKBONE_COSINE)

DistanceBlock = Callable[[slice], np.ndarray]
"""Rows of pairs → [rows, n_products] float32."""


class StyleModel(Protocol):
    """An exported model; `trainer.export.load_model` gives one."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """With `run_id`, `preset`, `backbone`, `dataset` and `categories`."""
        ...

    def embed_products(self, pooled: np.ndarray) -> np.ndarray:
        """[n, global_dim] float16 → [n, 128] float32, unit vectors."""
        ...

    def embed_scenes(
        self, pooled: np.ndarray, regions: np.ndarray, categories: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Queries and attention of scenes, each for its category.

        Args:
            pooled: [n, global_dim] float16.
            regions: [n, n_regions, region_dim] float16.
            categories: [n] names.

        Returns:
            Queries [n, 128] float32 and attention [n, n_regions] float32.
        """
        ...


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
            keys = [pair.scene_key(cropped=True) for pair in task.pairs[rows]]
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
        model: the exported model.
        features: of the model's backbone.
        cropped: whether it sees the crop off the product, as in training, or, for the
            control, the whole scene with the product in it.
    """

    name: str
    model: StyleModel
    features: Features
    cropped: bool = True

    def open(self, task: CategoryTask) -> DistanceBlock:
        """See `Scorer.open`."""
        products = self.model.embed_products(task.pooled)

        def distances(rows: slice) -> np.ndarray:
            queries, _ = self.embed_scenes(task, rows)
            return (np.float32(2) - queries @ products.T)[:, task.picture_of]

        return distances

    def embed_scenes(
        self, task: CategoryTask, rows: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        """Queries [rows, 128] and attention [rows, n_regions] of pairs' scenes."""
        pairs = task.pairs[rows]
        keys = [pair.scene_key(cropped=self.cropped) for pair in pairs]
        return self.model.embed_scenes(
            self.features.pooled(keys),
            self.features.regions(keys),
            [task.category] * len(pairs),
        )


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


def score_category(
    opened: DistanceBlock, task: CategoryTask, *, name: str
) -> np.ndarray:
    """All metrics of all pairs of a category: [n_pairs, len(METRICS)] float64."""
    results = np.empty((len(task.pairs), len(METRICS)))
    for rows in task.blocks():
        results[rows] = pair_metrics(
            checked_distances(opened, task, rows=rows, name=name),
            task.positives[rows],
            negatives=task.negatives[rows],
        )
    return results
