"""The training loop: our own, over `tf.distribute`, because Keras 3's `fit` is not.

With Keras 3 models `fit` fails under `MultiWorkerMirroredStrategy`; a loop around
`strategy.run` works on one device, several, and several hosts alike. A run that was
killed goes on from its last checkpoint, and on a CPU ends in the same weights.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.configuration.config import TrainConfig
from trainer.inputs.pair_table import PairTable
from trainer.models.model import StyleModel
from trainer.models.picture_model import PictureModel
from trainer.training.batches import Batches
from trainer.training.optimizers import make_optimizer
from trainer.training.schedule import learning_rate
from trainer.training.steps import Step, make_step
from trainer.training.telemetry import Telemetry
from trainer.training.train_state import EpochResult, TrainState, best_epoch
from trainer.training.validation import Validation, validate
from trainer.training.watchdogs import (
    ROLL_BACKS,
    DivergedError,
    blind_loss,
    check_collapse,
    check_figures,
    check_finite,
    check_level,
    check_state,
)

log = logging.getLogger(__name__)

WINDOW = 50
"""Steps between two looks at the losses: looking waits for the device. They are counted
from the first of all, so that a run that goes on looks where it would have looked."""


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """Where a run writes.

    Attributes:
        restore: folder of the checkpoints that a run goes on from.
        save: folder where it leaves its own; another one on all workers but the chief,
            as saving is something that all of them do together.
        telemetry: where curves and figures go; None on all workers but the chief.
        every: steps between two checkpoints, besides those at the end of each epoch.
    """

    restore: str
    save: str
    telemetry: Telemetry | None = None
    every: int = 1_000


def train(
    model: StyleModel | PictureModel,
    tables: dict[str, PairTable],
    config: TrainConfig,
    *,
    strategy: tf.distribute.Strategy,
    places: Places,
) -> list[EpochResult]:
    """Train a model until its validation loss no longer falls.

    The model ends with the weights of its best epoch.

    Args:
        model: built under the strategy's scope.
        tables: `train` and `validation`.
        config: how.
        strategy: where.
        places: what is written meanwhile.

    Returns:
        Every epoch's figures.

    Raises:
        InputError: the training goes wrong whatever the learning rate.
    """
    run = _Run(model, tables, config, strategy, places)
    run.go_on()
    while not run.is_done:
        run.epoch()
    run.state.take_best()
    return run.state.results


class _Run:
    """A training run."""

    def __init__(
        self,
        model: StyleModel | PictureModel,
        tables: dict[str, PairTable],
        config: TrainConfig,
        strategy: tf.distribute.Strategy,
        places: Places,
    ) -> None:
        self._model, self._tables, self._config = model, tables, config
        self._strategy, self._places = strategy, places
        with strategy.scope():
            self._optimizer = make_optimizer(config, model)
            self._optimizer.build(model.trainable_variables)
        self._batches = Batches(
            tables["train"], config, replicas=strategy.num_replicas_in_sync
        )
        self._step: Step = make_step(model, self._optimizer, config, strategy)
        self.state = TrainState(model, self._optimizer, config)
        self._manager = self.state.checkpoints(places.save)
        self._blind = blind_loss(config, len(tables["train"].products))

    def go_on(self) -> None:
        """Take up a run that was killed, if there is one.

        Raises:
            InputError: it had collapsed, or is of another configuration.
        """
        latest = tf.train.latest_checkpoint(self._places.restore)
        if latest:
            self.state.restore(latest)
            log.info("going on after step %d", self.state.step)
            check_collapse(self.state.results, self._config.loss)
        else:
            self._manager.save()  # something to go back to
        if self._places.telemetry:
            self._places.telemetry.forget_after(self.state.step)

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to be gained."""
        results = self.state.results
        if not results:
            return False
        return (
            len(results) == self._config.max_epochs
            or len(results) - best_epoch(results) >= self._config.patience
        )

    def epoch(self) -> None:
        """Train to the end of an epoch, and see what that brought."""
        try:
            self._train_epoch()
            figures, weights = self._validated()
        except DivergedError as error:
            self._roll_back(error)
            return
        state = self.state
        result = EpochResult(
            epoch=len(state.results) + 1,
            loss=state.loss_sum / self._batches.steps_per_epoch,
            validation_loss=figures.loss,
            validation_binary_accuracy=figures.binary_accuracy,
            at_margin=figures.at_margin,
            mean_cosine=figures.mean_cosine,
        )
        state.end_epoch(result, weights)
        if self._places.telemetry:
            self._places.telemetry.epoch(result, self._model)
        self._save()
        log.info(
            "epoch %d: loss %.4f, validation loss %.4f, binary accuracy %.4f",
            result.epoch,
            result.loss,
            result.validation_loss,
            result.validation_binary_accuracy,
        )
        check_collapse(state.results, self._config.loss)

    def _train_epoch(self) -> None:
        per_epoch = self._batches.steps_per_epoch
        start = self.state.step
        stop = (start // per_epoch + 1) * per_epoch
        # The bar is for terminals; elsewhere one line an epoch.
        bar = keras.utils.Progbar(
            per_epoch, verbose=1 if sys.stdout.isatty() else 0, unit_name="step"
        )
        losses: list[tf.Tensor] = []
        began = time.monotonic()
        for number, batch in enumerate(self._iterate(start, stop), start=start + 1):
            self._optimizer.learning_rate = self._learning_rate(number - 1)
            losses.append(self._step(batch))
            at_checkpoint = number % self._places.every == 0
            if number % WINDOW == 0 or number == stop or at_checkpoint:
                self._look_at(losses, number, time.monotonic() - began, bar)
                losses, began = [], time.monotonic()
            if at_checkpoint or number == stop:
                check_state(self.state)
            if at_checkpoint and number != stop:
                self._save()

    def _save(self) -> None:
        """Leave a checkpoint, and before it what was noted up to it."""
        if self._places.telemetry:
            self._places.telemetry.write()
        self._manager.save()

    def _look_at(
        self,
        losses: list[tf.Tensor],
        step: int,
        seconds: float,
        bar: keras.utils.Progbar,
    ) -> None:
        values = [float(loss) for loss in losses]
        check_finite(values, step=step)
        self.state.advance(values)
        at = (step - 1) % self._batches.steps_per_epoch + 1
        if at >= min(WINDOW, self._batches.steps_per_epoch):
            check_level(self.state.loss_sum / at, self._blind, step=step)
        bar.update(at, [("loss", float(np.mean(values)))])
        if self._places.telemetry:
            self._places.telemetry.window(
                step,
                loss=float(np.mean(values)),
                learning_rate=self._learning_rate(step - 1),
                pairs=len(values) * self._config.batch_size,
                seconds=seconds,
            )

    def _iterate(self, start: int, stop: int) -> Iterator[Any]:
        n_replicas = self._strategy.num_replicas_in_sync
        if n_replicas == 1:
            return iter(self._batches.dataset(start, stop))

        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            count = n_replicas // context.num_input_pipelines
            first = context.input_pipeline_id * count
            replicas = range(first, first + count)
            return self._batches.dataset(start, stop, replicas=replicas)

        return iter(self._strategy.distribute_datasets_from_function(of_worker))

    def _learning_rate(self, step: int) -> float:
        rate = learning_rate(
            self._config.optimizer,
            step,
            steps_per_epoch=self._batches.steps_per_epoch,
            max_epochs=self._config.max_epochs,
        )
        return rate * self.state.learning_rate_factor

    def _validated(self) -> tuple[Validation, list[np.ndarray]]:
        """Figures of the weights that would be kept, and those weights.

        Raises:
            DivergedError: the figures are no numbers.
        """
        model, optimizer = self._model, self._optimizer
        own = model.get_weights()
        if self._config.optimizer.average:
            with self._strategy.scope():
                optimizer.finalize_variable_values(model.trainable_variables)
        figures = validate(model, self._tables["validation"], self._config.loss)
        check_figures(figures, epoch=len(self.state.results) + 1)
        kept = model.get_weights()
        model.set_weights(own)
        return figures, kept

    def _roll_back(self, error: DivergedError) -> None:
        """Take up the last checkpoint with half the learning rate.

        Raises:
            DivergedError: that has been done often enough.
        """
        count = self.state.roll_backs + 1
        factor = self.state.learning_rate_factor / 2
        if count > ROLL_BACKS:
            rate = self._config.optimizer.learning_rate
            raise DivergedError(
                f"{error}, after {ROLL_BACKS} roll-backs with half the learning rate "
                f"each; lower --learning_rate {rate:g} below {rate * factor * 2:g}"
            )
        self.state.restore(tf.train.latest_checkpoint(self._places.restore))
        # The checkpoint is of before.
        self.state.roll_backs, self.state.learning_rate_factor = count, factor
        if self._places.telemetry:
            self._places.telemetry.forget_after(self.state.step)
        log.warning(
            "%s; going back to step %d with %g of the learning rate",
            error,
            self.state.step,
            factor,
        )
