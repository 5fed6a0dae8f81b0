"""Fetch the catalogue's pictures over HTTP into the content-addressed image store.

    python -m beam_jobs.fetch_images --catalog=DIR --image_host=http://… \
        --root=runs --run_date=2026-11-22

Each run asks for the pictures that the store does not hold yet and adds them as one
immutable segment: TFRecord shards of `ImageRecord` (each content once), an index, and a
status row for every picture asked for. In = ok + rejected, by code.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import apache_beam as beam
import urllib3
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.catalog import Catalog, image_urls, read_catalog
from beam_jobs.http_fetch import FetchLimits, fetch, make_pool
from beam_jobs.options import CatalogOptions, RunOptions, parse_options
from beam_jobs.pictures import PictureLimits, check_picture
from beam_jobs.record_writer import WriteRecords, WriteTable
from tfrecords_schema import dataset_tables, segments, storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.codes import ImageCode
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Receipt, Stage
from tfrecords_schema.records import ImageRecord, encode_image

log = logging.getLogger(__name__)

BATCH = 32  # pictures a bundle element; an element through a Reshuffle costs 0.2 ms
STATUS_FILE = "status.parquet"


class FetchImagesOptions(PipelineOptions):
    """Options of this job alone."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--image_host", help="http(s) URL under which /400x/… pictures lie"
        )
        parser.add_argument(
            "--connections", type=int, default=16, help="requests at once per worker"
        )
        parser.add_argument(
            "--max_bytes", type=int, default=20_000_000, help="largest picture file"
        )
        parser.add_argument(
            "--max_pixels", type=int, default=50_000_000, help="largest picture"
        )
        parser.add_argument(
            "--deadline_s", type=float, default=60.0, help="longest wait for a picture"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class FetchConfig:
    """What a worker needs to know."""

    connections: int
    fetch: FetchLimits
    picture: PictureLimits


@dataclasses.dataclass(frozen=True, slots=True)
class ImageRequest:
    """A picture to fetch: `kind` is scene or product."""

    kind: str
    image_id: str
    url: str


class FetchBatch(beam.DoFn):
    """Fetch and check a batch of pictures, several at once.

    Element in: a list of `ImageRequest`.
    Main output: status rows as in `dataset_tables.IMAGE_STATUS`.
    Output `IMAGES`: (sha256, serialised `ImageRecord`) of each picture that is ok.
    """

    IMAGES = "images"

    def __init__(self, config: FetchConfig) -> None:
        """Keep the configuration; connections are made in `setup`."""
        self._config = config

    def setup(self) -> None:
        """Open this worker's connection pool and threads."""
        self._pool = make_pool(self._config.fetch, self._config.connections)
        self._threads = ThreadPoolExecutor(self._config.connections)

    def teardown(self) -> None:
        """Close them."""
        self._threads.shutdown()
        self._pool.clear()

    def process(self, requests: Sequence[ImageRequest]) -> Iterator[Any]:
        """Fetch the batch, in order."""
        results = self._threads.map(
            lambda request: fetch_picture(self._pool, request, self._config), requests
        )
        for row, record in results:
            beam.metrics.Metrics.counter("fetch_images", row["code"]).inc()
            yield row
            if record is not None:
                yield beam.pvalue.TaggedOutput(
                    self.IMAGES, (record.sha256, encode_image(record))
                )


def fetch_picture(
    pool: urllib3.PoolManager, request: ImageRequest, config: FetchConfig
) -> tuple[dict[str, Any], ImageRecord | None]:
    """Fetch and check one picture.

    Returns:
        Its status row, and its record where it is ok.
    """
    response = fetch(pool, request.url, config.fetch)
    row: dict[str, Any] = dict.fromkeys(dataset_tables.IMAGE_STATUS.names)
    row |= dataclasses.asdict(request)
    row |= {
        "code": response.code.value,
        "http_status": response.http_status,
        "detail": response.detail,
    }
    if response.code is not ImageCode.OK:
        return row, None
    sha256 = hashlib.sha256(response.body).hexdigest()
    row |= {"bytes": len(response.body), "sha256": sha256}
    picture = check_picture(response.body, config.picture)
    if isinstance(picture, ImageCode):
        return row | {"code": picture.value}, None
    row |= {name: getattr(picture, name) for name in ("width", "height", "phash")}
    return row, ImageRecord(sha256, picture.jpeg, picture.width, picture.height)


def image_status(store: epath.Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The newest status row of every picture ever asked for, by (kind, id)."""
    newest = {}
    for segment in segments.SegmentStore(store).segments():
        for row in dataset_tables.read_rows(segment / STATUS_FILE):
            newest[row["kind"], row["image_id"]] = row
    return newest


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging()
    options = parse_options(
        argv,
        RunOptions,
        CatalogOptions,
        FetchImagesOptions,
        description=__doc__.splitlines()[0],
    )
    run = options.view_as(RunOptions)
    catalog_options = options.view_as(CatalogOptions)
    root, date = run.storage_root, run.date
    host = _checked_host(options.view_as(FetchImagesOptions).image_host)
    config = _config(options.view_as(FetchImagesOptions))
    catalog = read_catalog(catalog_options.catalog, catalog_options.domain)

    started = time.monotonic()
    before = image_status(root.image_store)
    requests = missing_images(catalog, host, before)
    log.info("%d pictures to fetch from %s", len(requests), host)
    if requests:
        is_all = len(requests) == sum(1 for _ in image_urls(catalog, host))
        _write_segment(
            root.image_store, requests, config, before, options, is_all=is_all
        )
    receipt = _receipt(root.image_store, catalog, requests, started)
    root.write_receipt(date, receipt)
    log.info("pictures of the catalogue by code: %s", receipt.counts)


def missing_images(
    catalog: Catalog, host: str, known: dict[tuple[str, str], dict[str, Any]]
) -> list[ImageRequest]:
    """The catalogue's pictures that the store does not hold, failures included."""
    return [
        ImageRequest(kind, image_id, url)
        for kind, image_id, url in image_urls(catalog, host)
        if known.get((kind, image_id), {}).get("code") != ImageCode.OK
    ]


def _checked_host(host: str | None) -> str:
    try:
        parts = urlsplit(host or "")
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # such as an IPv6 address without its end
        is_url = False
    if not is_url:
        raise InputError(f"--image_host {host!r} is not an http or https URL")
    return str(host)


def _config(options: FetchImagesOptions) -> FetchConfig:
    for name in ("connections", "max_bytes", "max_pixels", "deadline_s"):
        if not getattr(options, name) > 0:  # NaN is not above 0 either
            raise InputError(f"--{name} {getattr(options, name)} must be above 0")
    return FetchConfig(
        connections=options.connections,
        fetch=FetchLimits(max_bytes=options.max_bytes, deadline_s=options.deadline_s),
        picture=PictureLimits(max_pixels=options.max_pixels),
    )


def _write_segment(
    store: epath.Path,
    requests: list[ImageRequest],
    config: FetchConfig,
    before: dict[tuple[str, str], dict[str, Any]],
    options: PipelineOptions,
    *,
    is_all: bool,
) -> None:
    """Fetch the requests into a new segment, unless all failed as they did before.

    Args:
        store: the image store.
        requests: pictures to fetch.
        config: limits.
        before: newest status of every picture the store knows.
        options: of the pipeline.
        is_all: whether the requests are the whole catalogue.

    Raises:
        InputError: the store has not one picture of the catalogue.
    """
    work = digest([f"{request.kind} {request.image_id}" for request in requests])
    segment = segments.SegmentStore(store).next_segment(work)
    storage.start_folder(segment)
    held = frozenset(segments.SegmentStore(store).index)
    with beam.Pipeline(options=options) as pipeline:
        build_pipeline(pipeline, requests, config, segment=str(segment), held=held)

    rows = dataset_tables.read_rows(segment / STATUS_FILE)
    if len(rows) != len(requests):
        raise AssertionError(f"{len(requests)} pictures in, {len(rows)} accounted for")
    counts = Counter(row["code"] for row in rows)
    if is_all and not counts[ImageCode.OK]:
        segment.rmtree()
        raise InputError(_nothing_fetched(rows, counts))
    if all(_outcome(before.get(_key(row), {})) == _outcome(row) for row in rows):
        segment.rmtree()  # the same failures as before: nothing new to keep
        return
    index = dataset_tables.read_rows(segment / segments.INDEX)
    outcome = [[*_key(row), *_outcome(row)] for row in rows]
    storage.write_manifest(
        segment,
        {
            "asked": len(requests),
            "codes": dict(sorted(counts.items())),
            "images": len(index),
            "content": digest(outcome, 64),
        },
    )


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return row["kind"], row["image_id"]


def _outcome(row: dict[str, Any]) -> tuple[str | None, str | None]:
    """What came of a picture, whatever the host was called and said that time."""
    return row.get("code"), row.get("sha256")


def _nothing_fetched(rows: list[dict[str, Any]], counts: Counter[str]) -> str:
    examples = {row["code"]: row for row in reversed(rows)}
    told = "; ".join(
        f"{count} {code}, such as {examples[code]['url']}"
        + (f" ({examples[code]['detail']})" if examples[code]["detail"] else "")
        for code, count in counts.most_common(3)
    )
    return f"none of {len(rows)} pictures could be fetched: {told}; see --image_host"


def build_pipeline(
    pipeline: beam.Pipeline,
    requests: Sequence[ImageRequest],
    config: FetchConfig,
    *,
    segment: str,
    held: frozenset[str],
) -> None:
    """Wire the job.

    Args:
        pipeline: to add to.
        requests: pictures to fetch.
        config: limits.
        segment: folder to write.
        held: sha256 of the contents the store has already.
    """
    batches = [requests[at : at + BATCH] for at in range(0, len(requests), BATCH)]
    fetched = (
        pipeline
        | "ListPictures" >> beam.Create(batches)
        | "SpreadOverWorkers" >> beam.Reshuffle()
        | "FetchPictures"
        >> beam.ParDo(FetchBatch(config)).with_outputs(FetchBatch.IMAGES, main="status")
    )
    _ = fetched["status"] | "WriteStatus" >> WriteTable(
        f"{segment}/{STATUS_FILE}",
        dataset_tables.IMAGE_STATUS,
        order_by=("kind", "image_id"),
    )
    _ = (
        fetched[FetchBatch.IMAGES]
        # (sha256, record); several ids may share one content
        | "DropHeldContents" >> beam.Filter(_is_new, held)
        | "GroupContents" >> beam.GroupByKey()
        | "KeepOne" >> beam.MapTuple(_first)
        | "WriteImages" >> WriteRecords(segment, _shard_name)
        | "WriteIndex"
        >> WriteTable(
            f"{segment}/{segments.INDEX}", segments.INDEX_SCHEMA, order_by=("key",)
        )
    )


def _is_new(element: tuple[str, bytes], held: frozenset[str]) -> bool:
    return element[0] not in held


def _first(sha256: str, records: Iterable[bytes]) -> tuple[str, bytes]:
    return sha256, next(iter(records))


def _shard_name(shard: int, n_shards: int) -> str:
    return f"images-{shard:05d}-of-{n_shards:05d}.tfrecord"


def _receipt(
    store: epath.Path, catalog: Catalog, requests: list[ImageRequest], started: float
) -> Receipt:
    """Account for every picture of the catalogue, as the store now knows it."""
    status = image_status(store)
    counts = Counter(
        status[kind, image_id]["code"] for kind, image_id, _ in image_urls(catalog, "")
    )
    held = [segment.name for segment in segments.SegmentStore(store).segments()]
    return Receipt(
        stage=Stage.FETCH_IMAGES,
        outputs={"segments": str(len(held)), "newest": held[-1] if held else ""},
        counts={
            "pictures": sum(counts.values()),
            "asked_for": len(requests),
            **{code: counts[code] for code in sorted(counts)},
        },
        seconds=round(time.monotonic() - started, 3),
        reused=not requests,
    )


if __name__ == "__main__":
    exit_on_input_error(main)
