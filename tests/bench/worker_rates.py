"""Two processes of one core each against one process of two: what talking costs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.rows import Row
from tests.bench.step_products import RESNET50, Shapes
from tests.bench.training_root import Size, write_training_root
from tests.small_root import DATE
from tfrecords_schema.codes import Split
from tfrecords_schema.layout import Root
from trainer.configuration.config import TrainConfig

PAIRS = 3_200  # 50 steps: every window that is measured is one epoch
EPOCHS = 3  # the first is not counted: in it the step is compiled
ROUNDS = 3
PRODUCTS = 600

_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1"}


def two_processes_vs_one(
    *,
    pairs: int = PAIRS,
    shapes: Shapes = RESNET50,
    epochs: int = EPOCHS,
    rounds: int = ROUNDS,
) -> list[Row]:
    """The same training in one process and in two, in turn.

    And once more in two that know nothing of each other, each with half a batch: what
    they are faster by than two that train one model is the cost of talking.
    """
    size = Size({Split.TRAIN: pairs, Split.VALIDATION: 32}, PRODUCTS)
    one, two, apart = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        root = write_training_root(Path(scratch), size, shapes)
        common = [f"--root={root.path}", f"--run_date={DATE}", f"--max_epochs={epochs}"]
        for seed in range(rounds):
            # Another seed is another model, so that each round trains.
            options = [*common, f"--seed={seed}"]
            task = ["trainer.task", "--strategy=one", *options]
            launch = ["trainer.launch", "--workers=2", "--", *options]
            one.append(_rate(root, [task], {}))
            _forget(root)
            two.append(_rate(root, [launch], {}))
            halves = [
                [*task, f"--batch_size={TrainConfig().batch_size // 2}", f"--seed={n}"]
                for n in (1_000 + seed, 2_000 + seed)
            ]
            apart.append(_rate(root, halves, _ONE_THREAD))
    return [_row(one, two, apart)]


def python(command: Sequence[str]) -> list[str]:
    """What starts a module with its options."""
    return [sys.executable, "-m", *command]


def _forget(root: Root) -> None:
    """Have the next run train the same model again."""
    (root.path / "models").rmtree()


def _rate(
    root: Root, commands: Sequence[Sequence[str]], environment: Mapping[str, str]
) -> float:
    """Pairs a second of processes that run at the same time, after the first epoch."""
    before = set(_windows(root))
    started = [
        subprocess.Popen(python(command), env={**os.environ, **environment})
        for command in commands
    ]
    for process, command in zip(started, commands, strict=True):
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)
    return sum(_measured(file) for file in _windows(root) if file not in before)


def _windows(root: Root) -> list[Path]:
    return sorted(Path(root.path).glob("models/*/windows.jsonl"))


def _measured(windows: Path) -> float:
    rates = [json.loads(line)["pairs_per_s"] for line in windows.open()]
    return statistics.median(rates[1:])


def _row(one: list[float], two: list[float], apart: list[float]) -> Row:
    ratios = [b / a for a, b in zip(one, two, strict=True)]
    lost = [1 - b / c for b, c in zip(two, apart, strict=True)]
    return Row(
        name="two_processes_vs_one",
        value=statistics.median(two),
        unit="pairs/s",
        against=f"one process, {statistics.median(one):.0f} pairs/s; ratio in each "
        f"round {', '.join(f'{ratio:.2f}' for ratio in ratios)}; two that do not talk, "
        f"{statistics.median(apart):.0f} pairs/s: talking costs "
        f"{', '.join(f'{100 * share:.0f} %' for share in lost)}",
        ratio=statistics.median(ratios),
        goal="",
    )
