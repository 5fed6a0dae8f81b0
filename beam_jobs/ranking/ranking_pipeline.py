"""The Beam pipeline of a ranking: embed both sides, then rank, merge and write."""

from __future__ import annotations

import dataclasses
import io

import apache_beam as beam
import numpy as np
from etils import epath

from beam_jobs.ranking.embed_transforms import EmbedProducts, EmbedScenes
from beam_jobs.ranking.labels import RankingLabels
from beam_jobs.ranking.lists import ListRule
from beam_jobs.ranking.pair_scorer import PairRule
from beam_jobs.ranking.plan import Plan
from beam_jobs.ranking.ranking_transforms import (
    MergeRankings,
    RankUnits,
    WriteRankings,
    Written,
)
from tfrecords_schema import storage
from tfrecords_schema.table_folders import published_tables


@dataclasses.dataclass(frozen=True, slots=True)
class RankingModel:
    """A champion as the pipeline needs it.

    Attributes:
        folder: of the model.
        features: the store of its backbone.
        pairs: its distance, where it has no query vectors.
    """

    folder: str
    features: str
    pairs: PairRule | None


def build_pipeline(
    pipeline: beam.Pipeline,
    plan: Plan,
    model: RankingModel,
    rule: ListRule,
    *,
    labels: RankingLabels,
    threads: int,
) -> None:
    """Wire the job; what was written is in `written.json` of the plan's scratch.

    Args:
        pipeline: to add to.
        plan: of the ranking; its lists are written.
        model: to rank with.
        rule: what lists are to be like.
        labels: of every row.
        threads: that a process ranks with.
    """
    products = (
        pipeline
        | "ListProductBlocks" >> beam.Create(list(plan.product_blocks()))
        | "SpreadProductBlocks" >> beam.Reshuffle()
        | "EmbedProducts"
        >> beam.ParDo(EmbedProducts(plan, model.folder, model.features))
    )
    scenes = (
        pipeline
        | "ListSceneBlocks" >> beam.Create(list(range(plan.n_scene_blocks)))
        | "SpreadSceneBlocks" >> beam.Reshuffle()
        | "EmbedScenes"
        >> beam.ParDo(EmbedScenes(plan, model.folder, model.features, labels=labels))
    )
    # A side input is there when all of it is: no unit begins before the last block.
    embedded = (
        (products, scenes)
        | "JoinBlocks" >> beam.Flatten()
        | "CountBlocks" >> beam.combiners.Count.Globally()
    )
    schema = published_tables()["rankings"].arrow_schema
    path = written_file(plan)
    _ = (
        pipeline
        | "ListUnits" >> beam.Create(list(plan.units()))
        | "SpreadUnits" >> beam.Reshuffle()
        | "RankUnits"
        >> beam.ParDo(
            RankUnits(plan, rule, pairs=model.pairs, threads=threads),
            beam.pvalue.AsSingleton(embedded),
        )
        | "MergeProductBlocks" >> beam.CombinePerKey(MergeRankings(rule))
        | "WriteRankings" >> beam.ParDo(WriteRankings(plan, labels, schema))
        | "GatherFiles" >> beam.combiners.ToList()
        | "WriteFiles" >> beam.Map(_write_files, str(path))
    )


def _write_files(files: list[Written], path: str) -> None:
    rows = [dataclasses.asdict(file) for file in sorted(files, key=lambda f: f.name)]
    storage.write_json(epath.Path(path), rows)


def written_file(plan: Plan) -> epath.Path:
    """Where the pipeline says what it wrote."""
    return plan.scratch / "written.json"


def read_written(plan: Plan) -> list[Written]:
    """What the pipeline wrote."""
    return [Written(**row) for row in storage.read_json(written_file(plan))]


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
