"""The load of the pictures' last known status, out of the segments of the store."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.dataset as ds
from etils import epath

from beam_jobs.image_status import LATE_PART, status_parts
from beam_jobs.publishing.publication import Load
from beam_jobs.publishing.sources import read
from tfrecords_schema import dataset_tables
from tfrecords_schema.layout import Root
from tfrecords_schema.segments import SegmentStore
from tfrecords_schema.table_folders import published_tables

_IMAGE_KEY = ["kind", "image_id"]


def image_status_load(root: Root, run_date: datetime.date) -> Load:
    """The last known status of every picture of a date's catalogue.

    Of every picture of the store, where a version before `catalog_images` fetched them.
    """
    table = published_tables()["image_status"]
    latest = latest_status(SegmentStore(root.image_store).segments())
    if (path := root.catalog_images(run_date)).exists():
        wanted = read(path, dataset_tables.CATALOG_IMAGES)
        latest = latest.join(wanted, keys=_IMAGE_KEY, join_type="left semi")
    dated = _with_constant(latest, "run_date", pa.scalar(run_date, pa.date32()))
    # Types only: a null where none may be is staging's to refuse, by name.
    types = pa.schema([field.with_nullable(True) for field in table.arrow_schema])
    rows = dated.select(table.column_names).cast(types)
    return Load(table=table, rows=ds.dataset(rows))


def latest_status(segments: Sequence[epath.Path]) -> pa.Table:
    """The newest status of each picture.

    Args:
        segments: oldest first.

    Returns:
        Columns of `dataset_tables.IMAGE_STATUS`. A picture that two units of one
        segment name stays twice: that is a fault, which the checks are to see.
    """
    parts = [
        _with_constant(
            read(path, dataset_tables.IMAGE_STATUS), "age", pa.scalar(age, pa.int64())
        )
        for age, path in _aged_parts(segments)
    ]
    if not parts:
        return dataset_tables.IMAGE_STATUS.empty_table()
    rows = pa.concat_tables(parts)
    newest = (
        rows.group_by(_IMAGE_KEY)
        .aggregate([("age", "max")])
        .rename_columns([*_IMAGE_KEY, "age"])
    )
    joined = rows.join(newest, keys=[*_IMAGE_KEY, "age"], join_type="inner")
    return joined.select(dataset_tables.IMAGE_STATUS.names)


def _aged_parts(
    segments: Sequence[epath.Path],
) -> Iterator[tuple[int, epath.Path]]:
    """Status parts with their age: later is newer, units of a segment are equal."""
    for number, segment in enumerate(segments):
        for path in status_parts(segment):
            yield 2 * number + (path.name == LATE_PART), path


def _with_constant(table: pa.Table, name: str, value: pa.Scalar) -> pa.Table:
    return table.append_column(name, pa.repeat(value, len(table)))
