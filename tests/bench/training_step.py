"""A training step against its bare matrix products, and its input against the step."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tests.bench.bare_products import compile_products
from tests.bench.repeated_pairs import CATEGORIES, repeated_pairs
from tests.bench.rows import Row
from tests.bench.step_products import RESNET50, Shapes, products_of_step
from trainer.configuration.config import OptimizerConfig, TrainConfig
from trainer.inputs.pair_table import PairTable
from trainer.training.batches import Batches
from trainer.training.optimizers import make_optimizer
from trainer.training.preparation import make_model
from trainer.training.steps import Step, make_step

PAIRS = 4_000
MAX_RATIO = 2.0


class Effort(NamedTuple):
    """How long is measured.

    Attributes:
        steps: in a round.
        rounds: of everything in turn; the machine does other work meanwhile.
        warm_up: steps before the first round.
    """

    steps: int = 20
    rounds: int = 3
    warm_up: int = 5


FULL = Effort()
PAPER = TrainConfig()
FUSED = TrainConfig(optimizer=OptimizerConfig(xla=True))


class Training(NamedTuple):
    """What trains.

    Attributes:
        batches: of the pairs.
        step: compiled when first called.
        pairs: in a step.
    """

    batches: Batches
    step: Step
    pairs: int


class Round(NamedTuple):
    """Seconds, each measured right after the other.

    Attributes:
        step: of a step on a batch that is there.
        bare: of its matrix products.
        input: of making a batch.
        both: of a step whose batch is made meanwhile.
        xla: of a step compiled with XLA, on the same batch.
    """

    step: float
    bare: float
    input: float
    both: float
    xla: float


def make_training(table: PairTable, config: TrainConfig = PAPER) -> Training:
    """A training as `trainer.task` sets it up, on one device."""
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    model = make_model(config, table, CATEGORIES)
    optimizer = make_optimizer(config, model)
    optimizer.build(model.trainable_variables)
    step = make_step(model, optimizer, config, tf.distribute.get_strategy())
    return Training(Batches(table, config), step, config.batch_size)


def training_step_rows(shapes: Shapes = RESNET50, effort: Effort = FULL) -> list[Row]:
    """Rows `step_vs_matmul` and `input_vs_step`."""
    products = products_of_step(
        PAPER.model,
        shapes,
        batch_size=PAPER.batch_size,
        mined_per_pair=PAPER.loss.mined_per_pair,
    )
    with tempfile.TemporaryDirectory() as scratch:
        regions = Path(scratch) / "regions.f16"
        table = repeated_pairs(PAIRS, shapes, scratch=regions)
        training, fused = make_training(table), make_training(table, FUSED).step
        bare = compile_products(products)
        _measure(training, fused, bare, effort.warm_up)
        rounds = [
            _measure(training, fused, bare, effort.steps) for _ in range(effort.rounds)
        ]
    return [
        _step_row(rounds, sum(product.flops for product in products)),
        _input_row(rounds, training.pairs),
    ]


def _measure(
    training: Training, fused: Step, bare: Callable[[], tf.Tensor], steps: int
) -> Round:
    batch = next(endless(training))
    return Round(
        step=seconds_each(lambda: training.step(batch), steps),
        bare=seconds_each(bare, steps),
        input=seconds_a_batch(training, 4 * steps),
        both=seconds_together(training, steps),
        xla=seconds_each(lambda: fused(batch), steps),
    )


def _step_row(rounds: Sequence[Round], flops: int) -> Row:
    overs = [each.step / each.bare for each in rounds]
    bare_s = statistics.median(each.bare for each in rounds)
    return Row(
        name="step_vs_matmul",
        value=1e3 * statistics.median(each.step for each in rounds),
        unit="ms/step",
        against=f"bare matrix products, {1e3 * bare_s:.1f} ms for {flops / 1e9:.2f} "
        f"GFLOP; step over products in each round {_listed(overs)}, with XLA "
        f"{_listed(each.xla / each.bare for each in rounds)}",
        ratio=1 / statistics.median(overs),
        goal=f">= {1 / MAX_RATIO}",
    )


def _input_row(rounds: Sequence[Round], pairs: int) -> Row:
    step_s, input_s, both_s = (
        statistics.median(column)
        for column in zip(
            *((each.step, each.input, each.both) for each in rounds), strict=True
        )
    )
    overs = [each.step / each.input for each in rounds]
    return Row(
        name="input_vs_step",
        value=pairs / input_s,
        unit="pairs/s",
        against=f"step alone, {pairs / step_s:.0f} pairs/s; both together "
        f"{pairs / both_s:.0f}; input over step in each round {_listed(overs)}",
        ratio=statistics.median(overs),
        goal="> 1",
    )


def endless(training: Training) -> Iterator[Any]:
    """Batches of as many epochs as are asked for."""
    return iter(training.batches.dataset(0, 2**40))


def seconds_each(run: Callable[[], tf.Tensor], times: int) -> float:
    """Seconds of one call, of some in a row."""
    started = time.perf_counter()
    for _ in range(times):
        result = run()
    float(result)  # waits for the device
    return (time.perf_counter() - started) / times


def seconds_a_batch(training: Training, batches: int) -> float:
    """Seconds in which the input makes a batch, of some that nobody computes with."""
    made = endless(training)
    next(made)
    started = time.perf_counter()
    for _ in itertools.islice(made, batches):
        pass
    return (time.perf_counter() - started) / batches


def seconds_together(training: Training, steps: int) -> float:
    """Seconds of a step whose batch is made meanwhile."""
    batches = endless(training)
    training.step(next(batches))
    return seconds_each(lambda: training.step(next(batches)), steps)


def _listed(ratios: Iterable[float]) -> str:
    return ", ".join(f"{ratio:.2f}" for ratio in ratios)
