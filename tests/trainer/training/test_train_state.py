"""A checkpoint is taken by a training of its own configuration alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from training_world import CATEGORIES, planted_table

from tfrecords_schema.errors import InputError
from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.training.optimizers import make_optimizer
from trainer.training.preparation import make_model
from trainer.training.train_state import TrainState

SIZES = ("model.embedding_dim=4", "model.global_units=6", "model.local_units=5")


def state_of(*changes: str) -> TrainState:
    config = with_changes(TrainConfig(), [*SIZES, *changes])
    model = make_model(config, planted_table(0), CATEGORIES)
    optimizer = make_optimizer(config, model)
    optimizer.build(model.trainable_variables)
    return TrainState(model, optimizer, config)


def saved(folder: Path, *changes: str) -> str:
    path: str = state_of(*changes).checkpoints(str(folder)).save()
    return path


def test_checkpoint_of_the_same_configuration_is_taken(tmp_path: Path) -> None:
    changes = ("optimizer.clip_norm=0.1", "model.grid=2", "seed=7")
    path = saved(tmp_path, *changes)
    state_of(*changes).restore(path)


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (
            "loss.margin=0.3",
            "loss.margin=0.2",
            r"with --set loss\.margin=0\.3, .* has --set loss\.margin=0\.2; .* "
            r"remove its folder to begin anew",
        ),
        (
            "optimizer.clip_norm=0.5",
            "optimizer.clip_norm=none",
            r"with --set optimizer\.clip_norm=0\.5, .* has --set "
            r"optimizer\.clip_norm=none",
        ),
        (
            "model.near_regions=false",
            "model.near_regions=true",
            r"near_regions=false, .* has --set model\.near_regions=true",
        ),
        (
            "batch_size=8",
            "batch_size=16",
            r"with --batch_size=8, .* has --batch_size=16",
        ),
        ("patience=3", "patience=4", r"with --patience=3, .* has --patience=4"),
    ],
)
def test_checkpoint_of_another_configuration_of_the_same_shapes_is_refused(
    before: str, now: str, told: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, before)
    with pytest.raises(InputError, match=told) as refused:
        state_of(now).restore(path)
    assert path in str(refused.value)


def test_first_field_that_differs_is_the_one_told(tmp_path: Path) -> None:
    path = saved(tmp_path, "seed=1", "loss.margin=0.3")
    with pytest.raises(InputError, match=r"loss\.margin=0\.3") as refused:
        state_of().restore(path)
    assert "seed" not in str(refused.value)


def test_checkpoint_that_does_not_say_its_configuration_is_refused(
    tmp_path: Path,
) -> None:
    kept = tf.train.Checkpoint(step=tf.Variable(0, dtype=tf.int64))
    path = kept.save(str(tmp_path / "ckpt"))
    with pytest.raises(InputError, match="configuration or version of the trainer"):
        state_of().restore(path)


def test_checkpoint_of_a_configuration_with_other_fields_is_refused(
    tmp_path: Path,
) -> None:
    config = tf.Variable('{"depth": 3}')
    path = tf.train.Checkpoint(config=config).save(str(tmp_path / "ckpt"))
    with pytest.raises(InputError, match=r"version of the trainer.*depth"):
        state_of().restore(path)


def test_state_is_finite_until_one_of_its_numbers_is_not() -> None:
    config = with_changes(TrainConfig(), SIZES)
    model = make_model(config, planted_table(0), CATEGORIES)
    optimizer = make_optimizer(config, model)
    optimizer.build(model.trainable_variables)
    state = TrainState(model, optimizer, config)
    assert state.is_finite()
    for variable in (model.weights[-1], optimizer.variables[-1]):
        own = np.array(variable)
        spoilt = own.copy()
        spoilt.flat[-1] = np.inf
        variable.assign(spoilt)
        assert not state.is_finite()
        variable.assign(own)
    assert state.is_finite()
