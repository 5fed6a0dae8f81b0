"""Steps in float16 on two virtual devices, one of which overflows; run as a program.

    python overflow_run.py OUT.npz

In the last step the gradients of the second replica alone are infinite. Out: weights on
every device at first, before that step and after it, and the scale of the loss on every
device (`<moment>/<device>/<number>`, `<moment>/scale`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from training_world import CATEGORIES, planted_table

from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.training import steps
from trainer.training.batches import Batches
from trainer.training.optimizers import make_optimizer
from trainer.training.preparation import make_model
from trainer.training.strategy import Where, make_strategy

STEPS = 2
SCALE = 64.0
"""Of the loss at first: Keras's own is so high that the first steps overflow anyhow."""

CHANGES = (
    "model.distance=global",
    "model.dropout=0",
    "model.embedding_dim=8",
    "model.global_units=32",
    "optimizer.precision=mixed_float16",
    "batch_size=8",
)


def main(out: str) -> None:
    """Step, and save what came of it."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
    strategy = make_strategy(Where.MIRRORED)
    keras.utils.set_random_seed(0)
    config, table = with_changes(TrainConfig(), CHANGES), planted_table(0)
    with strategy.scope():
        model = make_model(config, table, CATEGORIES)
        optimizer = make_optimizer(config, model)
        optimizer.build(model.trainable_variables)
        overflows = tf.Variable(False, trainable=False)
    dense = steps.dense

    def spoilt(gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        over = tf.logical_and(overflows, tf.equal(replica, 1))
        return [tf.where(over, np.inf, gradient) for gradient in dense(gradients)]

    steps.dense = spoilt
    step = steps.make_step(model, optimizer, config, strategy)
    batches = Batches(table, config, replicas=2)
    datasets = strategy.distribute_datasets_from_function(
        lambda _: batches.dataset(0, STEPS, replicas=range(2))
    )
    found: dict[str, Any] = {}

    def note(moment: str) -> None:
        scales = strategy.experimental_local_results(optimizer.dynamic_scale.value)
        found[f"{moment}/scale"] = np.array([float(scale) for scale in scales])
        for number, variable in enumerate(model.trainable_variables):
            copies = strategy.experimental_local_results(variable.value)
            for device, copy in enumerate(copies):
                found[f"{moment}/{device}/{number}"] = copy.numpy().copy()

    optimizer.dynamic_scale.assign(SCALE)
    note("first")
    *plain, last = datasets
    for batch in plain:
        step(batch)
    note("before")
    overflows.assign(True)
    step(last)
    note("after")
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
