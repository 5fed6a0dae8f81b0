"""The wiring of `build_dataset`: which transform feeds which, and the tables' rows."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import apache_beam as beam
from etils import epath

from beam_jobs.catalog import Catalog, Rejection
from beam_jobs.crop import CropRule
from beam_jobs.dataset_transforms import (
    REJECTED,
    CountTrainPositives,
    CutCrops,
    DrawNegatives,
    GroupScenes,
    LocatedPair,
    LocatePairs,
    MarkCoPositives,
    Product,
    SamplePools,
    Scene,
    with_counts,
)
from beam_jobs.negatives import NegativeRule
from beam_jobs.record_writer import WriteRecords, WriteTable
from beam_jobs.splits import SplitRule
from beam_jobs.triplets import ReadImages, RenderTriplets
from tfrecords_schema import dataset_tables
from tfrecords_schema.codes import Split
from tfrecords_schema.records import TripletRecord, encode_triplet
from tfrecords_schema.segments import INDEX_SCHEMA
from tfrecords_schema.tfds_metadata import shard_name


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
    """

    crop: CropRule
    split: SplitRule
    negatives: NegativeRule
    triplets_per_pair: int = 3

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
class DatasetInputs:
    """The catalogue, and those of its scenes and products that have a picture."""

    catalog: Catalog
    scenes: list[Scene]
    products: list[Product]


def add_dataset_steps(
    pipeline: beam.Pipeline,
    inputs: DatasetInputs,
    rules: DatasetRules,
    *,
    folder: epath.Path,
    images: epath.Path,
) -> None:
    """Wire the job.

    Args:
        pipeline: to add to.
        inputs: the catalogue and what of it has pictures.
        rules: of crop, split and negatives.
        folder: the data set's folder.
        images: the image store.
    """
    domain = inputs.catalog.domain
    products = pipeline | "ListProducts" >> beam.Create(inputs.products)
    scenes = (
        pipeline
        | "ListScenes" >> beam.Create(inputs.scenes)
        | "GroupScenes" >> GroupScenes(rules.split)
    )
    located, unlocated = {
        "pairs": pipeline
        | "ListPairs"
        >> beam.Create([*inputs.catalog.pairs, *inputs.catalog.boxless_pairs]),
        "scenes": scenes,
        "products": products,
    } | "LocatePairs" >> LocatePairs()
    cropped = (
        located
        | "MarkCoPositives" >> MarkCoPositives()
        | "CutCrops"
        >> beam.ParDo(CutCrops(rules.crop)).with_outputs(REJECTED, main="pairs")
    )
    pools = products | "SamplePools" >> SamplePools(rules.negatives)
    drawn = cropped.pairs | "DrawNegatives" >> beam.ParDo(
        DrawNegatives(rules.negatives), beam.pvalue.AsDict(pools)
    ).with_outputs(REJECTED, main="pairs")
    train_positives = drawn.pairs | "CountTrainPositives" >> CountTrainPositives()
    pairs = _mark_seen(drawn.pairs)

    rejected = (
        pipeline | "ListBadRows" >> beam.Create(inputs.catalog.rejections),
        unlocated,
        cropped[REJECTED],
        drawn[REJECTED],
    ) | "GatherRejections" >> beam.Flatten()
    _write_tables(folder, domain, pairs, scenes=scenes, rejected=rejected)
    _write_products(folder, domain, products, train_positives)
    triplets = {
        "pairs": pairs,
        "images": pipeline | "ReadImages" >> ReadImages(images),
    } | "RenderTriplets" >> RenderTriplets(rules.triplets_per_pair)
    _write_triplets(folder, triplets)


def _mark_seen(pairs: beam.PCollection) -> beam.PCollection:
    by_picture = pairs | "PairsByTheirPicture" >> beam.WithKeys(
        lambda item: item.product.sha256
    )
    seen = pairs | "CountTrainPictures" >> CountTrainPositives(by_picture=True)
    return with_counts(
        by_picture, seen, label="SeenCounts"
    ) | "MarkSeen" >> beam.MapTuple(
        lambda item, count: dataclasses.replace(item, product_seen=count > 0)
    )


