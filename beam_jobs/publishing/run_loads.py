"""The loads that say how a night went: its stages, its counts and its data set."""

from __future__ import annotations

import collections
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from etils import epath

from beam_jobs.publishing.publication import Load
from tfrecords_schema import dataset_tables
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.statistics_files import read_statistics
from tfrecords_schema.table_folders import published_tables

_ALL = "all"

Row = dict[str, Any]


def run_loads(root: Root, run_date: datetime.date, *, run_id: str) -> Iterator[Load]:
    """The stages of a run up to publishing, and what they counted."""
    receipts = earlier_receipts(root, run_date)
    common = {"run_date": run_date, "run_id": run_id}
    stages = [
        {
            **common,
            "stage": str(receipt.stage),
            "stage_number": list(Stage).index(receipt.stage) + 1,
            "seconds": float(receipt.seconds),
            "reused": receipt.reused,
            "notes": [*receipt.notes, *_decisions(receipt)],
            **_usage(receipt),
        }
        for receipt in receipts
    ]
    counts = [
        {**common, "stage": str(receipt.stage), "name": name, "value": value}
        for receipt in receipts
        for name, value in sorted(_counts(receipt).items())
    ]
    yield _load("pipeline_runs", stages)
    yield _load("pipeline_counts", counts)


def _usage(receipt: Receipt) -> Row:
    """What a stage took; nothing is known of receipts of earlier versions."""
    usage = receipt.usage
    return {
        "runner": usage.runner if usage else None,
        "cpu_seconds": usage.cpu_seconds if usage else None,
        "peak_memory_bytes": usage.peak_memory_bytes if usage else None,
    }


def _decisions(receipt: Receipt) -> list[str]:
    """What decided a stage's output, a note each."""
    return [f"decided by {name}: {value}" for name, value in receipt.decided_by.items()]


def _counts(receipt: Receipt) -> dict[str, int]:
    """What a stage counted; the names of what is measured have a dot in them."""
    return {**receipt.counts, **(receipt.usage.counted if receipt.usage else {})}


def earlier_receipts(root: Root, run_date: datetime.date) -> list[Receipt]:
    """Receipts of the stages before publishing, in order; a skipped stage has none."""
    stages = list(Stage)
    found = (
        root.find_receipt(run_date, stage)
        for stage in stages[: stages.index(Stage.PUBLISH)]
    )
    return [receipt for receipt in found if receipt is not None]


def dataset_load(root: Root, run_date: datetime.date, receipt: Receipt) -> Load:
    """The statistics of the run's data set, and what was turned away.

    Args:
        root: the storage root.
        run_date: the partition.
        receipt: that of `build_dataset`.
    """
    version = receipt.outputs["dataset"]
    folder = root.dataset(version)
    common = {
        "run_date": run_date,
        "dataset_version": version,
        "domain": receipt.outputs["domain"],
    }
    figures = [*_split_figures(folder), *_rejections(folder)]
    return _load("dataset_statistics", [{**common, **figure} for figure in figures])


def _split_figures(folder: epath.Path) -> Iterator[Row]:
    for split, statistics in read_statistics(folder).items():
        yield _figure(split, "records", _ALL, statistics.records)
        for category, records in sorted(statistics.categories.items()):
            yield _figure(split, "records_of_category", category, records)
        for name, field in statistics.fields.items():
            yield _figure(split, "missing", name, field.missing)
            moments = field.moments
            if moments.count:
                yield _figure(split, "mean", name, moments.mean)
                yield _figure(split, "standard_deviation", name, moments.deviation)
                yield _figure(split, "minimum", name, moments.min)
                yield _figure(split, "maximum", name, moments.max)


def _rejections(folder: epath.Path) -> Iterator[Row]:
    codes: collections.Counter[str] = collections.Counter()
    for part in dataset_tables.read_parts(folder / "rejections.parquet", ["code"]):
        codes.update(part["code"].to_pylist())
    for code, count in sorted(codes.items()):
        yield _figure(_ALL, "rejections", code, count)


def _figure(split: str, statistic: str, subject: str, value: float | None) -> Row:
    assert value is not None, f"{statistic} of {subject} without values"
    return {
        "split": split,
        "statistic": statistic,
        "subject": subject,
        "value": float(value),
    }


def _load(name: str, rows: Sequence[Mapping[str, Any]]) -> Load:
    table = published_tables()[name]
    found = pa.Table.from_pylist(list(rows), schema=table.arrow_schema)
    return Load(table=table, rows=ds.dataset(found))
