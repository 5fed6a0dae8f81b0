"""What a training says in its log, as a process of its own: no more than is of use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_root import DATE
from test_training import make_root

from trainer.task import headline

_LOG_ENVIRONMENT = ("TF_CPP_MIN_LOG_LEVEL", "GRPC_VERBOSITY")


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in _LOG_ENVIRONMENT}
    return subprocess.run(
        [sys.executable, *arguments],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_log_of_a_training_warns_of_nothing_and_ends_with_the_result(
    tmp_path: Path,
) -> None:
    root = make_root(tmp_path)
    done = python(
        *("-m", "trainer.task", "--root", str(root.path), "--run_date", DATE),
        *("--batch_size=16", "--max_epochs=1"),
    )
    assert done.returncode == 0, done.stderr
    assert "AutoGraph" not in done.stderr
    lines = done.stderr.splitlines()
    # Of TensorFlow's C++ side: errors that are none. (Lines that it writes while it is
    # imported, before it reads its environment, are not in anybody's hand.)
    assert [line for line in lines if line.startswith("E0000")] == []
    assert [line for line in lines if " WARNING " in line] == []
    (model,) = (root.path / "models").iterdir()
    assert (
        f"INFO __main__: model {model.name} is in {model}: best epoch 1 of 1, "
        in (lines[-1])
    )


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("task", ("--preset=nope",)),
        ("task", ("--set=model.nope=1",)),
        ("task", ("--strategy=nope",)),
        ("compare", ("--variants=nope",)),
        ("compare", ("--set=model.nope=1",)),
        ("compare", ("--strategy=nope",)),
        ("compare", ("--split=nope",)),
    ],
)
def test_wrong_option_is_told_without_loading_tensorflow(
    module: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    common = ("--root", str(tmp_path), "--run_date", DATE)
    assert "nope" in told_without_tensorflow(module, *common, *options)


@pytest.mark.parametrize("module", ["task", "compare"])
def test_date_without_features_is_told_without_loading_tensorflow(
    module: str, tmp_path: Path
) -> None:
    common = ("--root", str(tmp_path), "--run_date", DATE)
    told = told_without_tensorflow(module, *common)
    assert f"extract_features has not run for {DATE}" in told


def test_prediction_of_no_products_is_refused_without_loading_tensorflow(
    tmp_path: Path,
) -> None:
    common = ("--root", str(tmp_path), "--picture=x", "--category=x", "--out=x")
    told = told_without_tensorflow("predict", *common, "--top=0")
    assert told == "error: --top 0 must be at least 1"


def told_without_tensorflow(module: str, *options: str) -> str:
    """The last line of a command that ends because of its options."""
    code = (
        f"import sys; from trainer import {module} as command\n"
        "from tfrecords_schema.errors import exit_on_input_error\n"
        "try: exit_on_input_error(command.main)\n"
        "finally: print({'keras', 'tensorflow'} & sys.modules.keys())"
    )
    done = python("-c", code, *options)
    assert done.returncode == 2
    assert done.stdout == "set()\n"
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", _LOG_ENVIRONMENT)
def test_log_level_that_the_user_has_set_is_kept(name: str) -> None:
    code = f"import os, tfrecords_schema; print(os.environ[{name!r}])"
    assert python("-c", code, **{name: "mine"}).stdout == "mine\n"


def test_headline_is_of_the_best_epoch_and_not_of_the_last() -> None:
    epochs = [
        {"epoch": n, "validation_loss": loss, "validation_binary_accuracy": 0.5 + loss}
        for n, loss in ((1, 0.25), (2, 0.125), (3, 0.375))
    ]
    assert headline({"epochs": epochs, "best_epoch": 2}) == (
        "best epoch 2 of 3, validation loss 0.1250, binary accuracy 0.6250"
    )


def test_headline_of_a_closed_form_names_the_ridge() -> None:
    ridges = [
        {"ridge": r, "validation_loss": r / 8, "validation_binary_accuracy": r / 4}
        for r in (0.5, 2.0)
    ]
    history = {"epochs": [], "best_epoch": None, "ridges": ridges, "ridge": 2.0}
    assert headline(history) == (
        "in closed form with ridge 2, validation loss 0.2500, binary accuracy 0.5000"
    )
