"""Reading tables: one file or a folder of parts, whatever the path looks like."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from etils import epath

from tfrecords_schema.dataset_tables import (
    part_files,
    read_parts,
    read_rows,
    read_table,
    write_table,
)

SCHEMA = pa.schema([("key", pa.string()), ("number", pa.int64())])
ROWS = [{"key": f"k{number}", "number": number} for number in range(6)]


@pytest.fixture(params=["plain", "key=1", "it's run=[2] ?"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path) / request.param


def write_parts(folder: epath.Path, n_parts: int) -> epath.Path:
    """The rows as a folder of parts, and something that is none beside them."""
    table = folder / "table.parquet"
    size = -(-len(ROWS) // n_parts)
    for part in reversed(range(n_parts)):
        rows = ROWS[part * size : (part + 1) * size]
        path = table / f"{part:05d}-of-{n_parts:05d}.parquet"
        write_table(path, rows, SCHEMA)
    (table / ".00009-of-00009.parquet.1234.tmp").write_bytes(b"half")
    return table


@pytest.mark.parametrize("n_parts", [1, 2, 6])
def test_parts_are_one_table_in_their_order(folder: epath.Path, n_parts: int) -> None:
    table = write_parts(folder, n_parts)

    assert read_rows(table) == ROWS
    assert read_table(table).to_pylist() == ROWS
    assert len(part_files(table)) == n_parts


def test_single_file_is_a_table(folder: epath.Path) -> None:
    write_table(folder / "table.parquet", ROWS, SCHEMA)

    assert read_rows(folder / "table.parquet") == ROWS
    assert read_table(folder / "table.parquet").schema == SCHEMA


def test_only_the_columns_asked_for_are_read(folder: epath.Path) -> None:
    parts = list(read_parts(write_parts(folder, 2), ["number"]))

    assert [part.column_names for part in parts] == [["number"], ["number"]]
    assert read_table(folder / "table.parquet", ["number"])["number"].to_pylist() == [
        *range(6)
    ]


def test_table_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_rows(epath.Path(tmp_path) / "nothing.parquet")
    (tmp_path / "empty.parquet").mkdir()
    with pytest.raises(FileNotFoundError):
        read_rows(epath.Path(tmp_path) / "empty.parquet")
