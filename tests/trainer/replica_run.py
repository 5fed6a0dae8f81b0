"""Train the planted table somewhere and save weights and figures; run as a program.

python replica_run.py one|mirrored|hosts OUT.npz [root=FOLDER] [field=value ...]

With a root its pictures are trained on instead of the planted table.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from training_world import CATEGORIES, planted_table

from trainer.config import TrainConfig
from trainer.config_fields import with_changes
from trainer.loop import Places, train
from trainer.preparation import make_model
from trainer.strategy import Where, is_chief, make_strategy

SIZES = (
    "model.dropout=0",
    "model.global_units=16",
    "model.local_units=16",
    "model.embedding_dim=8",
    "optimizer.learning_rate=0.01",
    "batch_size=16",
    "max_epochs=2",
)


def main(where: str, out: str, *changes: str) -> None:
    """Train, and save from the process that writes for all."""
    if where == Where.MIRRORED:
        (cpu,) = tf.config.list_physical_devices("CPU")
        halves = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, halves)
    strategy = make_strategy(Where(where))
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    config = with_changes(TrainConfig(), [*SIZES, *changes])
    tables = {"train": planted_table(0), "validation": planted_table(1)}
    with strategy.scope():
        model = make_model(config, tables["train"], CATEGORIES)
    with tempfile.TemporaryDirectory() as unused:
        folder = str(Path(out).with_suffix(".checkpoints"))
        chief = is_chief(strategy)
        places = Places(restore=folder, save=folder if chief else unused)
        results = train(model, tables, config, strategy=strategy, places=places)
    if chief:
        figures = json.dumps([dataclasses.asdict(result) for result in results])
        weights = {str(n): w for n, w in enumerate(model.get_weights())}
        np.savez(
            out, figures=figures, replicas=strategy.num_replicas_in_sync, **weights
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
