"""Two training processes, one of them killed: the job recovers by itself."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from etils import epath
from small_root import DATE, RUN_DATE
from test_training import make_root

from tfrecords_schema import storage
from tfrecords_schema.layout import Root, Stage
from trainer import task
from trainer.launch import run_group
from trainer.training import training

OPTIONS = (
    "--batch_size=16",
    "--max_epochs=8",
    "--patience=8",
    "--learning_rate=0.005",
    "--set=model.dropout=0",
    "--set=model.global_units=16",
    "--set=model.local_units=16",
    "--set=model.embedding_dim=8",
)
STEPS_PER_EPOCH = 6
MOMENTS = int(os.environ.get("KILL_MOMENTS", "1"))


def arguments(root: Root) -> list[str]:
    return [f"--root={root.path}", f"--run_date={DATE}", *OPTIONS]


def launched(root: Root) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainer.launch", "--workers=2", "--"]
    return subprocess.Popen(
        [*command, *arguments(root)],
        stderr=subprocess.PIPE,
        text=True,
    )


def model_folder(root: Root) -> epath.Path:
    return root.model(root.receipt(RUN_DATE, Stage.TRAIN).outputs["model"])


def weights(folder: epath.Path) -> list[np.ndarray]:
    file = str(folder / "model.keras")
    model = keras.saving.load_model(file, compile=False, safe_mode=True)
    return model.get_weights()


def read_to(lines: Iterator[str], pattern: str) -> re.Match[str]:
    said = []
    for line in lines:
        said.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"no {pattern!r} in:\n{''.join(said)[-3000:]}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> epath.Path:
    """The model that one process trains."""
    root = make_root(tmp_path_factory.mktemp("undisturbed"))
    task.main(arguments(root))
    return model_folder(root)


def assert_same_model(folder: epath.Path, expected: epath.Path) -> None:
    for ours, theirs in zip(weights(folder), weights(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    counts = storage.read_manifest(folder)["counts"]
    assert counts == storage.read_manifest(expected)["counts"]
    assert not (folder / training.CHECKPOINTS).exists()


def test_killed_worker_costs_neither_the_job_nor_its_weights(
    undisturbed: epath.Path, tmp_path: Path
) -> None:
    root = make_root(tmp_path)
    with launched(root) as run:
        assert run.stderr is not None
        lines = iter(run.stderr)
        chief = int(read_to(lines, r"workers are the processes (\d+)")[1])
        # It has saved a checkpoint when it says this.
        read_to(lines, r"^\[worker 0\].* epoch 2:")
        os.kill(chief, signal.SIGKILL)
        read_to(lines, r"worker 0 was ended by SIGKILL.*restart 1 of 3")
        again = read_to(lines, r"^\[worker 1\].* going on after step (\d+)")
        said = "".join(lines)
    assert run.returncode == 0, said[-3000:]
    assert int(again[1]) >= 2 * STEPS_PER_EPOCH
    assert_same_model(model_folder(root), undisturbed)


@pytest.mark.skipif(MOMENTS == 1, reason="slow; `make faults` kills workers of both")
@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("step", [1, 9, STEPS_PER_EPOCH * 8])
def test_worker_killed_in_a_step_costs_the_steps_since_the_last_epoch(
    undisturbed: epath.Path, worker: int, step: int, tmp_path: Path
) -> None:
    """In the first step of all, in the middle of the second epoch, in the last."""
    root, said = make_root(tmp_path / "root"), io.StringIO()
    program = str(Path(__file__).with_name("killed_worker.py"))
    killed = [str(worker), str(step), str(tmp_path / "killed")]
    command = [sys.executable, program, *killed, *arguments(root), "--strategy=hosts"]
    assert run_group(command, 2, output=said) == 0, said.getvalue()[-3000:]
    assert (tmp_path / "killed").exists()
    going_on = re.findall(r"going on after step (\d+)", said.getvalue())
    complete = (step - 1) // STEPS_PER_EPOCH * STEPS_PER_EPOCH
    # In the first step the other one may have left nothing to go on with yet; a busy
    # machine may lose a worker once more.
    assert going_on[:2] == [str(complete)] * 2 or (complete, going_on) == (0, [])
    assert_same_model(model_folder(root), undisturbed)
