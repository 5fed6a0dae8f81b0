"""Run the frozen backbone over the data set's pictures, once per picture for ever.

    python -m beam_jobs.extract_features --backbone=ResNet50 \
        --root=runs --run_date=2026-11-22

Takes the data set of the run date. Features are cached in
`{root}/features/<backbone fingerprint>/`, keyed by picture content and crop; a run
computes what the cache lacks and adds it as one immutable segment.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import time
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.feature_transforms import (
    BATCH,
    ExtractShard,
    FeatureRequest,
    GatherPictures,
)
from beam_jobs.options import RunOptions, parse_options
from beam_jobs.record_writer import WriteTable
from beam_jobs.triplets import ReadImages
from tfrecords_schema import dataset_tables, segments, storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import product_key, scene_key
from trainer.backbones import Backbone, resolve_backbone

log = logging.getLogger(__name__)

SHARD_PICTURES = 16 * BATCH
"""Pictures of a shard: about 50 MB of scene features, and under a minute of one CPU
core's work to lose when a worker dies."""


class ExtractFeaturesOptions(PipelineOptions):
    """Options of this job alone."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--backbone",
            default="ResNet50",
            help="keras.applications model, or a .keras backbone file",
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging()
    options = parse_options(
        argv,
        RunOptions,
        ExtractFeaturesOptions,
        description=__doc__.splitlines()[0],
    )
    run = options.view_as(RunOptions)
    root, date = run.storage_root, run.date

    started = time.monotonic()
    dataset = root.receipt(date, Stage.BUILD_DATASET).outputs["dataset"]
    needed = needed_features(root.dataset(dataset))
    backbone = resolve_backbone(options.view_as(ExtractFeaturesOptions).backbone, root)
    store = root.feature_store(backbone.fingerprint)
    held = segments.SegmentStore(store).index
    missing = [request for request in needed if request.key not in held]
    log.info(
        "%d of %d features to compute with %s (%s)",
        len(missing),
        len(needed),
        backbone.name,
        backbone.fingerprint,
    )
    if missing:
        _write_segment(root, backbone, missing, options)
    _write_receipt(root, date, backbone, needed, missing, started)


def needed_features(dataset: epath.Path) -> list[FeatureRequest]:
    """Every picture and crop that training, evaluation and ranking look at.

    Scene crops are what the model is trained on, whole scenes what it ranks for.

    Returns:
        Requests in the order of their key, each key once.
    """
    storage.read_manifest(dataset)
    requests = [
        FeatureRequest(product_key(row["sha256"]), row["sha256"], None, False)
        for row in dataset_tables.read_rows(dataset / "products.parquet")
    ]
    requests += [
        FeatureRequest(scene_key(row["sha256"]), row["sha256"], None, True)
        for row in dataset_tables.read_rows(dataset / "scenes.parquet")
    ]
    for row in dataset_tables.read_rows(dataset / "pairs.parquet"):
        crop = PixelBox(*row["crop_px"])
        sha256 = row["scene_sha256"]
        requests.append(FeatureRequest(scene_key(sha256, crop), sha256, crop, True))
    by_key = {request.key: request for request in requests}
    return [by_key[key] for key in sorted(by_key)]


def _write_segment(
    root: Root,
    backbone: Backbone,
    missing: list[FeatureRequest],
    options: PipelineOptions,
) -> None:
    store = segments.SegmentStore(root.feature_store(backbone.fingerprint))
    segment = store.next_segment(digest([request.key for request in missing]))
    storage.start_folder(segment)
    with beam.Pipeline(options=options) as pipeline:
        build_pipeline(
            pipeline,
            missing,
            images=root.image_store,
            backbone=str(backbone.path),
            segment=str(segment),
        )
    index = dataset_tables.read_rows(segment / segments.INDEX)
    if len(index) != len(missing):
        raise AssertionError(f"{len(missing)} features asked for, {len(index)} made")
    storage.write_manifest(
        segment, {"backbone": backbone.fingerprint, "features": len(index)}
    )


def build_pipeline(
    pipeline: beam.Pipeline,
    requests: Sequence[FeatureRequest],
    *,
    images: epath.Path,
    backbone: str,
    segment: str,
) -> None:
    """Wire the job.

    Args:
        pipeline: to add to.
        requests: features to compute, in the order of their key.
        images: the image store.
        backbone: the backbone's file.
        segment: folder to write.
    """
    n_shards = -(-len(requests) // SHARD_PICTURES)
    numbered = [
        (number // SHARD_PICTURES, request) for number, request in enumerate(requests)
    ]
    _ = (
        {
            "requests": pipeline | "ListFeatures" >> beam.Create(numbered),
            "images": pipeline | "ReadImages" >> ReadImages(images),
        }
        # (shard, its requests with their pictures)
        | "GatherPictures" >> GatherPictures()
        | "ExtractFeatures" >> beam.ParDo(ExtractShard(backbone, segment, n_shards))
        | "WriteIndex"
        >> WriteTable(
            f"{segment}/{segments.INDEX}", segments.INDEX_SCHEMA, order_by=("key",)
        )
    )


def _write_receipt(
    root: Root,
    date: datetime.date,
    backbone: Backbone,
    needed: list[FeatureRequest],
    missing: list[FeatureRequest],
    started: float,
) -> None:
    root.write_receipt(
        date,
        Receipt(
            stage=Stage.EXTRACT_FEATURES,
            outputs={
                "features": backbone.fingerprint,
                "backbone": backbone.name,
                "weights": backbone.weights,
            },
            counts={
                "needed": len(needed),
                "computed": len(missing),
                "cached": len(needed) - len(missing),
            },
            seconds=round(time.monotonic() - started, 3),
            reused=not missing,
            notes=(backbone.note,) if backbone.note else (),
        ),
    )


if __name__ == "__main__":
    exit_on_input_error(main)
