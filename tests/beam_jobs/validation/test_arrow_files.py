"""Arrow reads tables through our own paths: lazily, repeatedly, and reading only."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from etils import epath

from beam_jobs.validation import arrow_files

PARTS, ROWS = 3, 1000


class BucketPath:
    """An object's path as TensorFlow opens it: a context, and a file without `closed`.

    Attributes:
        opened: how many files there were.
        held: how many of them are open.
    """

    folder: Path
    opened = held = 0

    def __init__(self, name: str) -> None:
        self._name = name.removeprefix("gs://bucket/")

    @contextlib.contextmanager
    def open(self, mode: str) -> Iterator[Any]:
        file = io.BytesIO((self.folder / self._name).read_bytes())
        BucketPath.opened += 1
        BucketPath.held += 1
        try:
            yield _BareFile(file)
        finally:
            BucketPath.held -= 1
            file.close()


class _BareFile:
    def __init__(self, file: io.BytesIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@pytest.fixture
def parts(tmp_path: Path) -> list[str]:
    names = [f"part-{number}.parquet" for number in range(PARTS)]
    for number, name in enumerate(names):
        first = number * ROWS
        table = pa.table({"n": range(first, first + ROWS), "text": ["x"] * ROWS})
        pq.write_table(table, tmp_path / name, row_group_size=100)
    return names


def open_table(names: list[str]) -> ds.Dataset:
    filesystem = arrow_files.remote_filesystem()
    return ds.dataset(names, filesystem=filesystem, format="parquet")


def test_objects_are_read_as_often_as_asked_and_closed_again(
    parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_files.epath, "Path", BucketPath)
    monkeypatch.setattr(BucketPath, "folder", tmp_path, raising=False)
    table = open_table([f"gs://bucket/{name}" for name in parts])

    with duckdb.connect() as connection:
        connection.register("numbers", table)
        query = "SELECT count(*), sum(n) FROM numbers WHERE n < 2500"
        found = [connection.execute(query).fetchone() for _ in range(3)]

    assert found == [(2500, 2499 * 2500 // 2)] * 3
    assert BucketPath.opened > PARTS
    del table
    assert BucketPath.held == 0


def test_file_that_is_absent_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_table([str(tmp_path / "gone.parquet")])


def test_file_of_another_format_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("not Parquet, but long enough to be")

    with pytest.raises(pa.ArrowInvalid):
        open_table([str(tmp_path / "text.parquet")])


def test_what_a_name_is_can_be_asked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    filesystem = arrow_files.remote_filesystem()
    names = [str(epath.Path(tmp_path) / name) for name in ("", "file", "gone")]

    found = [info.type.name for info in filesystem.get_file_info(names)]

    assert found == ["Directory", "File", "NotFound"]


def test_nothing_is_written(tmp_path: Path) -> None:
    filesystem = arrow_files.remote_filesystem()

    with pytest.raises(NotImplementedError, match="only read"):
        filesystem.open_output_stream(str(tmp_path / "new"))
    with pytest.raises(NotImplementedError, match="only read"):
        filesystem.delete_file(str(tmp_path / "old"))

    assert list(tmp_path.iterdir()) == []
