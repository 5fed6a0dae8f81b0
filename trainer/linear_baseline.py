"""The baseline `linear`: how far two linear maps of the pooled features get."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfrecords_schema.hashing import stable_hash
from tfrecords_schema.records import product_key
from trainer.eval_set import CategoryTask, EvalPair
from trainer.linear_projection import LinearProjection, fit_projection
from trainer.scene_features import Features
from trainer.scorers import DistanceBlock

LINEAR = "linear"
MOST_PAIRS = 20_000
"""That are fitted: 2 GB in the doing, with ResNet50's 2,048 features. More pairs than
these hardly move a covariance."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LinearScorer:
    """Ranks by the distance of linearly mapped features; see `linear_projection`."""

    projection: LinearProjection
    features: Features
    name: str = LINEAR

    def open(self, task: CategoryTask) -> DistanceBlock:
        """See `scorers.Scorer.open`."""
        names = [task.category] * len(task.pictures)
        products = self.projection.products.vectors(task.pooled, names)

        def distances(rows: slice) -> np.ndarray:
            pairs = task.pairs[rows]
            pooled = self.features.pooled([pair.scene_key() for pair in pairs])
            queries = self.projection.scenes.vectors(
                pooled, [task.category] * len(pairs)
            )
            cosine = queries @ products.T
            return (np.float32(2) - np.float32(2) * cosine)[:, task.picture_of]

        return distances


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
    keys = [pair.scene_key() for pair in train]
    projection = fit_projection(
        source.pooled(keys),
        source.pooled([product_key(pair.product_sha256) for pair in train]),
        [pair.category for pair in train],
        [pair.scene_group for pair in train],
    )
    return LinearScorer(projection, scenes)
