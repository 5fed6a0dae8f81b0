"""Controls: the model made to cheat, or to fail, in one known way.

Each must come out as its sentence says; where it does not, the figures of the model
itself mean something else than they seem to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfrecords_schema.codes import Split
from tfrecords_schema.hashing import stable_hash
from trainer.evaluation.eval_set import CategoryTask
from trainer.evaluation.metric_rows import ALL, DIFFERENCE_METRIC, MetricRow
from trainer.evaluation.scene_features import SceneView
from trainer.evaluation.scorers import DistanceBlock, ModelScorer, Scorer

UNCROPPED = "_uncropped"
BLANKED = "_blanked"
SHUFFLED_PRODUCTS = "_shuffled_products"
"""What a control's name has after the model's."""

MUST_SHOW = {
    UNCROPPED: "sees the whole scene, the product in it: the model itself must stay "
    "behind this, or its crops show the product as well",
    BLANKED: "sees the whole scene with the product's box in grey: it must stay behind "
    "the uncropped one by what the sight of the product is worth, and be ahead of the "
    "model by no more than the rest of the scene is",
    SHUFFLED_PRODUCTS: "is shown every product with another's picture: it must fall to "
    "chance, or the model goes by something else than the picture",
}
"""What each control does, and what it must show."""

CHANCE = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class ShuffledProductsScorer:
    """A model that is given each product's picture under another's name.

    Attributes:
        name: what the metrics call it.
        scorer: one whose distances depend on a product through its picture alone.
        seed: of the exchange.
    """

    name: str
    scorer: Scorer
    seed: int

    def open(self, task: CategoryTask) -> DistanceBlock:
        """See `Scorer.open`."""
        opened = self.scorer.open(task)
        columns = exchanged_columns(task, seed=self.seed)
        return lambda rows: opened(rows)[:, columns]


def exchanged_columns(task: CategoryTask, *, seed: int) -> np.ndarray:
    """For each product another one of the category, whose picture it is given.

    In the order of a hash every picture takes the place of the one before it: none
    stays where it is, unless the category has but one, and products that share a
    picture still do.

    Returns:
        [n_products] columns.
    """
    order = np.array(
        sorted(
            range(len(task.pictures)),
            key=lambda i: stable_hash(seed, "exchange", task.pictures[i]),
        )
    )
    picture = np.empty_like(order)
    picture[order] = np.roll(order, -1)
    # Of the products with a picture the first stands for them all.
    _, column_of = np.unique(task.picture_of, return_index=True)
    return column_of[picture[task.picture_of]]


def control_scorers(main: ModelScorer, split: Split, *, seed: int) -> list[Scorer]:
    """The model's controls.

    Args:
        main: the model.
        split: of the pairs; scenes with a covered box have features in the test split
            only, see `beam_jobs.features.feature_requests`.
        seed: of the exchange of pictures.
    """
    views = [(UNCROPPED, SceneView.WHOLE)]
    if split is Split.TEST:
        views.append((BLANKED, SceneView.BLANKED))
    return [
        *(
            ModelScorer(f"{main.name}{suffix}", main.vectors, view)
            for suffix, view in views
        ),
        ShuffledProductsScorer(f"{main.name}{SHUFFLED_PRODUCTS}", main, seed),
    ]


def describe_controls(main: str, models: Sequence[str]) -> list[tuple[str, str]]:
    """Name and sentence of the controls among the models.

    Args:
        main: name of the model.
        models: names of all that were measured.
    """
    named = {f"{main}{suffix}": sentence for suffix, sentence in MUST_SHOW.items()}
    return [(name, named[name]) for name in models if name in named]


def control_notes(rows: Sequence[MetricRow], main: str) -> list[str]:
    """What a reader has to know of controls that did not come out as they must."""
    return [
        f"{row.model} reaches a binary accuracy of {row.value:.3f} [{row.low:.3f}, "
        f"{row.high:.3f}], above chance: {main} goes by something else than the "
        "product's picture. Evaluate with another --seed to rule out luck with the "
        "exchange of pictures"
        for row in rows
        if row.model == f"{main}{SHUFFLED_PRODUCTS}"
        and (row.metric, row.slice) == (DIFFERENCE_METRIC, ALL)
        and row.low > CHANCE
    ]
