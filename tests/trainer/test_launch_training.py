"""Two training processes, one of them killed: the job recovers by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from etils import epath
from small_root import DATE, RUN_DATE
from test_training import make_root

from tfrecords_schema import storage
from tfrecords_schema.layout import Root, Stage
from trainer import task, training

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


def test_killed_worker_costs_neither_the_job_nor_its_weights(tmp_path: Path) -> None:
    root = make_root(tmp_path / "disturbed")
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

    undisturbed = make_root(tmp_path / "undisturbed")
    task.main(arguments(undisturbed))
    folder, expected = model_folder(root), model_folder(undisturbed)
    for ours, theirs in zip(weights(folder), weights(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    counts = storage.read_manifest(folder)["counts"]
    assert counts == storage.read_manifest(expected)["counts"]
    assert not (folder / training.CHECKPOINTS).exists()
