"""A step compiled with XLA is the step that is not."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_world import CATEGORIES, planted_table

from tfrecords_schema.errors import InputError
from trainer.configuration.config import ModelConfig, OptimizerConfig, TrainConfig
from trainer.training.batches import Batches
from trainer.training.optimizers import make_optimizer
from trainer.training.preparation import make_model
from trainer.training.steps import make_step

STEPS = 4
PLAIN = TrainConfig(
    # Without dropout: XLA draws other random numbers.
    model=ModelConfig(embedding_dim=4, global_units=6, local_units=5, dropout=0.0),
    batch_size=8,
)
FUSED = dataclasses.replace(PLAIN, optimizer=OptimizerConfig(xla=True))


def stepped(config: TrainConfig) -> tuple[list[float], list[np.ndarray]]:
    """Losses of some steps, and the weights after them."""
    keras.utils.set_random_seed(3)
    table = planted_table(3)
    model = make_model(config, table, CATEGORIES)
    optimizer = make_optimizer(config, model)
    optimizer.build(model.trainable_variables)
    step = make_step(model, optimizer, config, tf.distribute.get_strategy())
    batches = Batches(table, config)
    losses = [float(step(batch)) for batch in batches.dataset(0, STEPS)]
    return losses, model.get_weights()


def test_step_with_xla_trains_the_weights_that_it_trains_without() -> None:
    """Of this table some vectors are of zeros at first, all their units being dead."""
    losses, weights = stepped(PLAIN)
    fused_losses, fused = stepped(FUSED)
    np.testing.assert_allclose(fused_losses, losses, atol=1e-5)
    for one, other in zip(fused, weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_xla_on_several_replicas_is_refused_naming_both_options() -> None:
    two: Any = SimpleNamespace(num_replicas_in_sync=2)
    model = make_model(FUSED, planted_table(0), CATEGORIES)
    with pytest.raises(InputError, match=r"optimizer\.xla .* 2; .* --strategy one"):
        make_step(model, make_optimizer(FUSED, model), FUSED, two)
