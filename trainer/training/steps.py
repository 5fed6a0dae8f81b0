"""One step of training, on one replica or on many: gradients and their application."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from tfrecords_schema.errors import InputError
from trainer.configuration.config import Reduction, TrainConfig
from trainer.models.losses import batch_losses
from trainer.models.model import StyleModel
from trainer.models.picture_model import PictureModel

Step = Callable[[Mapping[str, tf.Tensor]], tf.Tensor]
"""From a batch (see `batches.Batches.part`) to its mean loss."""


def make_step(
    model: StyleModel | PictureModel,
    optimizer: keras.optimizers.Optimizer,
    config: TrainConfig,
    strategy: tf.distribute.Strategy,
) -> Step:
    """The compiled step of a strategy.

    Args:
        model: built under the strategy's scope.
        optimizer: as well.
        config: of the training.
        strategy: where the replicas are.

    Raises:
        InputError: see `check_compiles`.
    """
    check_compiles(config, strategy.num_replicas_in_sync)
    clip_norm = config.optimizer.clip_norm
    # Such an optimizer asks the first replica alone whether gradients are finite.
    is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    # What is told of a step is the mean in any case, to be compared.
    weight = config.batch_size if config.loss.reduction is Reduction.SUM else 1

    def replica_step(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = batch_losses(model, batch, config.loss, gather=_gather)
            # Summed over replicas this is the mean over the whole batch.
            loss = tf.reduce_sum(losses) / config.batch_size
            scaled = optimizer.scale_loss(loss * weight)
        gradients = dense(tape.gradient(scaled, model.trainable_variables))
        if clip_norm is not None:
            # A scaled loss has scaled gradients.
            norm = optimizer.scale_loss(clip_norm)
            gradients, _ = tf.clip_by_global_norm(_summed(gradients), norm)
            gradients = _shares(gradients)
        elif is_scaled:
            gradients = _shares(_summed(gradients))
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    if config.optimizer.xla:
        replica_step = tf.function(replica_step, autograph=False, jit_compile=True)

    # Nothing in it branches on a tensor in Python, and AutoGraph knows no `match`.
    @tf.function(autograph=False)
    def step(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        losses = strategy.run(replica_step, args=(batch,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    return step


def check_compiles(config: TrainConfig, replicas: int) -> None:
    """Refuse XLA on several replicas, whose exchange it does not compile.

    Raises:
        InputError: naming the option.
    """
    if config.optimizer.xla and replicas > 1:
        raise InputError(
            f"optimizer.xla is for one replica, and there are {replicas}; set it to "
            "false, or --strategy one"
        )


def dense(gradients: Sequence[tf.Tensor | tf.IndexedSlices]) -> list[tf.Tensor]:
    """Gradients without sparse ones, such as that of the categories' table.

    Where a row occurs twice in a batch the optimizer would take the sum of squares for
    the square of the sum: another second moment than on other backends.
    """
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def _gather(rows: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas; the gradient comes back to those that made them.

    Each replica adds its rows, at its place among zeros, to those of the others: unlike
    that of a gather, the gradient of a sum is defined across replicas.
    """
    context = tf.distribute.get_replica_context()
    n_replicas = context.num_replicas_in_sync
    if n_replicas == 1:
        return rows
    mine = tf.one_hot(context.replica_id_in_sync_group, n_replicas, dtype=rows.dtype)
    placed = mine[:, None, None] * rows[None]
    placed = tf.reshape(placed, (-1, rows.shape[-1]))
    return context.all_reduce(tf.distribute.ReduceOp.SUM, placed)


def _summed(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Gradients of all replicas together, the same ones on each."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return gradients
    # As one tensor: the order of many at once differs between replicas.
    flat = tf.concat([tf.reshape(gradient, (-1,)) for gradient in gradients], 0)
    flat = context.all_reduce(tf.distribute.ReduceOp.SUM, flat)
    sizes = [tf.size(gradient) for gradient in gradients]
    return [
        tf.reshape(part, gradient.shape)
        for part, gradient in zip(tf.split(flat, sizes), gradients, strict=True)
    ]


def _shares(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """What each replica gives of gradients that are of all: the optimizer adds up."""
    context = tf.distribute.get_replica_context()
    return [gradient / context.num_replicas_in_sync for gradient in gradients]
