"""From embedded blocks to rankings: rank units of blocks, merge, write.

What goes through the shuffle are lists of numbers, 12 bytes a place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from beam_jobs.ranking.block_files import read_array, read_arrays
from beam_jobs.ranking.labels import RankingLabels
from beam_jobs.ranking.lists import ListRule, Ranking, merge_rankings
from beam_jobs.ranking.pair_scorer import PairDistances, PairRule, SceneArrays
from beam_jobs.ranking.plan import Plan, Unit, read_list
from beam_jobs.ranking.scorers import InnerProducts, ProductBlock, Scorer
from beam_jobs.ranking.threads import Workers
from beam_jobs.ranking.top_k import (
    NOTHING_EXCLUDED,
    Excluded,
    rank_blocks,
)
from tfrecords_schema.dataset_tables import arrow_bytes
from tfrecords_schema.storage import write_atomic

ListKey = tuple[int, int]
"""Category, and group of scene blocks."""


class RankUnits(beam.DoFn):
    """Rank the queries of a unit against its products.

    Element in: `Unit`; its blocks are written. Element out: (`ListKey`, `Ranking`).
    """

    def __init__(
        self, plan: Plan, rule: ListRule, *, pairs: PairRule | None, threads: int
    ) -> None:
        """Set what to rank by.

        Args:
            plan: of the ranking.
            rule: what lists are to be like.
            pairs: of a model without query vectors, its distance.
            threads: of this process.
        """
        self._plan = plan
        self._rule = rule
        self._pairs = pairs
        self._threads = threads

    def process(self, unit: Unit, _: Any = None) -> Iterator[tuple[ListKey, Ranking]]:
        """Rank one unit; the second argument is only waited for."""
        ranking = rank_blocks(
            self._scorer(unit),
            self._blocks(unit),
            self._rule,
            excluded=self._excluded(unit),
            workers=Workers(self._threads),
        )
        yield (unit.category, unit.group), ranking

    def _scene_arrays(self, unit: Unit) -> dict[str, np.ndarray]:
        """What was embedded of the unit's scenes for its category, by name."""
        blocks = [
            read_arrays(self._plan.scene_stem(block))
            for block in self._plan.blocks_of(unit.group)
        ]
        found = {name: [block[name] for block in blocks] for name in blocks[0]}
        for name in ("queries", "attention"):
            if name in found:
                found[name] = [array[:, unit.category] for array in found[name]]
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _scorer(self, unit: Unit) -> Scorer:
        arrays = self._scene_arrays(unit)
        if self._pairs is None:
            return InnerProducts(arrays["queries"])
        local, keys, attention = (
            arrays.get(name) for name in ("local", "keys", "attention")
        )
        scenes = SceneArrays(arrays["scene"], local, keys, attention)
        return PairDistances(scenes, self._pairs)

    def _blocks(self, unit: Unit) -> Iterator[ProductBlock]:
        for block in range(unit.first, unit.last):
            arrays = read_arrays(self._plan.product_stem(unit.category, block))
            yield ProductBlock(
                np.asarray(arrays["numbers"]),
                np.asarray(arrays["vectors"]),
                arrays.get("keys"),
                np.asarray(arrays["groups"]),
            )

    def _excluded(self, unit: Unit) -> Excluded:
        path = self._plan.excluded_file(unit.category, unit.group)
        if not path.exists():
            return NOTHING_EXCLUDED
        with path.open("rb") as file:
            scenes, products = np.load(file, allow_pickle=False)
        embedded = embedded_scenes(self._plan, unit.group)
        queries = np.searchsorted(embedded, scenes)
        is_there = np.isin(scenes, embedded)
        return Excluded(queries[is_there], products[is_there])


def embedded_scenes(plan: Plan, group: int) -> np.ndarray:
    """Numbers of a group's scenes that have queries, ascending."""
    return np.concatenate(
        [
            read_array(plan.scene_stem(block), "numbers")
            for block in plan.blocks_of(group)
        ]
    )


