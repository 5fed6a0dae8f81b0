"""What the image store knows of each picture: its newest status row."""

from __future__ import annotations

from typing import Any

from etils import epath

from tfrecords_schema import dataset_tables
from tfrecords_schema.codes import ImageCode
from tfrecords_schema.segments import INDEX, SegmentStore, part_paths

STATUS = "status"
"""Name of the table in a segment; its parts are read in order, the last row counts."""

LATE_PART = "status-superseding.parquet"
"""A part about the segment as a whole, written after its units, read after theirs."""

Known = dict[tuple[str, str], dict[str, Any]]


def status_parts(segment: epath.Path) -> list[epath.Path]:
    """The status parts of a complete segment.

    A killed job may have left the status of a unit whose records it did not finish;
    without the unit's index part it is not there.
    """
    indexed = {path.name.removeprefix(INDEX) for path in part_paths(segment, INDEX)}
    return [
        path
        for path in part_paths(segment, STATUS)
        if path.name == LATE_PART or path.name.removeprefix(STATUS) in indexed
    ]


def image_status(store: epath.Path) -> Known:
    """The newest status row of every picture ever asked for, by (kind, id).

    Each row also names its `segment`.
    """
    newest: Known = {}
    for segment in SegmentStore(store).segments():
        newest |= segment_status(segment)
    return newest


def segment_status(segment: epath.Path) -> Known:
    """The status rows of one segment, by (kind, id)."""
    newest: Known = {}
    for path in status_parts(segment):
        for row in dataset_tables.read_rows(path):
            newest[key_of(row)] = {**row, "segment": segment.name}
    return newest


def key_of(row: dict[str, Any]) -> tuple[str, str]:
    """What a row is about."""
    return row["kind"], row["image_id"]


def outcome(row: dict[str, Any] | None) -> tuple[str | None, str | None]:
    """What came of a picture, whatever the host was called and said that time."""
    return (row["code"], row["sha256"]) if row else (None, None)


def is_ok(row: dict[str, Any]) -> bool:
    """Whether the picture is there to use."""
    return row["code"] == ImageCode.OK
