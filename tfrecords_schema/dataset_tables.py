"""Parquet tables that lie beside the records: what a data set and a store hold.

These are internal, between jobs; the published tables are in `tfrecords_schema.tables`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.parquet_files import read_parquet


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
        pa.field("attempts", pa.int32()),
        pa.field("elapsed_s", pa.float64()),
        pa.field("final_url", pa.string()),  # after redirects
        pa.field("detail", pa.string()),
    ]
)
"""One row per picture of the catalogue and segment; the newest segment's row counts."""

CATALOG_IMAGES = pa.schema(
    [
        _required("kind", pa.string()),  # scene | product
        _required("image_id", pa.string()),
    ]
)
"""Every picture of a date's catalogue, whether it could be had or not."""

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
        _required("negative_strategy", pa.string()),  # negatives.Strategy
        _required("hard_negatives", pa.int32()),  # of them, those that are semi-hard
        _required("co_positive_ids", pa.list_(pa.string())),
        _required("source_file", pa.string()),
        _required("source_line", pa.int64()),
    ]
)
"""One row per pair of the data set."""

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
        _required("phash", pa.string()),
        _required("width", pa.int32()),
        _required("height", pa.int32()),
        _required("split", pa.string()),
    ]
)
"""Every scene of the catalogue whose picture is in the store."""

TRIPLET_INDEX = pa.schema(
    [
        _required("key", pa.string()),  # pair_id:negative_index
        _required("shard", pa.string()),
        _required("offset", pa.int64()),
        _required("bytes", pa.int64()),
        _required("source_file", pa.string()),
        _required("source_line", pa.int64()),
        # Segments of the image store that the pictures were read from.
        _required("scene_segment", pa.string()),
        _required("product_segment", pa.string()),
        _required("negative_segment", pa.string()),
    ]
)
"""Where every triplet record lies, and where it comes from."""

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
    [
        *((name, pa.string()) for name in ("domain", "scene_id", "category")),
        # Products that its list could hold; null for all of the category.
        ("available", pa.int64()),
    ]
)
"""Beside a ranking run's files: every list that was asked for."""

RANKED_PRODUCTS = pa.schema(
    [(name, pa.string()) for name in ("domain", "product_id", "category")]
)
"""Beside a ranking run's files: every product that could be ranked."""

RANK_REJECTIONS = pa.schema(
    [
        _required("kind", pa.string()),  # scene | product
        _required("id", pa.string()),
        _required("code", pa.string()),  # codes.RankCode
        _required("detail", pa.string()),
    ]
)
"""Beside a ranking run's files: every scene and product that could not be ranked."""

QUERY_ATTENTION = pa.schema(
    [
        _required("run_date", pa.date32()),
        _required("domain", pa.string()),
        _required("scene_id", pa.string()),
        _required("category", pa.string()),
        _required("model_version", pa.string()),
        _required("run_id", pa.string()),
        _required("grid", pa.int64()),  # rows, and columns, of the scene's regions
        pa.field("attention", pa.list_(pa.float64())),  # row by row
    ]
)
"""Beside a ranking run's files: which regions of the scene each query looks at."""


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


def table_path(folder: epath.Path, name: str) -> epath.Path:
    """Where a table of a folder lies, be it a file or a folder of parts."""
    return folder / f"{name}.parquet"


def part_files(path: epath.Path) -> list[epath.Path]:
    """The files of a table, which is one Parquet file or a folder of parts, in order.

    Raises:
        FileNotFoundError: there is no such table.
    """
    if not path.is_dir():
        return [path]
    parts = [part for part in path.iterdir() if part.name.endswith(".parquet")]
    if not parts:
        raise FileNotFoundError(f"{path} holds no part of a table")
    return sorted(parts, key=lambda part: part.name)


def read_parts(
    path: epath.Path, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """A table part by part, so that it need not fit in memory.

    Args:
        path: the table.
        columns: those wanted; None for all.
    """
    for part in part_files(path):
        # Opened here, so that Arrow reads no columns out of names such as `key=[1]`.
        with part.open("rb") as file:
            yield read_parquet(file, columns or None)


def read_table(path: epath.Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole table; see `read_parts`."""
    return pa.concat_tables(read_parts(path, columns))


def read_rows(path: epath.Path) -> list[dict[str, Any]]:
    """All rows of a table, in the order of its parts."""
    return [row for table in read_parts(path) for row in table.to_pylist()]
