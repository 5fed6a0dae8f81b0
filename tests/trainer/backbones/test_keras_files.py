"""Keras files: the same model is the same bytes, whenever and wherever it is saved."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from etils import epath
from keras.src.saving import saving_lib
from tiny_backbone import tiny_backbone

from trainer.backbones.keras_files import write_keras_file

Build = Callable[[], keras.Model]


class LongAgo:
    """Keras's clock, in the place of its module."""

    class datetime:
        @staticmethod
        def now() -> datetime.datetime:
            return datetime.datetime(2001, 1, 1)


def shared_activations() -> keras.Model:
    """Two pairs of layers, each of which shares an object."""
    keras.utils.set_random_seed(5)
    value = image = keras.Input((6,), name="image")
    for policy in (keras.DTypePolicy("float32"), keras.DTypePolicy("float32")):
        for _ in range(2):
            value = keras.layers.Dense(6, dtype=policy, activation="relu")(value)
    return keras.Model(image, value)


both = pytest.mark.parametrize("build", [tiny_backbone, shared_activations])


@both
def test_model_made_anew_at_another_time_has_the_same_bytes(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (epath.Path(tmp_path / name / "m.keras") for name in "ab")
    models = []  # both are kept, so that none lies where the other one lay
    for path in (first, second):
        keras.utils.clear_session(free_memory=False)  # layers are numbered anew
        models.append(build())
        write_keras_file(models[-1], path)
        monkeypatch.setattr(time, "time", lambda: 1e9)  # the clock of zip archives
        monkeypatch.setattr(saving_lib, "datetime", LongAgo)

    assert first.read_bytes() == second.read_bytes()


@both
def test_file_loads_and_computes_as_the_model(build: Build, tmp_path: Path) -> None:
    model = build()
    path = epath.Path(tmp_path / "m.keras")

    write_keras_file(model, path)
    loaded = keras.saving.load_model(str(path), safe_mode=True)

    inputs = np.random.default_rng(0).normal(size=(2, *model.inputs[0].shape[1:]))
    found, expected = loaded(inputs), model(inputs)
    for a, b in zip(
        keras.tree.flatten(found), keras.tree.flatten(expected), strict=True
    ):
        np.testing.assert_array_equal(a, b)
