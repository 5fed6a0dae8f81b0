"""Build the triplet data set: crop, split, mine negatives, write TFRecord shards.

    python -m beam_jobs.build_dataset --catalog=DIR --root=runs --run_date=2026-11-22

Reads the catalogue and the image store, writes `{root}/datasets/<version>/`: triplet
shards per split with TFDS metadata and schema, the tables `pairs`, `products`, `scenes`
and `rejections`, and last a manifest. The version names the input and the
configuration; where it is complete already, nothing is done. Every pair is in the data
set or in `rejections` with its code; products and scenes without a picture are counted,
and the image status says why.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.catalog import Catalog, read_catalog
from beam_jobs.crop import CropRule
from beam_jobs.dataset_pipeline import (
    DatasetInputs,
    DatasetRules,
    add_dataset_steps,
)
from beam_jobs.dataset_transforms import Product, Scene
from beam_jobs.fetch_images import image_status
from beam_jobs.negatives import NegativeRule, Strategy
from beam_jobs.options import CatalogOptions, RunOptions, parse_options
from beam_jobs.splits import SplitRule
from beam_jobs.verify_records import VerifyTriplets
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.codes import ImageCode, Split
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.tfds_metadata import write_tfds_metadata

log = logging.getLogger(__name__)

CODE_VERSION = 2
"""Raised with every change that gives other bytes for the same input."""


class BuildDatasetOptions(PipelineOptions):
    """Options of this job alone."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--box_margin",
            type=float,
            default=0.05,
            help="share of the picture by which a box is grown on every side",
        )
        parser.add_argument(
            "--min_crop_area",
            type=float,
            default=0.20,
            help="smallest share of the picture that a scene crop may be",
        )
        parser.add_argument(
            "--negatives_per_pair", type=int, default=32, help="mined for each pair"
        )
        parser.add_argument(
            "--triplets_per_pair",
            type=int,
            default=3,
            help="negatives that are kept with their picture, as triplet records",
        )
        parser.add_argument(
            "--negative_pool",
            type=int,
            default=10_000,
            help="products of a category that negatives are drawn from",
        )
        parser.add_argument(
            "--negative_strategy",
            default=Strategy.UNIFORM.value,
            choices=[strategy.value for strategy in Strategy],
            help="how negatives are drawn",
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="of the split and the negatives"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging()
    options = parse_options(
        argv,
        RunOptions,
        CatalogOptions,
        BuildDatasetOptions,
        description=__doc__.splitlines()[0],
    )
    run = options.view_as(RunOptions)
    root, date = run.storage_root, run.date
    rules = _rules(options.view_as(BuildDatasetOptions))
    catalog_options = options.view_as(CatalogOptions)

    started = time.monotonic()
    inputs = _inputs(
        root, read_catalog(catalog_options.catalog, catalog_options.domain)
    )
    provenance = _provenance(inputs, rules)
    version = f"{inputs.catalog.domain}-{digest(provenance)}"
    folder = root.dataset(version)
    reused = storage.is_complete(folder)
    if reused:
        log.info("data set %s is complete already", version)
    else:
        _write_dataset(folder, inputs, rules, options, provenance=provenance)
    manifest = storage.read_manifest(folder)
    root.write_receipt(
        date,
        Receipt(
            stage=Stage.BUILD_DATASET,
            outputs={
                "dataset": version,
                "catalog": inputs.catalog.version,
                "domain": inputs.catalog.domain,
            },
            counts=manifest["counts"],
            seconds=round(time.monotonic() - started, 3),
            reused=reused,
        ),
    )
    log.info("data set %s: %s", version, manifest["counts"])


def _rules(options: BuildDatasetOptions) -> DatasetRules:
    try:
        return DatasetRules(
            crop=CropRule(options.box_margin, options.min_crop_area),
            split=SplitRule(seed=options.seed),
            negatives=NegativeRule(
                per_pair=options.negatives_per_pair,
                pool_size=options.negative_pool,
                strategy=Strategy(options.negative_strategy),
                seed=options.seed,
            ),
            triplets_per_pair=options.triplets_per_pair,
        )
    except ValueError as error:
        raise InputError(str(error)) from None


def _provenance(inputs: DatasetInputs, rules: DatasetRules) -> dict[str, Any]:
    """What the data set follows from; its digest is the version."""
    pictures = [[scene.scene_id, scene.sha256, scene.phash] for scene in inputs.scenes]
    pictures += [[item.product_id, item.sha256, item.phash] for item in inputs.products]
    return {
        "code_version": CODE_VERSION,
        "catalog": inputs.catalog.version,
        "domain": inputs.catalog.domain,
        "pictures": digest(pictures, 64),
        "rules": dataclasses.asdict(rules),
    }


def _inputs(root: Root, catalog: Catalog) -> DatasetInputs:
    status = image_status(root.image_store)
    found = {key: row for key, row in status.items() if row["code"] == ImageCode.OK}
    if not found:
        raise InputError(
            f"{root.image_store} holds no pictures; run beam_jobs.fetch_images with "
            "the same --root first"
        )
    scenes = [
        Scene(scene_id, *(row[name] for name in ("sha256", "phash", "width", "height")))
        for scene_id in catalog.scene_ids
        if (row := found.get(("scene", scene_id)))
    ]
    products = [
        Product(product_id, category, row["sha256"], row["phash"])
        for product_id, category in sorted(catalog.products.items())
        if (row := found.get(("product", product_id)))
    ]
    return DatasetInputs(catalog, scenes, products)


def _write_dataset(
    folder: epath.Path,
    inputs: DatasetInputs,
    rules: DatasetRules,
    options: PipelineOptions,
    *,
    provenance: dict[str, Any],
) -> None:
    storage.start_folder(folder)
    image_store = folder.parent.parent / "images"
    log.info("writing %s", folder)
    with beam.Pipeline(options=options) as pipeline:
        add_dataset_steps(pipeline, inputs, rules, folder=folder, images=image_store)
    counts = _checked_counts(folder, inputs, rules.triplets_per_pair)
    empty = [split.value for split in Split if not counts[f"pairs_{split}"]]
    if empty:
        folder.rmtree()
        raise InputError(
            f"no pair is left for {', '.join(empty)}: {counts}; the catalogue needs at "
            "least three scenes of different content with usable pairs, see "
            "--min_crop_area and --catalog"
        )
    shards = _verified_shards(folder, options)
    write_tfds_metadata(folder, shards)
    storage.write_manifest(
        folder,
        {
            **provenance,
            "counts": counts,
            "shards": {split: list(map(list, of)) for split, of in shards.items()},
        },
    )


def _checked_counts(
    folder: epath.Path, inputs: DatasetInputs, triplets_per_pair: int
) -> dict[str, int]:
    """Count what was written and hold it against what came in."""
    catalog = inputs.catalog
    pairs = dataset_tables.read_rows(folder / "pairs.parquet")
    rejections = dataset_tables.read_rows(folder / "rejections.parquet")
    splits = collections.Counter(row["split"] for row in pairs)
    rejected = collections.Counter(row["code"] for row in rejections)
    pairs_rejected = len(rejections) - len(catalog.rejections)
    if len(catalog.pairs) != len(pairs) + pairs_rejected:
        raise AssertionError(
            f"{len(catalog.pairs)} pairs in, {len(pairs)} in the data set and "
            f"{pairs_rejected} rejected"
        )
    return {
        "rows": catalog.rows_in,
        "products": len(inputs.products),
        "products_without_image": len(catalog.products) - len(inputs.products),
        "scenes": len(inputs.scenes),
        "scenes_without_image": len(catalog.scene_ids) - len(inputs.scenes),
        "pairs": len(pairs),
        **{f"pairs_{split}": splits[split] for split in Split},
        "triplets": _checked_triplets(folder, pairs, triplets_per_pair),
        "rejected": len(rejections),
        **{code: rejected[code] for code in sorted(rejected)},
    }


def _checked_triplets(
    folder: epath.Path, pairs: list[dict[str, Any]], triplets_per_pair: int
) -> int:
    """Count the triplets written and hold them against the pairs."""
    written = len(dataset_tables.read_rows(folder / "triplets-index.parquet"))
    expected = sum(min(triplets_per_pair, len(row["negative_ids"])) for row in pairs)
    if written != expected:
        raise AssertionError(f"{expected} triplets expected, {written} written")
    return written


def _verified_shards(
    folder: epath.Path, options: PipelineOptions
) -> dict[str, list[tuple[int, int]]]:
    """Read everything back; records and bytes of each shard, by split."""
    expected = {path.name: 0 for path in folder.iterdir() if ".tfrecord-" in path.name}
    for row in dataset_tables.read_rows(folder / "triplets-index.parquet"):
        expected[row["shard"]] += 1
    read_back = folder / "read-back.json"
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "ListShards" >> beam.Create([str(folder / name) for name in expected])
            | "VerifyTriplets" >> VerifyTriplets()
            | "GatherCounts" >> beam.combiners.ToDict()
            | "WriteCounts" >> beam.Map(_write_counts, str(read_back))
        )
    found = {
        epath.Path(path).name: count
        for path, count in storage.read_json(read_back).items()
    }
    if found != expected:
        raise AssertionError(f"records written {expected}, read back {found}")
    read_back.unlink()
    return {
        split.value: [
            (expected[name], (folder / name).stat().length)
            for name in sorted(expected)
            if f"-{split}.tfrecord-" in name
        ]
        for split in Split
    }


def _write_counts(counts: dict[str, int], path: str) -> None:
    storage.write_json(epath.Path(path), counts)


if __name__ == "__main__":
    exit_on_input_error(main)
