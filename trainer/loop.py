"""The training loop: our own, over `tf.distribute`, because Keras 3's `fit` is not.

With Keras 3 models `fit` fails under `MultiWorkerMirroredStrategy`; a loop around
`strategy.run` works on one device, several, and several hosts alike.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrecords_schema.errors import InputError
from trainer.config import TrainConfig
from trainer.data import TripletTable, epoch_triplets, make_dataset
from trainer.model import StyleModel, triplet_loss

log = logging.getLogger(__name__)

_EMBED_BATCH = 256  # scenes: 50 MB of ResNet50 regions in float32


@dataclasses.dataclass(frozen=True, slots=True)
class EpochResult:
    """Figures of one epoch, each a mean over triplets.

    Attributes:
        epoch: from 1.
        loss: of the train split, with dropout.
        validation_loss: of the validation split.
        validation_binary_accuracy: share of validation triplets whose positive is
            nearer, ties half.
    """

    epoch: int
    loss: float
    validation_loss: float
    validation_binary_accuracy: float


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """Every epoch, and the one whose weights the model has."""

    epochs: tuple[EpochResult, ...]
    best_epoch: int


def train(
    model: StyleModel,
    tables: dict[str, TripletTable],
    config: TrainConfig,
    *,
    strategy: tf.distribute.Strategy,
    log_dir: str,
) -> History:
    """Train a model until its validation loss no longer falls.

    The model ends with the weights of its best epoch.

    Args:
        model: built under the strategy's scope.
        tables: `train` and `validation`.
        config: how.
        strategy: where.
        log_dir: of TensorBoard.
    """
    with strategy.scope():
        optimizer = keras.optimizers.AdamW(
            config.learning_rate, weight_decay=config.weight_decay
        )
        optimizer.build(model.trainable_variables)
    step = _train_step(model, optimizer, config, strategy)
    writer = tf.summary.create_file_writer(log_dir)
    results: list[EpochResult] = []
    best: list[np.ndarray] = []
    best_epoch = 0
    for epoch in range(1, config.max_epochs + 1):
        loss = _train_epoch(step, tables["train"], config, strategy, epoch)
        result = EpochResult(
            epoch, loss, *_validate(model, tables["validation"], config)
        )
        results.append(result)
        _report(result, writer)
        if not np.isfinite(loss):
            raise InputError(f"loss is {loss} in epoch {epoch}; lower --learning_rate")
        if not best or result.validation_loss < results[best_epoch - 1].validation_loss:
            best, best_epoch = [np.array(w) for w in model.get_weights()], epoch
        elif epoch - best_epoch >= config.patience:
            break
    model.set_weights(best)
    writer.close()
    return History(tuple(results), best_epoch)


def _train_step(
    model: StyleModel,
    optimizer: keras.optimizers.Optimizer,
    config: TrainConfig,
    strategy: tf.distribute.Strategy,
) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
    def replica_step(
        triplets: dict[str, tf.Tensor], n_triplets: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            positive, negative = model(triplets, training=True)
            losses = triplet_loss(positive, negative, config.margin)
            # Summed over replicas this is the mean over the global batch.
            loss = tf.reduce_sum(losses) / tf.cast(n_triplets, tf.float32)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    @tf.function(reduce_retracing=True)
    def step(triplets: dict[str, tf.Tensor], n_triplets: tf.Tensor) -> tf.Tensor:
        losses = strategy.run(replica_step, args=(triplets, n_triplets))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    return step


def _train_epoch(
    step: Callable[..., tf.Tensor],
    table: TripletTable,
    config: TrainConfig,
    strategy: tf.distribute.Strategy,
    epoch: int,
) -> float:
    pairs, negatives = epoch_triplets(table, epoch, config.seed)
    batches = make_dataset(table, pairs, negatives, batch_size=config.batch_size)
    # The bar is for terminals; elsewhere one line an epoch.
    bar = keras.utils.Progbar(
        -(-len(table) // config.batch_size),
        verbose=1 if sys.stdout.isatty() else 0,
        unit_name="step",
    )
    total = 0.0
    for number, triplets in enumerate(
        strategy.experimental_distribute_dataset(batches), start=1
    ):
        size = min(config.batch_size, len(table) - (number - 1) * config.batch_size)
        loss = float(step(triplets, tf.constant(size)))
        total += loss * size
        bar.update(number, [("loss", loss)])
    return total / len(table)


def _validate(
    model: StyleModel, table: TripletTable, config: TrainConfig
) -> tuple[float, float]:
    """Loss and binary accuracy over every pair with each of its negatives.

    Scenes and products are embedded once, and all distances follow from them.
    """
    products = _embed(model.embed_products, table.products)
    queries = _embed(
        lambda rows: model.embed_scenes(
            table.scenes[table.scene[rows]],
            np.asarray(table.regions[table.scene[rows]]),
            table.category[rows],
        )[0],
        np.arange(len(table)),
    )
    counts = [len(rows) for rows in table.negatives]
    pairs = np.repeat(np.arange(len(table)), counts)
    positive = _distance(queries[pairs], products[table.positive[pairs]])
    negative = _distance(queries[pairs], products[np.concatenate(table.negatives)])
    losses = np.maximum(0.0, positive - negative + config.margin)
    nearer = (positive < negative) + 0.5 * (positive == negative)
    # A pair counts once, however many negatives its category has.
    weights = 1.0 / np.repeat(counts, counts)
    return (
        float(np.average(losses, weights=weights)),
        float(np.average(nearer, weights=weights)),
    )


def _embed(embed: Callable[[np.ndarray], Any], items: np.ndarray) -> np.ndarray:
    blocks = range(0, len(items), _EMBED_BATCH)
    return np.concatenate(
        [np.asarray(embed(items[at : at + _EMBED_BATCH])) for at in blocks]
    )


def _distance(queries: np.ndarray, products: np.ndarray) -> np.ndarray:
    """2 − q·f_p, row by row; see `trainer.model`."""
    return 2.0 - np.einsum("nd,nd->n", queries, products)


def _report(result: EpochResult, writer: tf.summary.SummaryWriter) -> None:
    figures = dataclasses.asdict(result)
    log.info(
        "epoch %(epoch)d: loss %(loss).4f, validation loss %(validation_loss).4f, "
        "validation binary accuracy %(validation_binary_accuracy).4f",
        figures,
    )
    with writer.as_default(step=result.epoch):
        for name, value in figures.items():
            if name != "epoch":
                tf.summary.scalar(name, value)
