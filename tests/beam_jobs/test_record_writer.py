"""Writing tables: every row once, the same bytes however the work was spread."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs import record_writer
from beam_jobs.record_writer import KeyRow, Rows, TableFamily, TableSpec, WriteTables
from tfrecords_schema.dataset_tables import read_rows

ONE_WORKER = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
TWO_WORKERS = [
    "--runner=DirectRunner",
    "--direct_running_mode=multi_threading",
    "--direct_num_workers=2",
]
NUMBERS = TableSpec(
    "numbers",
    pa.schema([("name", pa.string()), ("number", pa.int64()), ("of_name", pa.int64())]),
    ("number", "name"),
)
NAMES = TableSpec("names", pa.schema([("name", pa.string())]), ("name",))
ROWS = [
    (NUMBERS.name, {"name": name, "number": number})
    for number in (2, 10, 1, 30, 4)
    for name in "cab"
] + [(NAMES.name, {"name": name}) for name in "cba"]


def count_names(rows: Rows) -> None:
    """Tell every number how many rows of its part have its name."""
    for row in rows[NUMBERS.name]:
        row["of_name"] = sum(row["name"] == other["name"] for other in rows["numbers"])


def family(n_rows: int) -> TableFamily:
    return TableFamily("by_name", (NUMBERS, NAMES), n_rows, count_names)


def key_row(of: TableFamily, element: tuple[str, dict[str, Any]]) -> Any:
    table, row = element
    return KeyRow(of)(table, row["name"], row)


def write(
    folder: Path,
    rows: list[tuple[str, dict[str, Any]]],
    *,
    n_rows: int = 10,
    flags: list[str] = ONE_WORKER,
) -> dict[str, bytes]:
    """Run the transform; the files it left, by name."""
    folder.mkdir()
    tables = family(n_rows)
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        _ = (
            pipeline
            | beam.Create(rows)
            | beam.Map(functools.partial(key_row, tables))
            | WriteTables(str(folder), [tables])
        )
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.parquet")
        if path.is_file()
    }


def rows_of(folder: Path, table: str) -> list[dict[str, Any]]:
    return read_rows(epath.Path(folder) / f"{table}.parquet")


def test_rows_are_sorted_by_their_columns_in_their_order(tmp_path: Path) -> None:
    files = write(tmp_path / "out", ROWS)

    assert set(files) == {
        "numbers.parquet/00000-of-00001.parquet",
        "names.parquet/00000-of-00001.parquet",
    }
    found = [
        (row["number"], row["name"]) for row in rows_of(tmp_path / "out", "numbers")
    ]
    assert found == [(number, name) for number in (1, 2, 4, 10, 30) for name in "abc"]
    assert pq.read_schema(
        tmp_path / "out" / "numbers.parquet" / "00000-of-00001.parquet"
    ) == (NUMBERS.schema)


@pytest.mark.parametrize("n_parts", [1, 2, 5])
def test_rows_with_one_value_meet_in_one_part_of_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_parts: int
) -> None:
    monkeypatch.setattr(record_writer, "PART_ROWS", 7)
    folder = tmp_path / "out"

    files = write(folder, ROWS, n_rows=7 * n_parts)

    assert len(files) == 2 * n_parts
    numbers = rows_of(folder, "numbers")
    assert len(numbers) == 15
    assert all(row["of_name"] == 5 for row in numbers)
    for part in range(n_parts):
        name = f"{part:05d}-of-{n_parts:05d}.parquet"
        with_number, with_name = (
            {row["name"] for row in pq.read_table(folder / table / name).to_pylist()}
            for table in ("numbers.parquet", "names.parquet")
        )
        assert with_number == with_name


def test_part_holds_about_as_many_rows_as_it_should() -> None:
    tables = TableFamily("f", (NAMES,), 95 * record_writer.PART_ROWS + 1)
    parts = [tables.part_of(f"name {number}") for number in range(9_600)]

    assert tables.n_parts == 96
    counts = [parts.count(part) for part in range(96)]
    # 5 standard deviations of 100 expected rows.
    assert all(50 < count < 150 for count in counts)


@pytest.mark.parametrize("flags", [ONE_WORKER, TWO_WORKERS], ids=["one", "two"])
def test_bytes_do_not_depend_on_order_or_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    monkeypatch.setattr(record_writer, "PART_ROWS", 7)
    shuffled = list(ROWS)
    random.Random(1).shuffle(shuffled)

    first = write(tmp_path / "first", ROWS, n_rows=20)

    assert write(tmp_path / "again", shuffled, n_rows=20, flags=flags) == first


def test_table_without_rows_is_written_with_its_columns(tmp_path: Path) -> None:
    write(tmp_path / "none", [], n_rows=0)

    table = pq.read_table(
        tmp_path / "none" / "numbers.parquet" / "00000-of-00001.parquet"
    )
    assert (table.num_rows, table.schema) == (0, NUMBERS.schema)
