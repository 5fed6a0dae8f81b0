"""A small training whose weights are looked at before and after each step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_world import CATEGORIES, planted_table

from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.models.model import StyleModel
from trainer.training import loop
from trainer.training.loop import Places, train
from trainer.training.preparation import Tables, make_model
from trainer.training.train_state import EpochResult

SIZES = (
    "model.dropout=0",
    "model.global_units=8",
    "model.local_units=8",
    "model.embedding_dim=4",
    "optimizer.learning_rate=0.01",
    "batch_size=8",
)
STEPS_PER_EPOCH = 5
Weights = list[np.ndarray]


@dataclasses.dataclass(frozen=True, slots=True)
class Watched:
    """What a run did.

    Attributes:
        config: of the run.
        model: as it was left.
        results: of its epochs.
        before: weights before each step that was made, rolled back ones included.
        after: weights after each.
    """

    config: TrainConfig
    model: StyleModel
    results: list[EpochResult]
    before: list[Weights]
    after: list[Weights]

    def moved(self, step: int) -> float:
        """How far a step moved the weight that it moved most."""
        pairs = zip(self.before[step], self.after[step], strict=True)
        return max(float(np.abs(after - before).max()) for before, after in pairs)


def watched_run(
    folder: Path,
    *changes: str,
    tables: Tables | None = None,
    spoil: Callable[[int, Any], Any] = lambda number, loss: loss,
) -> Watched:
    """Train.

    Args:
        folder: of the checkpoints, which are made after every step.
        changes: of the configuration.
        tables: to train on; None for planted ones of 40 pairs.
        spoil: from a step's number, counted from 1 as it is made, and its loss to the
            loss that the loop is told.
    """
    keras.utils.set_random_seed(0)
    config = with_changes(TrainConfig(), [*SIZES, *changes])
    tables = tables or {"train": planted_table(0), "validation": planted_table(1)}
    model = make_model(config, tables["train"], CATEGORIES)
    before: list[Weights] = []
    after: list[Weights] = []
    make = loop.make_step

    def making(*arguments: Any) -> Any:
        step = make(*arguments)

        def watched(batch: Any) -> Any:
            before.append(trainable(model))
            loss = step(batch)
            after.append(trainable(model))
            return spoil(len(after), loss)

        return watched

    places = Places(str(folder), str(folder), every=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_step", making)
        results = train(
            model, tables, config, strategy=tf.distribute.get_strategy(), places=places
        )
    return Watched(config, model, results, before, after)


def trainable(model: StyleModel) -> Weights:
    """The weights that training moves."""
    return [variable.numpy() for variable in model.trainable_variables]
