"""Train the planted table somewhere and save weights and figures; run as a program.

python replica_run.py one|mirrored|hosts OUT.npz [field=value ...] [OUT.npz ...]

Each OUT.npz begins a training of its own, all in this one process. With root=FOLDER in
the place of a field its pictures are trained on instead of the planted table.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from small_root import DATASET, RUN_DATE
from training_world import CATEGORIES, planted_table

from tfrecords_schema.layout import Root, Stage
from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.inputs.pair_table import read_categories
from trainer.models.picture_model import Trainable
from trainer.training.loop import Places, train
from trainer.training.preparation import (
    Sources,
    Tables,
    make_model,
    read_tables,
    untrained_model,
)
from trainer.training.strategy import Where, is_chief, make_strategy

SIZES = (
    "model.dropout=0",
    "model.global_units=16",
    "model.local_units=16",
    "model.embedding_dim=8",
    "optimizer.learning_rate=0.01",
    "batch_size=16",
    "max_epochs=2",
)


def main(where: str, *arguments: str) -> None:
    """Train all that is asked for."""
    if where == Where.MIRRORED:
        (cpu,) = tf.config.list_physical_devices("CPU")
        halves = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, halves)
    strategy = make_strategy(Where(where))
    tf.config.experimental.enable_op_determinism()
    begins = [n for n, argument in enumerate(arguments) if "=" not in argument]
    for begin, end in itertools.pairwise([*begins, len(arguments)]):
        out, *changes = arguments[begin:end]
        train_to(out, changes, strategy)


def train_to(
    out: str, changes: Sequence[str], strategy: tf.distribute.Strategy
) -> None:
    """Train, and save from the process that writes for all."""
    keras.utils.set_random_seed(0)
    root = next((c.removeprefix("root=") for c in changes if c[:5] == "root="), None)
    changes = [change for change in changes if change[:5] != "root="]
    config = with_changes(TrainConfig(), [*SIZES, *changes])
    if root:
        model, tables = from_pictures(Root.of(root), config, strategy)
    else:
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


def from_pictures(
    root: Root, config: TrainConfig, strategy: tf.distribute.Strategy
) -> tuple[Trainable, Tables]:
    """A model over a root's pictures, and its tables."""
    features = root.receipt(RUN_DATE, Stage.EXTRACT_FEATURES).outputs["features"]
    dataset = root.dataset(DATASET)
    sources = Sources(root, dataset, features, read_categories(dataset))
    tables = read_tables(config, sources, scratch=Path())
    return untrained_model(config, sources, tables, strategy), tables


if __name__ == "__main__":
    main(*sys.argv[1:])