class MergeRankings(beam.CombineFn):
    """Merge lists of the same queries over disjoint products.

    Element in and out: `Ranking`.
    """

    def __init__(self, rule: ListRule) -> None:
        """Set what lists are to be like."""
        self._rule = rule

    def create_accumulator(self) -> list[Ranking]:
        """Of nothing."""
        return []

    def add_input(self, parts: list[Ranking], part: Ranking) -> list[Ranking]:
        """Merge one more."""
        return [merge_rankings([*parts, part], self._rule)] if parts else [part]

    def merge_accumulators(self, many: Iterable[list[Ranking]]) -> list[Ranking]:
        """Merge what others merged."""
        parts = [part for parts in many for part in parts]
        return [merge_rankings(parts, self._rule)] if parts else []

    def extract_output(self, parts: list[Ranking]) -> Ranking:
        """The one that is left; a key has at least one."""
        return parts[0]


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """A file of rankings.

    Attributes:
        name: of the file.
        rows: in it.
        answered: lists that are not empty.
    """

    name: str
    rows: int
    answered: int


class WriteRankings(beam.DoFn):
    """Write the lists of a category and a group of scenes as a Parquet file.

    Element in: (`ListKey`, `Ranking`). Element out: `Written`.
    """

    def __init__(self, plan: Plan, labels: RankingLabels, schema: pa.Schema) -> None:
        """Set where to write and what the rows say."""
        self._plan = plan
        self._labels = labels
        self._schema = schema

    def process(self, element: tuple[ListKey, Ranking]) -> Iterator[Written]:
        """Write one file."""
        (category, group), ranking = element
        path = self._plan.rankings_file(category, group)
        table = self._table(category, group, ranking)
        write_atomic(path, arrow_bytes(table))
        yield Written(path.name, table.num_rows, int(np.count_nonzero(ranking.lengths)))

    def _table(self, category: int, group: int, ranking: Ranking) -> pa.Table:
        lengths = ranking.lengths
        k = ranking.products.shape[1]
        filled = np.arange(k) < lengths[:, None]
        rows = int(lengths.sum())
        columns: dict[str, Any] = {
            name: pa.repeat(value, rows)
            for name, value in dataclasses.asdict(self._labels).items()
        }
        columns |= {
            "category": pa.repeat(self._plan.categories[category], rows),
            "scene_id": self._scene_ids(group).take(
                pa.array(np.repeat(np.arange(len(lengths)), lengths))
            ),
            "rank": pa.array(
                np.broadcast_to(np.arange(1, k + 1), filled.shape)[filled]
            ),
            "product_id": self._product_ids(category, ranking.products[filled]),
            "distance": pa.array(ranking.distances[filled].astype(np.float64)),
        }
        ordered = [columns[field.name].cast(field.type) for field in self._schema]
        return pa.Table.from_arrays(ordered, schema=self._schema)

    def _scene_ids(self, group: int) -> pa.Array:
        """Of the scenes that have queries, in their order."""
        found = []
        for block in self._plan.blocks_of(group):
            stem = self._plan.scene_stem(block)
            numbers = read_array(stem, "numbers") - block * self._plan.sizes.scenes
            found.append(_ids(stem, "scene_id").take(pa.array(numbers)))
        return pa.concat_arrays(found)

    def _product_ids(self, category: int, numbers: np.ndarray) -> pa.Array:
        """Of products by their numbers; one block's ids are held at a time."""
        size = self._plan.sizes.products
        order = np.argsort(numbers, kind="stable")
        owners = numbers[order] // size
        found: list[pa.Array] = [pa.array([], pa.string())]
        for block in np.unique(owners).tolist():
            ids = _ids(self._plan.product_stem(category, block), "product_id")
            within = numbers[order[owners == block]] - block * size
            found.append(ids.take(pa.array(within)))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_arrays(found).take(pa.array(back))


def _ids(stem: Any, column: str) -> pa.Array:
    return read_list(stem, [column]).column(column).combine_chunks()


def threads_of(runner: str, workers: int, *, processes: bool, cores: int) -> int:
    """Threads of a process that ranks, so that all of them together use each core once.

    Args:
        runner: name of Beam's runner.
        workers: that the DirectRunner was told to use; 0 for as many as cores.
        processes: whether each of its workers is a process.
        cores: of the machine.
    """
    if runner != "DirectRunner":
        return 1  # others run a process, or a thread, for every core
    return max(1, cores // (workers or cores)) if processes else cores
