"""The Beam pipeline of a ranking: embed both sides, then rank, merge and write."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from etils import epath

from beam_jobs.ranking.embed_transforms import EmbedProducts, EmbedScenes
from beam_jobs.ranking.embedders import FeatureSource, Source
from beam_jobs.ranking.index_transforms import (
    EXACT,
    BuildIndexes,
    CompareLists,
    SearchUnits,
    TakeSample,
)
from beam_jobs.ranking.labels import RankingLabels
from beam_jobs.ranking.lists import ListRule
from beam_jobs.ranking.pair_scorer import PairRule
from beam_jobs.ranking.picture_embedder import PictureSource
from beam_jobs.ranking.plan import Plan
from beam_jobs.ranking.product_index import IndexRule
from beam_jobs.ranking.ranking_transforms import (
    MergeRankings,
    RankUnits,
    WriteRankings,
    Written,
)
from beam_jobs.ranking.recall import Found
from tfrecords_schema import storage
from tfrecords_schema.table_folders import published_tables


@dataclasses.dataclass(frozen=True, slots=True)
class RankingModel:
    """A champion as the pipeline needs it.

    Attributes:
        folder: of the model.
        features: the store of its backbone.
        pairs: its distance, where it has no query vectors.
        pictures: where it looks at pictures instead; None where it does not.
    """

    folder: str
    features: str
    pairs: PairRule | None
    pictures: PictureSource | None = None

    @property
    def source(self) -> Source:
        """What embeds."""
        return self.pictures or FeatureSource(self.folder, self.features)


@dataclasses.dataclass(frozen=True, slots=True)
class Approximation:
    """How a ranking is approximate.

    Attributes:
        index: how products are searched.
        sample: numbers of the scenes whose lists are compared with exact ones.
    """

    index: IndexRule
    sample: tuple[int, ...]


def build_pipeline(
    pipeline: beam.Pipeline,
    plan: Plan,
    model: RankingModel,
    rule: ListRule,
    *,
    labels: RankingLabels,
    threads: int,
    approximation: Approximation | None = None,
) -> None:
    """Wire the job; what was written is in `written.json` of the plan's scratch.

    How the lists of the sample compare is in `found.json`, where there is one.

    Args:
        pipeline: to add to.
        plan: of the ranking; its lists are written.
        model: to rank with.
        rule: what lists are to be like.
        labels: of every row.
        threads: that a process ranks with.
        approximation: None for exact lists.
    """
    shared = Shared()
    products = (
        pipeline
        | "ListProductBlocks" >> beam.Create(list(plan.product_blocks()))
        | "SpreadProductBlocks" >> beam.Reshuffle()
        | "EmbedProducts" >> beam.ParDo(EmbedProducts(plan, model.source, shared))
    )
    if approximation:
        products = products | "BuildIndexes" >> beam.ParDo(BuildIndexes(plan))
    scenes = (
        pipeline
        | "ListSceneBlocks" >> beam.Create(list(range(plan.n_scene_blocks)))
        | "SpreadSceneBlocks" >> beam.Reshuffle()
        | "EmbedScenes"
        >> beam.ParDo(EmbedScenes(plan, model.source, shared, labels=labels))
    )
    # A side input is there when all of it is: no unit begins before the last block.
    embedded = (
        (products, scenes)
        | "JoinBlocks" >> beam.Flatten()
        | "CountBlocks" >> beam.combiners.Count.Globally()
    )
    units = (
        pipeline
        | "ListUnits" >> beam.Create(list(plan.units()))
        | "SpreadUnits" >> beam.Reshuffle()
    )
    ready = beam.pvalue.AsSingleton(embedded)
    if approximation is None:
        rank = RankUnits(plan, rule, pairs=model.pairs, threads=threads)
        lists = units | "RankUnits" >> beam.ParDo(rank, ready)
    else:
        lists, exact = _search(
            units, ready, plan, rule, approximation=approximation, threads=threads
        )
    merged = lists | "MergeProductBlocks" >> beam.CombinePerKey(MergeRankings(rule))
    schema = published_tables()["rankings"].arrow_schema
    _ = (
        merged
        | "WriteRankings" >> beam.ParDo(WriteRankings(plan, labels, schema))
        | "GatherFiles" >> beam.combiners.ToList()
        | "WriteFiles" >> beam.Map(_write_rows, str(_written_file(plan)))
    )
    if approximation is None:
        return
    of_sample = merged | "TakeSample" >> beam.ParDo(
        TakeSample(plan, approximation.sample)
    )
    _ = (
        (exact, of_sample)
        | "JoinLists" >> beam.CoGroupByKey()
        | "CompareLists" >> beam.ParDo(CompareLists(plan))
        | "GatherFound" >> beam.combiners.ToList()
        | "WriteFound" >> beam.Map(_write_rows, str(_found_file(plan)))
    )


def _search(
    units: beam.PCollection,
    ready: Any,
    plan: Plan,
    rule: ListRule,
    *,
    approximation: Approximation,
    threads: int,
) -> tuple[beam.PCollection, beam.PCollection]:
    """Lists of the units by index, and merged exact ones of the sample."""
    search = SearchUnits(
        plan,
        rule,
        index=approximation.index,
        sample=approximation.sample,
        threads=threads,
    )
    found = units | "SearchUnits" >> beam.ParDo(search, ready).with_outputs(
        EXACT, main="lists"
    )
    exact = found[EXACT] | "MergeExact" >> beam.CombinePerKey(MergeRankings(rule))
    return found["lists"], exact


def _write_rows(parts: Sequence[Any], path: str) -> None:
    rows = sorted((dataclasses.asdict(part) for part in parts), key=_in_order)
    storage.write_json(epath.Path(path), rows)


def _in_order(row: dict[str, Any]) -> list[str]:
    return [str(value) for value in row.values()]


def _written_file(plan: Plan) -> epath.Path:
    return plan.scratch / "written.json"


def _found_file(plan: Plan) -> epath.Path:
    return plan.scratch / "found.json"


def is_written(plan: Plan, *, with_found: bool) -> bool:
    """Whether the pipeline has done its work, and its blocks are still there.

    Args:
        plan: of the ranking.
        with_found: whether it is an approximate one.
    """
    return _written_file(plan).exists() and (
        not with_found or _found_file(plan).exists()
    )


def read_written(plan: Plan) -> list[Written]:
    """What the pipeline wrote."""
    return [Written(**row) for row in storage.read_json(_written_file(plan))]


def read_found(plan: Plan) -> list[Found]:
    """How the lists of the sample compare, of an approximate ranking."""
    return [Found(**row) for row in storage.read_json(_found_file(plan))]


def write_excluded(plan: Plan, known: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
    """Tell the units which products the lists of scenes may not hold.

    Args:
        plan: of the ranking.
        known: of each category, numbers of scenes and of products.
    """
    size = plan.sizes.scenes * plan.sizes.scene_blocks
    for category, (scenes, products) in known.items():
        order = np.lexsort((scenes, products))
        both = np.stack([scenes[order], products[order]])
        for group in np.unique(scenes // size).tolist():
            buffer = io.BytesIO()
            np.save(buffer, both[:, both[0] // size == group], allow_pickle=False)
            path = plan.excluded_file(category, group)
            storage.write_atomic(path, buffer.getvalue())
