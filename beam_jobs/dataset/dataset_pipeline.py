"""The wiring of `build_dataset`: which transform feeds which."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
from etils import epath

from beam_jobs.dataset import dataset_inputs
from beam_jobs.dataset.crop import CropRule
from beam_jobs.dataset.dataset_inputs import (
    ReadInputs,
    ReadPairs,
    SceneRows,
    StagedInputs,
    located_pairs,
)
from beam_jobs.dataset.dataset_rows import DatasetTables
from beam_jobs.dataset.dataset_transforms import (
    REJECTED,
    CutCrops,
    LocatedPair,
    mark_co_positives,
)
from beam_jobs.dataset.scene_groups import GroupScenes
from beam_jobs.dataset.shard_sizes import ShardRule, estimate_bytes, scene_position
from beam_jobs.dataset.shard_writer import PlannedPair, WriteShards
from beam_jobs.dataset.splits import SplitRule
from beam_jobs.dataset.triplets import Provenance, plan_triplets
from beam_jobs.mining.champion import Champion
from beam_jobs.mining.negative_transforms import MineNegatives
from beam_jobs.mining.negatives import NegativeRule
from beam_jobs.record_writer import WriteTables


@dataclasses.dataclass(frozen=True, slots=True)
class DatasetRules:
    """Every rule that decides what is in the data set.

    Attributes:
        crop: of scenes.
        split: of scene groups.
        negatives: of pairs.
        triplets_per_pair: of a pair's negatives, how many are kept with their picture
            as triplet records; the others are listed by id, which costs next to
            nothing and is all that training on cached features needs.
        shards: how large they are.
    """

    crop: CropRule
    split: SplitRule
    negatives: NegativeRule
    triplets_per_pair: int = 3
    shards: ShardRule = dataclasses.field(default_factory=ShardRule)

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ValueError: naming the option.
        """
        if self.triplets_per_pair < 1:
            raise ValueError(
                f"--triplets_per_pair {self.triplets_per_pair} is not at least 1"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What the pipeline is told beside the rows of its input.

    Attributes:
        folder: the data set's.
        domain: of the catalogue.
        rules: what decides the content.
        crop_ratio: see `shard_sizes.estimate_bytes`.
        provenance: what every record says of the job.
        champion: the model that negatives are mined with, if any.
        helpers: processes that write shards; see `shard_writer.WriteShard`.
    """

    folder: epath.Path
    domain: str
    rules: DatasetRules
    crop_ratio: float
    provenance: Provenance
    champion: Champion | None = None
    helpers: int = 0


def add_dataset_steps(
    pipeline: beam.Pipeline, staged: StagedInputs, plan: DatasetPlan
) -> None:
    """Wire the job.

    Args:
        pipeline: to add to.
        staged: the input.
        plan: what to write and where.
    """
    rules = plan.rules
    parts = pipeline | "ListInputs" >> beam.Create(staged.parts)
    scenes = parts | "ReadScenes" >> beam.ParDo(ReadInputs(dataset_inputs.SCENES))
    products = parts | "ReadProducts" >> beam.ParDo(ReadInputs(dataset_inputs.PRODUCTS))
    names, moves = scenes | "GroupScenes" >> GroupScenes(rules.split)
    groups = beam.pvalue.AsDict(names), beam.pvalue.AsDict(moves)
    cropped = (
        parts
        | "ReadPairs" >> beam.ParDo(ReadPairs(rules.split), *groups)
        | "GroupSceneContents" >> beam.GroupByKey()
        | "MarkCoPositives" >> beam.FlatMapTuple(_with_co_positives)
        | "CutCrops"
        >> beam.ParDo(CutCrops(rules.crop)).with_outputs(REJECTED, main="pairs")
    )
    pairs, unmined = {
        "pairs": cropped.pairs,
        "products": products,
    } | "MineNegatives" >> MineNegatives(rules.negatives, plan.champion)
    _ = (
        pairs
        | "PlanTriplets" >> beam.Map(_planned_pair, plan.rules, plan.crop_ratio)
        | "WriteShards"
        >> WriteShards(
            str(plan.folder), rules.shards, plan.provenance, helpers=plan.helpers
        )
    )
    rejected = parts | "ReadRejections" >> beam.ParDo(
        ReadInputs(dataset_inputs.REJECTIONS)
    )
    tables = DatasetTables(plan.domain, rules.split, staged)
    rows = (
        pairs | "MakePairRows" >> beam.Map(tables.pair_row),
        products | "MakeProductRows" >> beam.Map(tables.product_row),
        scenes | "MakeSceneRows" >> beam.Map(tables.scene_row, *groups),
        (rejected, cropped[REJECTED], unmined)
        | "GatherRejections" >> beam.Flatten()
        | "MakeRejectionRows" >> beam.Map(tables.rejection_row),
    )
    _ = (
        rows
        | "GatherRows" >> beam.Flatten()
        | "WriteTables" >> WriteTables(str(plan.folder), tables.families)
    )


def _with_co_positives(
    group: str, scenes: Iterable[SceneRows]
) -> Iterator[LocatedPair]:
    return mark_co_positives(located_pairs(group, scenes))


def _planned_pair(
    item: LocatedPair, rules: DatasetRules, crop_ratio: float
) -> PlannedPair:
    if item.scene.split is None:
        raise ValueError(f"scene {item.scene.scene_id} is in no split yet")
    return PlannedPair(
        item.scene.split.value,
        scene_position(item.scene.sha256),
        estimate_bytes(
            item, triplets_per_pair=rules.triplets_per_pair, crop_ratio=crop_ratio
        ),
        plan_triplets(item, rules.triplets_per_pair),
    )
