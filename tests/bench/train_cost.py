"""What training costs as pairs grow from a thousand to a million.

    python -m tests.bench.train_cost PAIRS

measures one number of pairs and prints a line of JSON; in a process of its own, so that
the memory is of this number alone. What grows are pairs, products and what was mined;
features of scenes repeat. With all of their own, pooled features would take another 4
KiB of memory a pair, and the mapped file 98 KiB of disk.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from etils import epath

from infra.log_chart import Line, Panel, write_log_chart
from tests.bench.pair_tables import write_pair_tables
from tests.bench.repeated_pairs import CATEGORIES
from tests.bench.rows import Row
from tests.bench.step_products import RESNET50, Shapes
from tfrecords_schema.codes import Split
from trainer.inputs.features import FeatureReader
from trainer.inputs.pair_table import PairTable, read_pairs

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CHART = Path("build/train_cost.svg")

_STEPS = 20  # in each round
_ROUNDS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Growth:
    """What one number of pairs costs.

    Attributes:
        pairs: how many.
        read_s: reading the data set's tables and laying out the pairs.
        order_s: the first batch of an epoch, with the epoch's order.
        rates: pairs a second in each round of steps, batches made meanwhile.
        table_mib: peak memory with the pairs laid out, before there is a model.
        peak_mib: peak memory in the end.
    """

    pairs: int
    read_s: float
    order_s: float
    rates: Sequence[float]
    table_mib: float
    peak_mib: float

    @property
    def rate(self) -> float:
        """Pairs a second in the median round."""
        return statistics.median(self.rates)

    @property
    def epoch_s(self) -> float:
        """An epoch, its order included."""
        return self.order_s + self.pairs / self.rate


def train_cost(
    sizes: Sequence[int] = SIZES, shapes: Shapes = RESNET50, *, chart: Path = CHART
) -> list[Row]:
    """A row for each number of pairs, and the chart."""
    found = [in_own_process(size, shapes) for size in sizes]
    seconds = [
        Line("an epoch", [(each.pairs, each.epoch_s) for each in found]),
        Line("reading the pairs", [(each.pairs, each.read_s) for each in found]),
    ]
    memory = [Line("peak", [(each.pairs, each.peak_mib) for each in found])]
    panels = [Panel("seconds", seconds), Panel("memory, MiB", memory)]
    write_log_chart(chart, "training pairs", panels)
    return [_row(each, found[0]) for each in found]


def _row(found: Growth, least: Growth) -> Row:
    return Row(
        name=f"train_cost_{found.pairs}",
        value=found.rate,
        unit="pairs/s",
        against=f"{least.pairs:,} pairs; rounds "
        f"{', '.join(f'{rate:.0f}' for rate in found.rates)}; an epoch "
        f"{found.epoch_s:.0f} s, its first batch {1e3 * found.order_s:.0f} ms; reading "
        f"the pairs {found.read_s:.1f} s, {found.table_mib:.0f} MiB; peak "
        f"{found.peak_mib:.0f} MiB",
        ratio=found.rate / least.rate,
        goal="",
    )


def in_own_process(pairs: int, shapes: Shapes) -> Growth:
    """Measure one number of pairs, so that the memory is its own."""
    numbers = map(str, (pairs, *dataclasses.astuple(shapes)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.train_cost", *numbers],
        check=True,
        stdout=subprocess.PIPE,
    )
    return Growth(**json.loads(done.stdout.splitlines()[-1]))


def measure(pairs: int, shapes: Shapes) -> Growth:
    """Measure one number of pairs in this process."""
    with tempfile.TemporaryDirectory() as name:
        folder = epath.Path(name)
        write_pair_tables(folder, pairs)
        started = time.perf_counter()
        table = read_pairs(
            folder,
            Split.TRAIN,
            RepeatedFeatures(shapes),
            categories=CATEGORIES,
            scratch=Path(name),
        )
        read_s, table_mib = time.perf_counter() - started, _peak_mib()
        order_s, rates = _train(repeated(table, shapes))
    return Growth(pairs, read_s, order_s, rates, table_mib, _peak_mib())


def repeated(table: PairTable, shapes: Shapes) -> PairTable:
    """The table with its scenes' rows among those that have features."""
    return dataclasses.replace(table, scene=table.scene % shapes.distinct)


def _train(table: PairTable) -> tuple[float, list[float]]:
    from tests.bench.training_step import make_training, seconds_together

    training = make_training(table)
    started = time.perf_counter()
    training.batches.part(0, 0)
    order_s = time.perf_counter() - started
    seconds_together(training, 3)
    rates = [
        training.pairs / seconds_together(training, _STEPS) for _ in range(_ROUNDS)
    ]
    return order_s, rates


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux: KiB


class RepeatedFeatures(FeatureReader):
    """Features of any keys: products have their own, scenes one of `distinct`."""

    def __init__(self, shapes: Shapes) -> None:
        """Set the shapes."""
        self._shapes = shapes
        self._generator = np.random.default_rng(0)

    def pooled(self, keys: Sequence[str]) -> np.ndarray:
        """[n, global_dim] float16; of scenes [distinct, global_dim]."""
        of_products = keys[0].endswith(":product")
        n = len(keys) if of_products else self._shapes.distinct
        return self._drawn(n, self._shapes.global_dim)

    def regions(self, keys: Sequence[str], scratch: Path | None = None) -> np.ndarray:
        """[distinct, n_regions, region_dim] float16, which stand for those of all."""
        shapes = self._shapes
        drawn = self._drawn(shapes.distinct, shapes.n_regions, shapes.region_dim)
        if scratch is None:
            return drawn
        mapped = np.memmap(scratch, np.float16, "w+", shape=drawn.shape)
        mapped[:] = drawn
        return mapped

    def _drawn(self, *shape: int) -> np.ndarray:
        return self._generator.standard_normal(shape, np.float32).astype(np.float16)


if __name__ == "__main__":
    count, *dims = map(int, sys.argv[1:])
    print(json.dumps(dataclasses.asdict(measure(count, Shapes(*dims)))))
