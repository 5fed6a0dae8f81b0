"""Histograms of the weights: all values of a weight, or a sample of a large one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from trainer.training import telemetry
from trainer.training.telemetry import Telemetry
from trainer.training.train_state import EpochResult

RESULT = EpochResult(
    epoch=3,
    loss=0.1,
    validation_loss=0.2,
    validation_binary_accuracy=0.6,
    at_margin=0.0,
    mean_cosine=0.1,
)


def histogram_of(folder: Path, values: np.ndarray) -> np.ndarray:
    """Left and right edge and count of each bucket, of one weight's values."""
    model: Any = SimpleNamespace(trainable_variables=[keras.Variable(values)])
    writer = Telemetry(epath.Path(folder))
    writer.epoch(RESULT, model)
    writer.write()
    (file,) = folder.rglob("events*")
    (found,) = (
        tf.make_ndarray(value.tensor)
        for record in tf.data.TFRecordDataset(str(file))
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value
        if value.metadata.plugin_data.plugin_name == "histograms"
    )
    return found


@pytest.mark.parametrize(("limit", "expected"), [(24, 24), (10, 8), (7, 6)])
def test_histogram_counts_at_most_so_many_values_evenly_spaced(
    limit: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 24 values every third is at most 10 of them, every fourth at most 7.
    monkeypatch.setattr(telemetry, "_HISTOGRAM_VALUES", limit)
    found = histogram_of(tmp_path, np.arange(24, dtype=np.float32).reshape(4, 6))
    assert found[:, 2].sum() == expected
    assert found[0, 0] == 0
    assert found[-1, 1] == 24 - 24 // expected  # the last that is counted
