"""What evaluating a model costs, against training it."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from tests.bench.measured import Cost, run_measured
from tests.bench.rows import Row
from tests.bench.step_products import RESNET50, Shapes
from tests.bench.training_root import Size, write_training_root
from tests.small_root import DATE
from tfrecords_schema.codes import Split
from trainer.configuration.config import TrainConfig
from trainer.evaluation.metric_rows import METRICS_FILE

PHOTOS = Size({Split.TRAIN: 2505, Split.VALIDATION: 279, Split.TEST: 358}, 3144)
"""The sizes of the photos in `shared/data/ccp`, with the default split."""

EPOCHS = TrainConfig().patience + 1
"""The fewest that a training with the default patience has."""

ROUNDS = 3
"""Of the evaluation, of which the start is the larger part and varies; a training is
five times as long, and one is enough."""

MAX_SHARE = 0.1


def evaluate_vs_train(
    size: Size = PHOTOS,
    shapes: Shapes = RESNET50,
    *,
    epochs: int = EPOCHS,
    rounds: int = ROUNDS,
) -> list[Row]:
    """Both jobs in processes of their own, start and imports included."""
    with tempfile.TemporaryDirectory() as scratch:
        root = write_training_root(Path(scratch), size, shapes)
        common = [f"--root={root.path}", f"--run_date={DATE}"]
        train = run_measured("trainer.task", [*common, f"--max_epochs={epochs}"])
        evaluate = []
        for _ in range(rounds):
            # Afresh, as nothing is evaluated twice.
            for metrics in root.path.glob(f"models/*/{METRICS_FILE}"):
                metrics.unlink()
            evaluate.append(run_measured("trainer.evaluate", common))
    return [_row(train, evaluate, size, epochs)]


def _row(train: Cost, evaluate: list[Cost], size: Size, epochs: int) -> Row:
    shares = [each.cpu_s / train.cpu_s for each in evaluate]
    return Row(
        name="evaluate_vs_train",
        value=100 * statistics.median(shares),
        unit="% of its processor time",
        against=f"training, {epochs} epochs of {size.pairs[Split.TRAIN]} pairs: "
        f"{_told([train])}; evaluating {size.pairs[Split.TEST]}: {_told(evaluate)}; "
        f"share in each round {', '.join(f'{share:.3f}' for share in shares)}",
        ratio=MAX_SHARE / statistics.median(shares),
        goal=f"<= {100 * MAX_SHARE:.0f} %",
    )


def _told(costs: list[Cost]) -> str:
    cpu_s = statistics.median(cost.cpu_s for cost in costs)
    wall_s = statistics.median(cost.wall_s for cost in costs)
    return f"{cpu_s:.0f} s of processors, {wall_s:.0f} s wall"
