"""The baseline `linear`: how far two linear maps of the pooled features get."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfrecords_schema.hashing import stable_hash
from tfrecords_schema.records import product_key
from trainer.configuration.config import ProjectionConfig
from trainer.evaluation.eval_set import CategoryTask, EvalPair
from trainer.evaluation.scene_features import Features
from trainer.evaluation.scorers import DistanceBlock
from trainer.models.linear_projection import LinearProjection, ProjectionFit, Rows

LINEAR = "linear"
RIDGE = 0.8
"""ρ of the baseline, which is not tuned to a catalogue; preset `best` is."""
MOST_PAIRS = 20_000
"""That are fitted: 160 MB of ResNet50's 2,048 features. More pairs than these hardly
move a covariance."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LinearScorer:
    """Ranks by the distance of linearly mapped features; see `linear_projection`."""

    projection: LinearProjection
    categories: tuple[str, ...]
    features: Features
    name: str = LINEAR

    def open(self, task: CategoryTask) -> DistanceBlock:
        """See `scorers.Scorer.open`."""
        products = self.projection.products.vectors(task.pooled)

        def distances(rows: slice) -> np.ndarray:
            pairs = task.pairs[rows]
            pooled = self.features.pooled([pair.scene_key() for pair in pairs])
            number = self._number(task.category)
            numbers = None if number is None else np.full(len(pairs), number)
            queries = self.projection.scenes.vectors(pooled, numbers)
            cosine = queries @ products.T
            return (np.float32(2) - np.float32(2) * cosine)[:, task.picture_of]

        return distances

    def _number(self, category: str) -> int | None:
        return self.categories.index(category) if category in self.categories else None


def fit_linear(
    pairs: Mapping[str, Sequence[EvalPair]], source: Features, scenes: Features
) -> LinearScorer:
    """Fit the train split's pairs.

    Args:
        pairs: of the train split, by category.
        source: where their features are.
        scenes: where those of evaluated scenes are to be read.
    """
    train = [pair for of_category in pairs.values() for pair in of_category]
    if len(train) > MOST_PAIRS:
        train.sort(key=lambda pair: stable_hash("linear", pair.pair_id))
        train = train[:MOST_PAIRS]
    categories = tuple(sorted({pair.category for pair in train}))
    fit = ProjectionFit(
        _rows(source, [pair.scene_key() for pair in train]),
        _rows(source, [product_key(pair.product_sha256) for pair in train]),
        np.array([categories.index(pair.category) for pair in train]),
        np.array([pair.scene_group for pair in train]),
        n_categories=len(categories),
        config=ProjectionConfig(),
    )
    return LinearScorer(fit.solve(RIDGE), categories, scenes)


def _rows(source: Features, keys: Sequence[str]) -> Rows:
    return Rows(source.pooled(keys), np.arange(len(keys)))
