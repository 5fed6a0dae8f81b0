"""A retailer's tables for tests, written in any of the formats."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from beam_jobs.catalogs.catalog_rows import BadRow
from beam_jobs.catalogs.table_catalog import SCENES
from beam_jobs.catalogs.table_files import TableSpec, read_table

FORMATS = ("csv", "parquet", "jsonl")
COLUMNS = {
    "scenes": ("scene_id", "image_url"),
    "products": ("product_id", "category", "image_url"),
    "pairs": ("scene_id", "product_id", "left", "top", "right", "bottom"),
}
Rows = Sequence[tuple[Any, ...]]

GOOD: dict[str, Rows] = {
    "scenes": [
        ("street 1", "https://shop.example/s/1.jpg"),
        ("Straße/2", "http://shop.example/s/2.jpg?size=400&x=a,b"),
        ("unpaired", "https://shop.example/s/3.jpg"),
    ],
    "products": [
        ("sku=1", "Home & Garden|Decor|Rugs", "https://shop.example/p/1.jpg"),
        ("00042", "Shoes", "https://cdn.example:8443/p/42"),
    ],
    "pairs": [
        ("street 1", "sku=1", 0.1, 0.2, 0.3, 0.4),
        ("Straße/2", "00042", 0.0, 0.0, 1.0, 0.5),
        ("Straße/2", "sku=1", 0.5, 0.5, 1.0, 1.0),
    ],
}


def write_tables(
    folder: Path, kind: str = "csv", tables: Mapping[str, Rows] = GOOD
) -> None:
    """Write all three tables in one format."""
    for name in COLUMNS:
        write_table(folder, name, kind, tables.get(name, GOOD[name]))


def write_table(folder: Path, name: str, kind: str, rows: Rows) -> None:
    """Write one table, in place of the same in another format."""
    for other in FORMATS:
        (folder / f"{name}.{other}").unlink(missing_ok=True)
    path = folder / f"{name}.{kind}"
    columns = COLUMNS[name]
    if kind == "csv":
        path.write_text(csv_text([columns, *rows]), newline="")
    elif kind == "jsonl":
        dicts = [dict(zip(columns, row, strict=True)) for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in dicts))
    else:
        values = zip(*rows, strict=True) if rows else [[] for _ in columns]
        arrays = [pa.array(list(column)) for column in values]
        pq.write_table(pa.table(dict(zip(columns, arrays, strict=True))), path)


def csv_text(rows: Rows) -> str:
    """Rows as a spreadsheet writes them."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def write_parquet(path: Path, **columns: pa.Array) -> Path:
    """A Parquet file of any columns, in several row groups."""
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def rows_of(path: Path, spec: TableSpec = SCENES) -> list[tuple[int, Any]]:
    """Line and values of each row; of a bad one its code."""
    return [
        (line, row.code if isinstance(row, BadRow) else tuple(row.values()))
        for line, row in read_table(epath.Path(path), spec)
    ]
