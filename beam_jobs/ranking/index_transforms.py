"""Beam's side of an approximate ranking: make indexes, search them, compare a sample.

A block of products has an index of its own, which is read when its block is: no more is
held at once than without, but for the index.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np

from beam_jobs.ranking.block_files import read_array
from beam_jobs.ranking.index_search import among, search_block
from beam_jobs.ranking.lists import ListRule, Ranking, merge_rankings
from beam_jobs.ranking.plan import Plan, Unit, with_suffix
from beam_jobs.ranking.product_index import (
    LEAST_PRODUCTS,
    IndexRule,
    ProductIndex,
    build_index,
    faiss_library,
)
from beam_jobs.ranking.ranking_transforms import ListKey, RankUnits, embedded_scenes
from beam_jobs.ranking.recall import Found, compare
from beam_jobs.ranking.scorers import InnerProducts
from beam_jobs.ranking.threads import Workers
from beam_jobs.ranking.top_k import rank_blocks
from tfrecords_schema.storage import write_atomic

_INDEX = "index"
EXACT = "exact"
"""Output of `SearchUnits` beside the main one: exact lists of the sample."""


class BuildIndexes(beam.DoFn):
    """Make the index of a block of products, unless it is there or needs none.

    Element in and out: the block's name.
    """

    def __init__(self, plan: Plan) -> None:
        """Set the plan."""
        self._plan = plan

    def process(self, name: str) -> Iterator[str]:
        """Index one block."""
        stem = self._plan.scratch / name
        path = with_suffix(stem, _INDEX)
        vectors = read_array(stem, "vectors")
        if len(vectors) >= LEAST_PRODUCTS and not path.exists():
            write_atomic(path, build_index(vectors))
        yield name


class SearchUnits(RankUnits):
    """Rank the queries of a unit by indexes, and those of the sample without.

    Element in: `Unit`; its blocks are written and indexed. Element out: (`ListKey`,
    `Ranking`), and as `EXACT` the same of the sample's queries alone.
    """

    def __init__(
        self,
        plan: Plan,
        rule: ListRule,
        *,
        index: IndexRule,
        sample: tuple[int, ...],
        threads: int,
    ) -> None:
        """Set what to rank by.

        Args:
            plan: of the ranking.
            rule: what lists are to be like.
            index: how to search.
            sample: numbers of scenes.
            threads: of this process.
        """
        super().__init__(plan, rule, pairs=None, threads=threads)
        self._index = index
        self._sample = sample

    def setup(self) -> None:
        """See that the library is there, and limit its threads."""
        faiss_library()

    def process(self, unit: Unit, _: Any = None) -> Iterator[Any]:
        """Rank one unit; the second argument is only waited for."""
        queries = self._scene_arrays(unit)["queries"]
        excluded = self._excluded(unit)
        workers = Workers(self._threads)
        lists = rank_blocks(InnerProducts(queries), [], self._rule)
        for number, block in zip(
            range(unit.first, unit.last), self._blocks(unit), strict=True
        ):
            path = with_suffix(self._plan.product_stem(unit.category, number), _INDEX)
            if path.exists():
                found = search_block(
                    queries,
                    block,
                    ProductIndex(path.read_bytes()),
                    self._rule,
                    probes=self._index.probes,
                    excluded=excluded,
                    workers=workers,
                )
            else:
                found = rank_blocks(
                    InnerProducts(queries),
                    [block],
                    self._rule,
                    excluded=excluded,
                    workers=workers,
                )
            lists = merge_rankings([lists, found], self._rule)
        key = (unit.category, unit.group)
        yield key, lists
        rows = sample_rows(self._plan, unit.group, self._sample)
        exact = rank_blocks(
            InnerProducts(queries[rows]),
            self._blocks(unit),
            self._rule,
            excluded=among(excluded, rows),
            workers=workers,
        )
        yield beam.pvalue.TaggedOutput(EXACT, (key, exact))


class TakeSample(beam.DoFn):
    """Keep the lists of the sample.

    Element in: (`ListKey`, `Ranking`) of all queries. Element out: those of the sample.
    """

    def __init__(self, plan: Plan, sample: tuple[int, ...]) -> None:
        """Set the plan, and the numbers of the sample's scenes."""
        self._plan = plan
        self._sample = sample

    def process(
        self, element: tuple[ListKey, Ranking]
    ) -> Iterator[tuple[ListKey, Ranking]]:
        """Of one category and group of scenes."""
        key, lists = element
        rows = sample_rows(self._plan, key[1], self._sample)
        yield key, Ranking(lists.products[rows], lists.distances[rows])


class CompareLists(beam.DoFn):
    """Hold the sample's lists against the exact ones.

    Element in: (`ListKey`, both as one `Ranking` each). Element out: `Found`.
    """

    def __init__(self, plan: Plan) -> None:
        """Set the plan."""
        self._plan = plan

    def process(
        self, element: tuple[ListKey, tuple[list[Ranking], list[Ranking]]]
    ) -> Iterator[Found]:
        """Of one category and group of scenes."""
        (category, _), ((exact,), (approximate,)) = element
        yield compare(self._plan.categories[category], exact, approximate)


def sample_rows(plan: Plan, group: int, sample: tuple[int, ...]) -> np.ndarray:
    """Which queries of a group are the sample's, ascending."""
    return np.flatnonzero(np.isin(embedded_scenes(plan, group), sample))
