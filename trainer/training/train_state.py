"""All that a training run is in the middle of, as variables that a checkpoint holds."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.configuration.config import TrainConfig
from trainer.models.model import StyleModel
from trainer.models.picture_model import PictureModel
from trainer.training.checkpoint_config import check_config, not_ours, to_text

_KEPT = 2  # checkpoints: one more, in case the newest is being written when all ends


@dataclasses.dataclass(frozen=True, slots=True)
class EpochResult:
    """Figures of one epoch.

    Attributes:
        epoch: from 1.
        loss: mean over the train split's steps, with dropout.
        validation_loss: of the validation split; see `validation.Validation`.
        validation_binary_accuracy: as well.
        at_margin: as well.
        mean_cosine: as well.
    """

    epoch: int
    loss: float
    validation_loss: float
    validation_binary_accuracy: float
    at_margin: float
    mean_cosine: float


class TrainState:
    """Weights, optimizer, position and results of a run.

    Attributes:
        step: steps done over all epochs.
        loss_sum: of the steps of this epoch.
        learning_rate_factor: below 1 after a roll-back.
        roll_backs: how often the run went back to a checkpoint.
    """

    def __init__(
        self,
        model: StyleModel | PictureModel,
        optimizer: keras.optimizers.Optimizer,
        config: TrainConfig,
    ) -> None:
        """Begin a run.

        Args:
            model: built.
            optimizer: built for it.
            config: of the run; only such checkpoints are taken.
        """
        self._model, self._config = model, config
        self._step = tf.Variable(0, dtype=tf.int64)
        self._loss_sum = tf.Variable(0.0, dtype=tf.float64)
        self._factor = tf.Variable(1.0, dtype=tf.float64)
        self._roll_backs = tf.Variable(0, dtype=tf.int64)
        self._results = tf.Variable("[]")
        self._best = [tf.Variable(weight) for weight in model.get_weights()]
        # The random states of dropout are among the model's variables.
        of_model = [variable.value for variable in model.variables]
        of_optimizer = [variable.value for variable in optimizer.variables]
        self._learned = [v for v in of_model + of_optimizer if v.dtype.is_floating]
        self._checkpoint = tf.train.Checkpoint(
            config=tf.Variable(to_text(config)),
            model=of_model,
            optimizer=of_optimizer,
            step=self._step,
            loss_sum=self._loss_sum,
            factor=self._factor,
            roll_backs=self._roll_backs,
            results=self._results,
            best=self._best,
        )

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self._step.numpy())

    @property
    def loss_sum(self) -> float:
        """Sum of the losses of this epoch's steps."""
        return float(self._loss_sum.numpy())

    def advance(self, losses: list[float]) -> None:
        """Count steps and their losses."""
        total = self.loss_sum
        for loss in losses:
            total += loss
        self._loss_sum.assign(total)
        self._step.assign_add(len(losses))

    def is_finite(self) -> bool:
        """Whether all numbers of the model and the optimizer are finite."""
        found = [tf.reduce_all(tf.math.is_finite(learned)) for learned in self._learned]
        return bool(tf.reduce_all(found))

    @property
    def learning_rate_factor(self) -> float:
        """By how much the learning rate is lowered."""
        return float(self._factor.numpy())

    @learning_rate_factor.setter
    def learning_rate_factor(self, factor: float) -> None:
        self._factor.assign(factor)

    @property
    def roll_backs(self) -> int:
        """How often the run went back, killed ones included that it goes on from."""
        return int(self._roll_backs.numpy())

    @roll_backs.setter
    def roll_backs(self, count: int) -> None:
        self._roll_backs.assign(count)

    @property
    def results(self) -> list[EpochResult]:
        """Of the epochs that are complete."""
        return [EpochResult(**r) for r in json.loads(self._results.numpy())]

    def end_epoch(self, result: EpochResult, weights: list[np.ndarray]) -> None:
        """Note an epoch's figures, and its weights where they are the best so far."""
        results = [*self.results, result]
        self._results.assign(json.dumps([dataclasses.asdict(r) for r in results]))
        self._loss_sum.assign(0.0)
        if best_epoch(results) == result.epoch:
            for kept, weight in zip(self._best, weights, strict=True):
                kept.assign(weight)

    def take_best(self) -> None:
        """Give the model the weights of its best epoch."""
        self._model.set_weights([kept.numpy() for kept in self._best])

    def checkpoints(self, folder: str) -> tf.train.CheckpointManager:
        """Where the run leaves its checkpoints."""
        return tf.train.CheckpointManager(
            self._checkpoint, folder, max_to_keep=_KEPT, step_counter=self._step
        )

    def restore(self, path: str) -> None:
        """Go back, or on, to a checkpoint.

        Raises:
            InputError: it is of another configuration or version, or is broken.
        """
        check_config(path, self._config)
        try:
            status = self._checkpoint.restore(path)
            status.assert_existing_objects_matched().assert_consumed()
        except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
            raise not_ours(path, error) from None


def best_epoch(results: list[EpochResult]) -> int:
    """The first of the epochs with the lowest validation loss."""
    return min(results, key=lambda result: (result.validation_loss, result.epoch)).epoch


def history_fields(results: list[EpochResult]) -> dict[str, Any]:
    """What `history.json` says of a run."""
    return {
        "epochs": [dataclasses.asdict(result) for result in results],
        "best_epoch": best_epoch(results),
    }
