"""Reading Parquet: what is asked for, and nothing left behind that ends the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrecords_schema.parquet_files import open_parquet, read_batches, read_parquet

TABLE = pa.table({"key": [f"k{n}" for n in range(5000)], "number": list(range(5000))})

THREADS_LEFT = """
import os, sys
from tfrecords_schema.parquet_files import open_parquet, read_batches, read_parquet

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
for _ in range(3):
    with open(sys.argv[1], "rb") as file:
        read_parquet(file)
    with open(sys.argv[1], "rb") as file:
        list(read_batches(open_parquet(file), 100, ["key"]))
print(threads() - before)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pq.write_table(TABLE, tmp_path / "t.parquet", row_group_size=700)
    return tmp_path / "t.parquet"


def test_columns_come_in_the_order_asked_for(path: Path) -> None:
    with path.open("rb") as file:
        assert read_parquet(file).equals(TABLE)
    with path.open("rb") as file:
        assert read_parquet(file, ["number", "key"]).column_names == ["number", "key"]


def test_absent_column_is_an_error(path: Path) -> None:
    with path.open("rb") as file, pytest.raises(KeyError, match="colour"):
        read_parquet(file, ["key", "colour"])


def test_batches_hold_all_rows_and_are_bounded(path: Path) -> None:
    with path.open("rb") as file:
        batches = list(read_batches(open_parquet(file), 300, ["number"]))

    assert max(batch.num_rows for batch in batches) <= 300
    rows = [n for batch in batches for n in batch.column("number").to_pylist()]
    assert rows == TABLE["number"].to_pylist()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="lists its threads")
def test_no_thread_is_left_that_could_end_the_process(path: Path) -> None:
    # One of them dropping a Python file at exit aborts the process, now and then.
    command = [sys.executable, "-c", THREADS_LEFT, str(path)]
    assert int(subprocess.check_output(command)) == 0
