"""Find a model's weights in closed form: preset `best`."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.configuration.config import ProjectionConfig, TrainConfig
from trainer.inputs.pair_table import PairTable
from trainer.models.linear_model import LinearStyleModel
from trainer.models.linear_projection import LinearProjection, ProjectionFit, Rows
from trainer.training.validation import validate
from trainer.training.watchdogs import check_tells_apart

log = logging.getLogger(__name__)

MODEL_NAME = "linear_style"
"""See `preparation.MODEL_NAME`."""

RIDGES = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Of which the best is taken: how much of a backbone's variance is noise differs."""


@dataclasses.dataclass(frozen=True, slots=True)
class RidgeResult:
    """How good a ridge is.

    Attributes:
        ridge: ρ.
        validation_loss: as that of a model that is trained; see `validation`.
        validation_binary_accuracy: as well; the highest one is taken.
    """

    ridge: float
    validation_loss: float
    validation_binary_accuracy: float


def fit_model(
    tables: Mapping[str, PairTable], categories: Sequence[str], config: TrainConfig
) -> tuple[LinearStyleModel, dict[str, Any]]:
    """Fit the train split, the ridge chosen on the validation split.

    Args:
        tables: `train` and `validation`.
        categories: names, in the order of the tables' numbers.
        config: its `projection` counts; `loss` for what the history says.

    Returns:
        The model, and what `history.json` says of it.

    Raises:
        InputError: the model tells no product from another.
    """
    fit = fit_components(tables["train"], categories, config.projection)
    chosen = config.projection.ridge
    found = []
    for ridge in RIDGES if chosen is None else (chosen,):
        model = linear_model(fit.solve(ridge), categories)
        figures = validate(model, tables["validation"], config.loss)
        result = RidgeResult(ridge, figures.loss, figures.binary_accuracy)
        log.info(
            "ridge %g: validation loss %.4f, binary accuracy %.4f",
            *dataclasses.astuple(result),
        )
        found.append((result, figures, model))
    best, figures, model = max(
        found, key=lambda item: item[0].validation_binary_accuracy
    )
    check_tells_apart(figures)
    return model, {
        "epochs": [],
        "best_epoch": None,
        "ridges": [dataclasses.asdict(result) for result, *_ in found],
        "ridge": best.ridge,
        "pairs": len(tables["train"]),
        "dim": model.sizes.embedding_dim,
    }


def fit_components(
    table: PairTable, categories: Sequence[str], config: ProjectionConfig
) -> ProjectionFit:
    """The components of a split's pairs."""
    return ProjectionFit(
        Rows(np.asarray(table.scenes), table.scene),
        Rows(np.asarray(table.products), table.positive),
        table.category,
        table.group,
        n_categories=len(categories),
        config=config,
    )


def linear_model(
    projection: LinearProjection, categories: Sequence[str]
) -> LinearStyleModel:
    """A projection as a model."""
    kernel = projection.scenes.kernel()
    model = LinearStyleModel(
        global_dim=kernel.shape[0],
        categories=list(categories),
        embedding_dim=kernel.shape[1],
        name=MODEL_NAME,
    )
    model.build()
    model.set_projection(projection)
    return model
