"""Parquet tables that lie beside the records: what a data set and a store hold.

These are internal, between jobs; the published tables are in `tfrecords_schema.tables`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from tfrecords_schema import storage


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


IMAGE_STATUS = pa.schema(
    [
        _required("image_id", pa.string()),
        _required("kind", pa.string()),  # scene | product
        _required("url", pa.string()),
        _required("code", pa.string()),  # codes.ImageCode
        pa.field("http_status", pa.int32()),
        pa.field("bytes", pa.int64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("sha256", pa.string()),
        pa.field("phash", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
"""One row per picture of the catalogue and segment; the newest segment's row counts."""

PAIRS = pa.schema(
    [
        _required("pair_id", pa.string()),
        _required("split", pa.string()),  # codes.Split
        _required("domain", pa.string()),
        _required("scene_id", pa.string()),
        _required("scene_group", pa.string()),  # scenes with the same content
        _required("scene_sha256", pa.string()),
        _required("crop_px", pa.list_(pa.int32())),  # left, top, right, bottom
        _required("box", pa.list_(pa.float64())),
        _required("product_id", pa.string()),
        _required("product_sha256", pa.string()),
        _required("category", pa.string()),
        _required("product_seen", pa.bool_()),  # as a positive of the train split
        _required("negative_ids", pa.list_(pa.string())),
        _required("co_positive_ids", pa.list_(pa.string())),
        _required("source_line", pa.int64()),
    ]
)
"""One row per pair of the data set, in the order of `pair_id`."""

PRODUCTS = pa.schema(
    [
        _required("product_id", pa.string()),
        _required("domain", pa.string()),
        _required("category", pa.string()),
        _required("sha256", pa.string()),
        _required("phash", pa.string()),
        _required("train_positives", pa.int64()),  # popularity, counted in train
    ]
)
"""Every product of the catalogue whose picture is in the store."""

SCENES = pa.schema(
    [
        _required("scene_id", pa.string()),
        _required("domain", pa.string()),
        _required("scene_group", pa.string()),
        _required("sha256", pa.string()),
        _required("split", pa.string()),
    ]
)
"""Every scene of the catalogue whose picture is in the store."""

REJECTIONS = pa.schema(
    [
        _required("source", pa.string()),  # file, or the step that turned it away
        _required("line", pa.int64()),  # 0 where the source has no lines
        _required("code", pa.string()),  # codes.RowCode or codes.PairCode
        _required("detail", pa.string()),
    ]
)
"""One row per catalogue row or pair that is not in the data set."""


RANKED_QUERIES = pa.schema(
    [(name, pa.string()) for name in ("domain", "scene_id", "category")]
)
"""Beside a ranking run's files: every list that was asked for."""

RANKED_PRODUCTS = pa.schema(
    [(name, pa.string()) for name in ("domain", "product_id", "category")]
)
"""Beside a ranking run's files: every product that could be ranked."""


def table_bytes(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    """A Parquet file of the rows, in their order: same rows, same bytes."""
    return arrow_bytes(pa.Table.from_pylist(list(rows), schema=schema))


def arrow_bytes(table: pa.Table) -> bytes:
    """A Parquet file of a table."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def write_table(
    path: epath.Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema
) -> None:
    """Write a Parquet file atomically."""
    storage.write_atomic(path, table_bytes(rows, schema))


def read_rows(path: epath.Path) -> list[dict[str, Any]]:
    """All rows of a Parquet file."""
    return pq.read_table(str(path)).to_pylist()
