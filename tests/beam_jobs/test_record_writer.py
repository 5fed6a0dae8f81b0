"""Writing shards and tables: the same bytes however the work was spread."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.record_writer import WriteRecords, WriteTable
from tfrecords_schema.segments import INDEX_SCHEMA
from tfrecords_schema.tfrecord_files import FRAME_BYTES, read_record, read_records

ONE_WORKER = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
TWO_WORKERS = [
    "--runner=DirectRunner",
    "--direct_running_mode=multi_threading",
    "--direct_num_workers=2",
]
RECORDS = [
    (f"key {number}", random.Random(number).randbytes(number % 50))
    for number in range(300)
]
TABLE = pa.schema([("name", pa.string()), ("number", pa.int64())])


def shard_file(prefix: str, shard: int, n_shards: int) -> str:
    return f"{prefix}-{shard}-of-{n_shards}"


def write(
    folder: Path,
    records: list[tuple[str, bytes]],
    *,
    shard_bytes: int = 2_000,
    flags: list[str] = ONE_WORKER,
) -> dict[str, bytes]:
    """Run the transform; the files it left, by name."""
    folder.mkdir()
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        _ = (
            pipeline
            | beam.Create(records)
            | beam.Reshuffle()
            | WriteRecords(
                str(folder),
                functools.partial(shard_file, "data"),
                shard_bytes=shard_bytes,
            )
            | WriteTable(str(folder / "index"), INDEX_SCHEMA, order_by=("key",))
        )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "out"
    write(folder, RECORDS)
    return folder


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("data-*"), key=lambda path: int(path.name.split("-")[1]))


def test_every_record_is_written_once(written: Path) -> None:
    found = []
    for shard in shards_of(written):
        with shard.open("rb") as file:
            found += list(read_records(file))

    assert sorted(found) == sorted(record for _, record in RECORDS)


def test_index_says_where_every_record_lies(written: Path) -> None:
    rows = pq.read_table(written / "index").to_pylist()

    assert [row["key"] for row in rows] == sorted(key for key, _ in RECORDS)
    for row in rows:
        with (written / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            assert read_record(file) == dict(RECORDS)[row["key"]]


def test_shards_are_as_many_as_the_bytes_need(written: Path) -> None:
    total = sum(len(record) + FRAME_BYTES for _, record in RECORDS)
    wanted = -(-total // 2_000)
    shards = shards_of(written)

    assert [shard.name for shard in shards] == [
        f"data-{number}-of-{wanted}" for number in range(wanted)
    ]
    assert sum(shard.stat().st_size for shard in shards) == total
    # Dealt out by a hash, so about equal.
    assert max(shard.stat().st_size for shard in shards) < 2 * 2_000


@pytest.mark.parametrize("flags", [ONE_WORKER, TWO_WORKERS], ids=["one", "two"])
def test_bytes_do_not_depend_on_order_or_workers(
    written: Path, tmp_path: Path, flags: list[str]
) -> None:
    shuffled = list(RECORDS)
    random.Random(1).shuffle(shuffled)

    files = write(tmp_path / "again", shuffled, flags=flags)

    assert files == {path.name: path.read_bytes() for path in written.iterdir()}


def test_no_record_leaves_no_shard(tmp_path: Path) -> None:
    files = write(tmp_path / "none", [])

    assert set(files) == {"index"}
    assert pq.read_table(tmp_path / "none" / "index").num_rows == 0


def test_small_input_is_one_shard(tmp_path: Path) -> None:
    files = write(tmp_path / "few", RECORDS[:3], shard_bytes=10**9)

    assert set(files) == {"data-0-of-1", "index"}


def test_table_is_sorted_by_its_columns_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "table"
    rows = [{"name": name, "number": n} for n in (2, 10, 1) for name in ("b", "a")]
    with beam.Pipeline(options=PipelineOptions(ONE_WORKER)) as pipeline:
        _ = (
            pipeline
            | beam.Create(rows)
            | WriteTable(str(path), TABLE, order_by=("number", "name"))
        )

    table = pq.read_table(path)
    assert table.schema == TABLE
    assert table["number"].to_pylist() == [1, 1, 2, 2, 10, 10]
    assert table["name"].to_pylist() == ["a", "b"] * 3


def test_table_without_rows_is_written_with_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "table"
    with beam.Pipeline(options=PipelineOptions(ONE_WORKER)) as pipeline:
        _ = pipeline | beam.Create([]) | WriteTable(str(path), TABLE, order_by=())

    table = pq.read_table(path)
    assert (table.num_rows, table.schema) == (0, TABLE)


def test_a_shard_that_no_record_falls_into_is_a_file_all_the_same(
    tmp_path: Path,
) -> None:
    # Few large records: every one of them fills several shards.
    records = [(f"key {number}", bytes(1_000)) for number in range(6)]
    files = write(tmp_path / "sparse", records, shard_bytes=100)
    n_shards = -(-6 * (1_000 + FRAME_BYTES) // 100)
    names = {shard_file("data", shard, n_shards) for shard in range(n_shards)}
    assert files.keys() == names | {"index"}
    assert sum(map(len, (files[name] for name in names))) == 6 * (1_000 + FRAME_BYTES)
    assert any(not files[name] for name in names)
