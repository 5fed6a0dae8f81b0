"""A training that ends anywhere and is started again ends in the very same weights."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from training_world import CATEGORIES, planted_table

from tfrecords_schema.errors import InputError
from trainer import loop
from trainer.config import TrainConfig
from trainer.config_fields import with_changes
from trainer.loop import Places, train
from trainer.preparation import make_model
from trainer.telemetry import WINDOWS_FILE, Telemetry
from trainer.train_state import EpochResult

SIZES = (
    "model.dropout=0.4",
    "model.global_units=16",
    "model.local_units=16",
    "model.embedding_dim=8",
    "optimizer.learning_rate=0.01",
    "optimizer.average=0.9",
    "optimizer.schedule=cosine",
    "optimizer.warmup_epochs=1",
    "batch_size=8",
    "max_epochs=4",
)
STEPS = 20  # five in each of four epochs


class Ended(BaseException):
    """As if the process had been killed."""


def run(
    folder: Path, *changes: str, every: int = 2, telemetry: bool = False
) -> tuple[list[EpochResult], list[np.ndarray]]:
    keras.utils.set_random_seed(0)
    config = with_changes(TrainConfig(), [*SIZES, *changes])
    tables = {"train": planted_table(0), "validation": planted_table(1)}
    model = make_model(config, tables["train"], CATEGORIES)
    checkpoints = str(folder / "checkpoints")
    writer = Telemetry(epath.Path(folder)) if telemetry else None
    places = Places(checkpoints, checkpoints, writer, every)
    strategy = tf.distribute.get_strategy()
    results = train(model, tables, config, strategy=strategy, places=places)
    return results, model.get_weights()


def end_at(
    last: int, folder: Path, monkeypatch: pytest.MonkeyPatch, *, telemetry: bool = False
) -> None:
    """Begin a run that ends with a step, before that is counted."""

    def end(number: int, loss: Any) -> Any:
        if number == last:
            raise Ended
        return loss

    with monkeypatch.context() as patch:
        step_that(patch, end)
        with pytest.raises(Ended):
            run(folder, telemetry=telemetry)


def step_that(monkeypatch: pytest.MonkeyPatch, act: Callable[[int, Any], Any]) -> None:
    """Have each step's loss pass through `act`, which is told its number from 1."""
    make = loop.make_step
    count = 0

    def making(*arguments: Any) -> Any:
        step = make(*arguments)

        def counted(batch: Any) -> Any:
            nonlocal count
            count += 1
            return act(count, step(batch))

        return counted

    monkeypatch.setattr(loop, "make_step", making)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[EpochResult], list[np.ndarray]]:
    tf.config.experimental.enable_op_determinism()
    return run(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("last", [1, 2, 3, 5, 6, 10, 13, 19, STEPS])
def test_run_that_ends_at_a_step_goes_on_to_the_same_weights(
    undisturbed: tuple[list[EpochResult], list[np.ndarray]],
    last: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end_at(last, tmp_path, monkeypatch)

    results, weights = run(tmp_path)

    assert results == undisturbed[0]
    for found, expected in zip(weights, undisturbed[1], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_run_goes_on_where_it_was_and_does_not_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_at(13, tmp_path, monkeypatch)
    again: list[int] = []

    def note(number: int, loss: Any) -> Any:
        again.append(number)
        return loss

    step_that(monkeypatch, note)
    run(tmp_path)

    # The checkpoint of step 12 was the last: one step is done twice.
    assert len(again) == STEPS - 12


def test_lines_of_windows_are_told_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_at(13, tmp_path, monkeypatch, telemetry=True)
    run(tmp_path, telemetry=True)

    lines = (tmp_path / WINDOWS_FILE).read_text().splitlines()
    steps = [
        int(line.split('"step": ')[1].split("}")[0].split(",")[0]) for line in lines
    ]
    assert steps == sorted(set(steps))
    assert steps[-1] == STEPS


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(InputError, match="not of this configuration"):
        run(tmp_path, "model.local_units=12")


def test_loss_that_is_no_number_once_is_rolled_back_with_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(number: int, loss: Any) -> Any:
        return tf.constant(math.nan) if number == 8 else loss

    step_that(monkeypatch, spoil)
    with caplog.at_level(logging.WARNING):
        results, _ = run(tmp_path)

    assert "the loss is nan at step 8; going back to step 6 with 0.5" in caplog.text
    assert [result.epoch for result in results] == [1, 2, 3, 4]
    assert all(math.isfinite(result.loss) for result in results)


def test_loss_that_stays_too_large_ends_with_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_that(monkeypatch, lambda number, loss: loss + 99.0)
    with pytest.raises(InputError, match=r"the loss is 99.* lower --learning_rate"):
        run(tmp_path)


def test_model_that_tells_nothing_apart_ends_with_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = EpochResult

    def collapsed(**fields: Any) -> EpochResult:
        return dataclasses.replace(make(**fields), mean_cosine=0.999)

    monkeypatch.setattr(loop, "EpochResult", collapsed)
    with pytest.raises(InputError, match=r"collapsed.*0\.9990 in epoch 3.*semi_hard"):
        run(tmp_path)
