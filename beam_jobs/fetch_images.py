"""Fetch the catalogue's pictures over HTTP into the content-addressed image store.

    python -m beam_jobs.fetch_images --catalog=DIR --image_host=http://… \
        --root=runs --run_date=2026-11-22

Each run asks for the pictures that the store does not hold yet and adds them as one
immutable segment: TFRecord shards of `ImageRecord` (each content once), an index, and a
status row for every picture asked for. In = ok + rejected, by code. A run that was
killed and is started again goes on with the first unit that is not written.

`--image_host` is the operator's word and may be on a private network, as may hosts on
`--allow_hosts`; other addresses of a catalogue, and redirects, may not.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.catalogs.catalog import image_urls, read_catalog
from beam_jobs.fetching.fetch_config import (
    FetchConfig,
    FetchImagesOptions,
    fetch_config,
    parse_retry,
)
from beam_jobs.fetching.fetch_gate import GateLimits, check_success
from beam_jobs.fetching.fetch_lane import FetchLane, UnitSize
from beam_jobs.fetching.fetch_placeholders import superseding_rows
from beam_jobs.fetching.fetch_work import (
    ImageRequest,
    Retry,
    WorkPlan,
    find_work,
    plan_work,
    to_table,
)
from beam_jobs.image_status import (
    LATE_PART,
    Known,
    image_status,
    key_of,
    outcome,
    segment_status,
)
from beam_jobs.launching import run_pipeline, usage_of
from beam_jobs.options import CatalogOptions, RunOptions, UnitOptions, parse_options
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.codes import ImageCode
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Receipt, Stage
from tfrecords_schema.segments import SegmentStore, SegmentWriter
from tfrecords_schema.usage import Meter

log = logging.getLogger(__name__)

SHARDS = "images"

Pictures = Sequence[tuple[str, str, str]]
"""Kind, id and URL of each picture of the catalogue."""


@dataclasses.dataclass(frozen=True, slots=True)
class FetchJob:
    """What a run is told.

    Attributes:
        store: the image store.
        pictures: of the catalogue.
        config: of the workers.
        retry: which failures to ask for again.
        placeholder_ids: ids of one content that make it a placeholder.
        pipeline: Beam's options.
    """

    store: epath.Path
    pictures: Pictures
    config: FetchConfig
    retry: Retry
    placeholder_ids: int
    pipeline: PipelineOptions

    def work(self, known: Known) -> WorkPlan:
        """What there is to do, given what is known."""
        host = self.config.image_host
        requests = find_work(self.pictures, host, known, self.retry)
        return plan_work(
            requests,
            lanes=self.config.lanes,
            unit_pictures=self.config.unit_pictures,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging(Stage.FETCH_IMAGES, argv)
    options = parse_options(
        argv,
        RunOptions,
        CatalogOptions,
        UnitOptions,
        FetchImagesOptions,
        description=__doc__.splitlines()[0],
    )
    run = options.view_as(RunOptions)
    catalog_options = options.view_as(CatalogOptions)
    own = options.view_as(FetchImagesOptions)
    root, date = run.storage_root, run.date
    config, retry = fetch_config(own), parse_retry(own.retry)
    catalog = read_catalog(catalog_options.catalog, catalog_options.domain)
    if catalog.needs_host and not config.image_host:
        raise InputError(
            f"--image_host {own.image_host!r} is not an http or https URL, and the "
            "catalogue does not give its pictures' URLs"
        )
    job = FetchJob(
        store=root.image_store,
        pictures=list(image_urls(catalog, config.image_host)),
        config=config,
        retry=retry,
        placeholder_ids=own.placeholder_ids,
        pipeline=options,
    )
    meter = Meter()
    limits = GateLimits(own.min_success, own.min_host_success)
    counts, asked_for = fetch(job, limits, root.images_on_trial(date))
    # The store also has what earlier catalogues had.
    in_catalog = ((kind, image_id) for kind, image_id, _ in job.pictures)
    _write_pictures(root.catalog_images(date), in_catalog)
    receipt = _receipt(root.image_store, counts, asked_for, meter.seconds)
    usage = usage_of(meter, options)
    root.write_receipt(date, dataclasses.replace(receipt, usage=usage))
    log.info("pictures of the catalogue by code: %s", receipt.counts)


def fetch(
    job: FetchJob, limits: GateLimits, on_trial: epath.Path
) -> tuple[Counter[str], int]:
    """Fetch what is missing, and hold the outcome against the limits.

    What is new stays so until a fetch passes: another try of one that failed would
    find it known, and only the catalogue as a whole would be judged.

    Args:
        job: what to fetch.
        limits: of success.
        on_trial: table of what is new, for as long as no fetch has passed.

    Returns:
        Pictures of the catalogue by code, and how many were asked for.

    Raises:
        InputError: too few of them are ok.
    """
    before, plan = _settle(job)
    new_keys = _read_pictures(on_trial) | {
        (kind, image_id)
        for kind, image_id, _ in job.pictures
        if (kind, image_id) not in before
    }
    if new_keys:
        _write_pictures(on_trial, new_keys)
    n_requests = sum(map(len, plan.units))
    log.info("%d pictures to fetch, besides %d known", n_requests, len(before))
    if plan.units:
        after = _fetch_segment(job, plan, before)
    else:
        after = _mark_placeholders(job, before)
    rows = [after[kind, image_id] for kind, image_id, _ in job.pictures]
    check_success(rows, [row for row in rows if key_of(row) in new_keys], limits)
    on_trial.unlink(missing_ok=True)
    return Counter(row["code"] for row in rows), n_requests


def _settle(job: FetchJob) -> tuple[Known, WorkPlan]:
    """What is known and what is to do, once killed runs are accounted for.

    A killed run of this very work is taken up again. What other killed runs finished
    is kept, and need not be asked for.
    """
    store = SegmentStore(job.store)
    known = image_status(job.store)
    plan = job.work(known)
    if not _is_begun(store, plan) and (adopted := store.adopt()):
        log.info("kept the finished units of %d killed runs", len(adopted))
        known = image_status(job.store)
        plan = job.work(known)
    return known, plan


def _is_begun(store: SegmentStore, plan: WorkPlan) -> bool:
    if not store.path.exists():
        return False
    return any(
        folder.name.partition("-")[2] == plan.digest and not storage.is_complete(folder)
        for folder in store.path.iterdir()
    )


def _fetch_segment(job: FetchJob, plan: WorkPlan, before: Known) -> Known:
    """Fetch the work into a new segment, unless nothing came of it.

    Returns:
        The newest status of every picture.
    """
    store = SegmentStore(job.store)
    writer = store.writer(plan.digest, SHARDS, len(plan.units))
    for number, unit in enumerate(plan.units):
        if not writer.is_written(number):
            writer.write_work(number, to_table(unit))
    with run_pipeline(job.pipeline) as pipeline:
        build_pipeline(pipeline, plan, job.config, writer)

    asked = _accounted(writer, plan.units)
    late = superseding_rows(before | asked, job.placeholder_ids)
    after = before | asked | {key_of(row): row for row in late}
    is_news = any(outcome(before.get(key)) != outcome(after[key]) for key in after)
    if not is_news or not any(row["code"] == ImageCode.OK for row in after.values()):
        # The same failures as before, or a store without a picture: nothing to keep,
        # and the next run asks for everything again.
        writer.path.rmtree()
        return after
    _write_late_part(writer, late)
    writer.finish(_manifest(asked, after))
    return after


def _accounted(writer: SegmentWriter, units: Sequence[Sequence[ImageRequest]]) -> Known:
    """The status rows of a segment whose units are all written.

    Raises:
        AssertionError: a request has none.
    """
    # A killed run may have got as far as this; it follows from the other parts.
    (writer.path / LATE_PART).unlink(missing_ok=True)
    asked = segment_status(writer.path)
    expected = {(item.kind, item.image_id) for unit in units for item in unit}
    if missing := expected - set(asked):
        raise AssertionError(f"{len(missing)} pictures are not accounted for")
    return asked


def _write_late_part(writer: SegmentWriter, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        schema = dataset_tables.IMAGE_STATUS
        dataset_tables.write_table(writer.path / LATE_PART, rows, schema)


def _mark_placeholders(job: FetchJob, known: Known) -> Known:
    """Without anything to fetch: what another `--placeholder_ids` changes."""
    late = superseding_rows(known, job.placeholder_ids)
    if late:
        work = digest([[*key_of(row), row["code"]] for row in late])
        writer = SegmentStore(job.store).writer(work, SHARDS, 0)
        _write_late_part(writer, late)
        writer.finish({"asked": 0, "superseded": len(late)})
    return known | {key_of(row): row for row in late}


def _manifest(asked: Known, after: Known) -> dict[str, Any]:
    outcomes = [[*key, *outcome(after[key])] for key in sorted(asked)]
    codes = Counter(after[key]["code"] for key in asked)
    return {
        "asked": len(asked),
        "codes": dict(sorted(codes.items())),
        "content": digest(outcomes, 64),
    }


def build_pipeline(
    pipeline: beam.Pipeline, plan: WorkPlan, config: FetchConfig, writer: SegmentWriter
) -> None:
    """Wire the job.

    Args:
        pipeline: to add to.
        plan: the work, of which only the sizes are in the pipeline.
        config: of the workers.
        writer: of the segment, with the work of each unit.
    """
    sizes = [
        (lane, UnitSize(number, len(plan.units[number])))
        for lane, numbers in enumerate(plan.lanes)
        for number in numbers
    ]
    _ = (
        pipeline
        | "ListUnits" >> beam.Create(sizes)
        # One element per lane: a lane's units are one worker's, one after the other.
        | "GatherLanes" >> beam.GroupByKey()
        | "ListLaneUnits" >> beam.MapTuple(_as_list)
        | "FetchLanes" >> beam.ParDo(FetchLane(config, writer))
    )


def _as_list(lane: int, units: Iterable[UnitSize]) -> tuple[int, list[UnitSize]]:
    return lane, list(units)


def _read_pictures(path: epath.Path) -> set[tuple[str, str]]:
    """The pictures of a table; none where there is no table."""
    if not path.exists():
        return set()
    rows = dataset_tables.read_rows(path)
    return {(row["kind"], row["image_id"]) for row in rows}


def _write_pictures(path: epath.Path, pictures: Iterable[tuple[str, str]]) -> None:
    """Write down pictures, by kind and id."""
    keys = sorted(pictures)
    table = pa.Table.from_pydict(
        {"kind": [key[0] for key in keys], "image_id": [key[1] for key in keys]},
        schema=dataset_tables.CATALOG_IMAGES,
    )
    storage.write_atomic(path, dataset_tables.arrow_bytes(table))


def _receipt(
    store: epath.Path, codes: Counter[str], asked_for: int, seconds: float
) -> Receipt:
    """Account for every picture of the catalogue, as the store now knows it."""
    held = [segment.name for segment in SegmentStore(store).segments()]
    return Receipt(
        stage=Stage.FETCH_IMAGES,
        outputs={"segments": str(len(held)), "newest": held[-1] if held else ""},
        counts={
            "pictures": codes.total(),
            "asked_for": asked_for,
            **dict(sorted(codes.items())),
        },
        seconds=seconds,
        reused=not asked_for,
    )


if __name__ == "__main__":
    exit_on_input_error(main)
