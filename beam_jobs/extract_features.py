"""Run the frozen backbone over the data set's pictures, once per picture for ever.

    python -m beam_jobs.extract_features --backbone=ResNet50 \
        --root=runs --run_date=2026-11-22

Takes the data set of the run date. Features are cached in
`{root}/features/<backbone fingerprint>-<preprocessing>/`, keyed by picture content and
crop; a run computes what the cache lacks and adds it as one immutable segment. A job
that was killed goes on with the units of 512 pictures that it had not finished; when
something else is missing by then, those that it had finished are kept.

Each process that a runner starts loads the network once, whatever its threads. More
workers on one machine cost memory and gain nothing: one network uses all cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.features.feature_requests import (
    FeatureRequest,
    LocatedRequest,
    needed_features,
    work_table,
)
from beam_jobs.features.feature_transforms import BATCH, PREPROCESSING, ExtractUnit
from beam_jobs.launching import run_pipeline, usage_of
from beam_jobs.options import RunOptions, UnitOptions, parse_options
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.segments import RecordLocation, SegmentStore
from tfrecords_schema.usage import Meter
from trainer.backbones.backbones import Backbone, resolve_backbone

log = logging.getLogger(__name__)

UNIT_PICTURES = 16 * BATCH
"""Pictures of a unit: about 50 MB of scene features, and under a minute of one CPU
core's work to lose when a worker dies."""

SHARD_NAME = "features"


class ExtractFeaturesOptions(PipelineOptions):
    """Options of this job alone."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--backbone",
            default="ResNet50",
            help="keras.applications model, or a .keras backbone file",
        )
        parser.add_argument(
            "--grid",
            type=int,
            help="rows and columns of a scene's regions (default: the backbone's own)",
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging(Stage.EXTRACT_FEATURES, argv)
    options = parse_options(
        argv,
        RunOptions,
        UnitOptions,
        ExtractFeaturesOptions,
        description=__doc__.splitlines()[0],
    )
    run = options.view_as(RunOptions)
    root, date = run.storage_root, run.date

    meter = Meter()
    dataset = root.receipt(date, Stage.BUILD_DATASET).outputs["dataset"]
    needed = needed_features(root.dataset(dataset))
    chosen = options.view_as(ExtractFeaturesOptions)
    backbone = resolve_backbone(chosen.backbone, root, grid=chosen.grid)
    name = store_name(backbone)
    size = options.view_as(UnitOptions).pictures_or(UNIT_PICTURES)
    work = plan_work(root.feature_store(name), needed, unit_pictures=size)
    computed = 0
    if work.missing:
        computed = _compute(root, work, backbone, options)
    log.info("%d of %d features computed into %s", computed, len(needed), name)
    receipt = _receipt(backbone, len(needed), computed, meter.seconds)
    usage = usage_of(meter, options)
    root.write_receipt(date, dataclasses.replace(receipt, usage=usage))


def store_name(backbone: Backbone) -> str:
    """The feature store of a backbone and the preprocessing in force."""
    return f"{backbone.fingerprint}-{PREPROCESSING}"


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """What a run has to compute.

    Attributes:
        store: the feature store.
        missing: requests that it cannot answer, in the order of their key.
        unit_pictures: how many of them a worker writes at once.
        digest: of the work, equal when a killed job is started again.
    """

    store: epath.Path
    missing: list[FeatureRequest]
    unit_pictures: int
    digest: str


def plan_work(
    store: epath.Path,
    needed: Sequence[FeatureRequest],
    *,
    unit_pictures: int = UNIT_PICTURES,
) -> Work:
    """Find what a store lacks, after closing what other killed jobs left in it.

    What such a job had finished is missing no longer, so the work is another one then.
    """
    segments = SegmentStore(store)
    while True:
        missing = [request for request in needed if request.key not in segments.index]
        keys = [request.key for request in missing]
        name = digest({"unit": unit_pictures, "keys": keys})
        work = Work(store, missing, unit_pictures, name)
        adopted = segments.adopt(but=work.digest)
        if not adopted:
            return work
        log.info("kept what killed jobs had finished: %s", [f.name for f in adopted])


def _compute(
    root: Root, work: Work, backbone: Backbone, options: PipelineOptions
) -> int:
    """Write the segment; returns how many features this run had to compute."""
    items = _located(root.image_store, work.missing)
    size = work.unit_pictures
    units = [items[n : n + size] for n in range(0, len(items), size)]
    writer = SegmentStore(work.store).writer(work.digest, SHARD_NAME, len(units))
    lacking = [unit for unit in range(len(units)) if not writer.is_written(unit)]
    computed = sum(len(units[unit]) for unit in lacking)
    log.info("%d features to compute with %s", computed, backbone.name)
    if lacking:
        for unit in lacking:
            writer.write_work(unit, work_table(units[unit], root.image_store))
        with run_pipeline(options) as pipeline:
            build_pipeline(
                pipeline,
                lacking,
                ExtractUnit(str(backbone.path), str(root.image_store), writer),
            )
    writer.finish(
        {
            "backbone": backbone.fingerprint,
            "preprocessing": PREPROCESSING,
            "features": len(items),
        }
    )
    _check_complete(work)
    return computed


def build_pipeline(
    pipeline: beam.Pipeline, units: Sequence[int], extract: ExtractUnit
) -> None:
    """Wire the job.

    Args:
        pipeline: to add to.
        units: whose work lies with the writer of `extract`.
        extract: what is done to each.
    """
    _ = (
        pipeline
        | "ListUnits" >> beam.Create(units)
        # Else one worker would get them all.
        | "SpreadUnits" >> beam.Reshuffle()
        # number of features
        | "ExtractFeatures" >> beam.ParDo(extract)
    )


def _located(
    images: epath.Path, requests: Sequence[FeatureRequest]
) -> list[LocatedRequest]:
    """Requests with the place of their picture.

    Raises:
        InputError: the image store lacks a picture.
    """
    index: dict[str, RecordLocation] = SegmentStore(images).index
    absent = {r.sha256 for r in requests if r.sha256 not in index}
    if absent:
        raise InputError(
            f"the image store lacks {len(absent)} pictures, such as {min(absent)}; run "
            "beam_jobs.fetch_images and beam_jobs.build_dataset for this --root again"
        )
    return [LocatedRequest(request, index[request.sha256]) for request in requests]


def _check_complete(work: Work) -> None:
    index = SegmentStore(work.store).index
    lacking = [request.key for request in work.missing if request.key not in index]
    if lacking:
        raise AssertionError(f"{len(lacking)} features were not made: {lacking[0]}")


def _receipt(backbone: Backbone, needed: int, computed: int, seconds: float) -> Receipt:
    return Receipt(
        stage=Stage.EXTRACT_FEATURES,
        outputs={
            "features": store_name(backbone),
            "backbone": backbone.name,
            "weights": backbone.weights,
        },
        counts={
            "needed": needed,
            "computed": computed,
            # By earlier runs, or by this one before it was killed.
            "cached": needed - computed,
        },
        seconds=seconds,
        reused=not computed,
        notes=(backbone.note,) if backbone.note else (),
    )


if __name__ == "__main__":
    exit_on_input_error(main)
