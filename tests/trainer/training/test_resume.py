"""A training that ends anywhere and is started again ends in the very same weights."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from counted_steps import counting
from etils import epath
from training_world import CATEGORIES, planted_table

from tfrecords_schema.errors import InputError
from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import with_changes
from trainer.training import loop
from trainer.training.loop import Places, train
from trainer.training.preparation import make_model
from trainer.training.telemetry import WINDOWS_FILE, Telemetry
from trainer.training.train_state import EpochResult

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
    counted = counting(loop.make_step, lambda number, step: act(number, step()))
    monkeypatch.setattr(loop, "make_step", counted)


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


def windows(folder: Path) -> list[tuple[int, float]]:
    """Step and loss of every line."""
    file = folder / WINDOWS_FILE
    lines = file.read_text().splitlines() if file.exists() else []
    return [(window["step"], window["loss"]) for window in map(json.loads, lines)]


@pytest.fixture(scope="module")
def all_windows(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, float]]:
    """Those of an undisturbed run: one at each checkpoint and end of an epoch."""
    tf.config.experimental.enable_op_determinism()
    folder = tmp_path_factory.mktemp("windows")
    run(folder, telemetry=True)
    found = windows(folder)
    assert [step for step, _ in found] == [
        step for step in range(1, STEPS + 1) if step % 2 == 0 or step % 5 == 0
    ]
    return found


@pytest.mark.parametrize("last", [5, 13])
def test_windows_up_to_the_last_checkpoint_are_there_and_told_once(
    all_windows: list[tuple[int, float]],
    last: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end_at(last, tmp_path, monkeypatch, telemetry=True)
    left = windows(tmp_path)
    # The step that it ended with was not counted, nor its window told.
    assert left == [window for window in all_windows if window[0] < last]

    run(tmp_path, telemetry=True)
    assert windows(tmp_path) == all_windows


def test_windows_written_before_a_checkpoint_that_never_was_are_told_once(
    all_windows: list[tuple[int, float]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = tf.train.CheckpointManager.save

    def end(manager: tf.train.CheckpointManager) -> str:
        written = windows(tmp_path)
        if written and written[-1][0] == 12:
            raise Ended
        return save(manager)

    with monkeypatch.context() as patch:
        patch.setattr(tf.train.CheckpointManager, "save", end)
        with pytest.raises(Ended):
            run(tmp_path, telemetry=True)
    run(tmp_path, telemetry=True)
    assert windows(tmp_path) == all_windows


def test_windows_that_were_rolled_back_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(number: int, loss: Any) -> Any:
        return tf.constant(math.nan) if number == 11 else loss

    step_that(monkeypatch, spoil)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "WINDOW", 1)  # windows after the last checkpoint
        run(tmp_path, every=4, telemetry=True)
    assert [step for step, _ in windows(tmp_path)] == list(range(1, STEPS + 1))


def killed(folder: Path) -> None:
    """What a process of its own runs: kill -9 in step 13."""

    def kill(number: int, loss: Any) -> Any:
        if number == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss

    tf.config.experimental.enable_op_determinism()
    step_that(pytest.MonkeyPatch(), kill)
    run(folder, telemetry=True)


def test_process_killed_in_mid_epoch_leaves_windows_and_curves(
    all_windows: list[tuple[int, float]], tmp_path: Path
) -> None:
    code = "import pathlib, sys, test_resume as t; t.killed(pathlib.Path(sys.argv[1]))"
    here = Path(__file__)
    folders = [str(here.parents[n]) for n in range(4)]
    path = os.pathsep.join([*folders, *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert windows(tmp_path) == [window for window in all_windows if window[0] <= 12]
    events = [
        event
        for file in (tmp_path / "tensorboard").glob("events.*")
        for event in tf.compat.v1.train.summary_iterator(str(file))
    ]
    drawn = [
        event.step
        for event in events
        for value in event.summary.value
        if value.tag == "window/loss"
    ]
    assert drawn == [step for step, _ in windows(tmp_path)]

    run(tmp_path, telemetry=True)
    assert windows(tmp_path) == all_windows


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(InputError, match=r"model\.local_units=16.*local_units=12"):
        run(tmp_path, "model.local_units=12")


def test_checkpoint_that_lost_its_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_at(3, tmp_path, monkeypatch)
    for data in (tmp_path / "checkpoints").glob("*.data*"):
        data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(InputError, match=r"is broken; remove its folder"):
        run(tmp_path)


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


def spoil_weights(
    monkeypatch: pytest.MonkeyPatch, last: int, falsify: Callable[[Any, Any], None]
) -> None:
    """Have model and optimizer falsified once, after the update of a step."""
    make = loop.make_step

    def making(model: Any, optimizer: Any, *rest: Any) -> Any:
        step, count = make(model, optimizer, *rest), 0

        def spoiling(batch: Any) -> Any:
            nonlocal count
            count += 1
            loss = step(batch)
            if count == last:
                falsify(model, optimizer)
            return loss

        return spoiling

    monkeypatch.setattr(loop, "make_step", making)


def to_nan(variable: Any) -> None:
    variable.assign(np.full(variable.shape, math.nan))


@pytest.mark.parametrize(
    ("last", "falsify", "said"),
    [
        # The checkpoint of step 4 is the last one before the first epoch's end.
        (5, lambda model, _: to_nan(model.weights[0]), "after step 5; .* to step 4 "),
        (2, lambda model, _: to_nan(model.weights[0]), "after step 2; .* to step 0 "),
        (5, lambda _, rule: to_nan(rule.variables[-1]), "after step 5; .* to step 4 "),
    ],
)
def test_weights_that_are_no_numbers_are_rolled_back_and_in_no_checkpoint(
    last: int,
    falsify: Callable[[Any, Any], None],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil_weights(monkeypatch, last, falsify)
    with caplog.at_level(logging.WARNING):
        results, weights = run(tmp_path, "max_epochs=1")

    assert re.search(f"no finite numbers {said}with 0.5", caplog.text)
    assert [math.isfinite(result.validation_loss) for result in results] == [True]
    assert all(np.isfinite(weight).all() for weight in weights)
    latest = tf.train.latest_checkpoint(str(tmp_path / "checkpoints"))
    reader = tf.train.load_checkpoint(latest)
    for name in reader.get_variable_to_shape_map():
        values = reader.get_tensor(name)
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            assert np.isfinite(values).all(), name


def test_figures_that_are_no_numbers_are_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    judge, count = loop.validate, 0

    def spoil(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        figures = judge(*arguments)
        return figures if count > 1 else dataclasses.replace(figures, loss=math.inf)

    monkeypatch.setattr(loop, "validate", spoil)
    with caplog.at_level(logging.WARNING):
        results, _ = run(tmp_path, "max_epochs=1")
    assert "validation loss is inf in epoch 1; going back to step 4" in caplog.text
    assert [result.epoch for result in results] == [1]


def test_roll_backs_before_a_kill_count_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Losses are looked at in twos: two roll-backs to step 2, then checkpoints up to 6.
    def spoil_and_end(number: int, loss: Any) -> Any:
        if number == 11:
            raise Ended
        return tf.constant(math.nan) if number in (3, 6) else loss

    with monkeypatch.context() as patch:
        step_that(patch, spoil_and_end)
        with pytest.raises(Ended):
            run(tmp_path)

    def spoil(number: int, loss: Any) -> Any:
        return tf.constant(math.nan) if number in (1, 3) else loss

    step_that(monkeypatch, spoil)
    with pytest.raises(InputError, match=r"after 3 roll-backs .*below 0\.00125"):
        run(tmp_path)


def test_loss_that_stays_too_large_ends_with_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_that(monkeypatch, lambda number, loss: loss + 99.0)
    with pytest.raises(InputError, match=r"the loss is 99.* lower --learning_rate"):
        run(tmp_path)


def collapsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every epoch look as if all products had become one."""
    make = EpochResult

    def alike(**fields: Any) -> EpochResult:
        return dataclasses.replace(make(**fields), mean_cosine=0.999)

    monkeypatch.setattr(loop, "EpochResult", alike)


def test_model_that_tells_nothing_apart_ends_with_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapsed(monkeypatch)
    with pytest.raises(
        InputError, match=r"collapsed.*0\.9990 in epoch 3.*Lower --learning_rate"
    ):
        run(tmp_path)


@pytest.mark.parametrize("max_epochs", [3, 4])
def test_collapsed_run_that_is_started_again_fails_again_before_any_step(
    max_epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = f"max_epochs={max_epochs}"
    with monkeypatch.context() as patch:
        collapsed(patch)
        with pytest.raises(InputError) as first:
            run(tmp_path, change)

    def refuse(number: int, loss: Any) -> Any:
        raise AssertionError("a collapsed model was trained on")

    step_that(monkeypatch, refuse)
    for _ in range(2):
        with pytest.raises(InputError) as again:
            run(tmp_path, change)
        assert str(again.value) == str(first.value)