def _write_tables(
    folder: epath.Path,
    domain: str,
    pairs: beam.PCollection,
    *,
    scenes: beam.PCollection,
    rejected: beam.PCollection,
) -> None:
    _ = (
        pairs
        | "MakePairRows" >> beam.Map(_pair_row, domain)
        | "WritePairs"
        >> WriteTable(
            str(folder / "pairs.parquet"), dataset_tables.PAIRS, order_by=("pair_id",)
        )
    )
    _ = (
        scenes
        | "MakeSceneRows" >> beam.Map(_scene_row, domain)
        | "WriteScenes"
        >> WriteTable(
            str(folder / "scenes.parquet"),
            dataset_tables.SCENES,
            order_by=("scene_id",),
        )
    )
    _ = (
        rejected
        | "MakeRejectionRows" >> beam.Map(_rejection_row)
        | "WriteRejections"
        >> WriteTable(
            str(folder / "rejections.parquet"),
            dataset_tables.REJECTIONS,
            order_by=("source", "line", "code", "detail"),
        )
    )


def _write_products(
    folder: epath.Path,
    domain: str,
    products: beam.PCollection,
    train_positives: beam.PCollection,
) -> None:
    by_id = products | "ProductsByTheirId" >> beam.WithKeys(
        lambda product: product.product_id
    )
    _ = (
        with_counts(by_id, train_positives, label="Popularity")
        | "MakeProductRows" >> beam.MapTuple(functools.partial(_product_row, domain))
        | "WriteProducts"
        >> WriteTable(
            str(folder / "products.parquet"),
            dataset_tables.PRODUCTS,
            order_by=("product_id",),
        )
    )


def _write_triplets(folder: epath.Path, triplets: beam.PCollection) -> None:
    by_split = triplets | "SplitTriplets" >> beam.Partition(_split_number, len(Split))
    index = [
        part
        | f"Encode{split.title()}" >> beam.Map(_keyed_record)
        | f"Write{split.title()}"
        >> WriteRecords(str(folder), functools.partial(shard_name, split.value))
        for split, part in zip(Split, by_split, strict=True)
    ]
    _ = (
        index
        | "GatherIndex" >> beam.Flatten()
        | "WriteTripletIndex"
        >> WriteTable(
            str(folder / "triplets-index.parquet"), INDEX_SCHEMA, order_by=("key",)
        )
    )


def _split_number(element: tuple[Split, TripletRecord], _: int) -> int:
    return list(Split).index(element[0])


def _keyed_record(element: tuple[Split, TripletRecord]) -> tuple[str, bytes]:
    _, record = element
    return f"{record.pair_id}:{record.negative_index}", encode_triplet(record)


def _pair_row(item: LocatedPair, domain: str) -> dict[str, Any]:
    return {
        "pair_id": item.pair.pair_id,
        "split": item.scene.split,
        "domain": domain,
        "scene_id": item.scene.scene_id,
        "scene_group": item.scene.group,
        "scene_sha256": item.scene.sha256,
        "crop_px": item.crop,
        "box": item.pair.box,
        "product_id": item.product.product_id,
        "product_sha256": item.product.sha256,
        "category": item.product.category,
        "product_seen": item.product_seen,
        "negative_ids": [negative.product_id for negative in item.negatives],
        "co_positive_ids": [positive.product_id for positive in item.co_positives],
        "source_line": item.pair.line,
    }


def _scene_row(scene: Scene, domain: str) -> dict[str, Any]:
    return {
        "scene_id": scene.scene_id,
        "domain": domain,
        "scene_group": scene.group,
        "sha256": scene.sha256,
        "split": scene.split,
    }


def _product_row(domain: str, product: Product, train_positives: int) -> dict[str, Any]:
    return {
        "product_id": product.product_id,
        "domain": domain,
        "category": product.category,
        "sha256": product.sha256,
        "phash": product.phash,
        "train_positives": train_positives,
    }


def _rejection_row(rejection: Rejection) -> dict[str, Any]:
    return dataclasses.asdict(rejection)
