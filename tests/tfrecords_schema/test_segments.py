"""Segment stores: only finished segments are seen, and the newest record counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.dataset_tables import write_table
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.segments import INDEX, INDEX_SCHEMA, SegmentStore
from tfrecords_schema.tfrecord_files import write_records


@pytest.fixture
def folder(tmp_path: Path) -> epath.Path:
    # Readers of partitioned folders take such a name for a column.
    return epath.Path(tmp_path / "key=[1]")


def add_segment(
    folder: epath.Path,
    records: dict[str, bytes],
    *,
    digest: str = "d",
    shards: int = 1,
    finish: bool = True,
) -> epath.Path:
    """Write a segment as a job would, the records dealt over its shards in turn."""
    segment = SegmentStore(folder).next_segment(digest)
    storage.start_folder(segment)
    rows = []
    for shard in range(shards):
        keys = list(records)[shard::shards]
        name = f"records-{shard}.tfrecord"
        with (segment / name).open("wb") as file:
            offsets = write_records(file, [records[key] for key in keys])
        rows += [
            {"key": key, "shard": name, "offset": offset}
            for key, offset in zip(keys, offsets, strict=True)
        ]
    write_table(segment / INDEX, rows, INDEX_SCHEMA)
    if finish:
        storage.write_manifest(segment, {})
    return segment


def test_store_that_does_not_exist_is_empty(folder: epath.Path) -> None:
    store = SegmentStore(folder)

    assert store.segments() == []
    assert store.index == {}
    assert list(store.read([])) == []


def test_records_are_found_by_key_over_segments_and_shards(folder: epath.Path) -> None:
    first = {f"a{number}": f"first {number}".encode() for number in range(7)}
    second = {f"b{number}": b"second" * number for number in range(5)}
    add_segment(folder, first, shards=3)
    add_segment(folder, second, shards=2)
    store = SegmentStore(folder)

    assert dict(store.read([*second, *first])) == first | second
    assert dict(store.read(["b4", "a0"])) == {"b4": b"second" * 4, "a0": b"first 0"}
    assert set(store.index) == set(first) | set(second)


def test_unfinished_segment_is_invisible(folder: epath.Path) -> None:
    add_segment(folder, {"a": b"kept"})
    add_segment(folder, {"a": b"half", "b": b"half"}, finish=False)
    store = SegmentStore(folder)

    assert len(store.segments()) == 1
    assert dict(store.read(["a"])) == {"a": b"kept"}
    assert "b" not in store.index


def test_newest_segment_wins_when_a_key_is_in_several(folder: epath.Path) -> None:
    # Digests in falling order: the sequence decides and not the name's rest.
    for number, digest in enumerate(("ff", "aa", "00")):
        add_segment(folder, {"a": str(number).encode()}, digest=digest)

    assert dict(SegmentStore(folder).read(["a"])) == {"a": b"2"}


def test_newest_segment_wins_when_there_are_more_than_nine(folder: epath.Path) -> None:
    for number in range(11):
        add_segment(folder, {"a": str(number).encode()})

    assert dict(SegmentStore(folder).read(["a"])) == {"a": b"10"}


def test_key_asked_for_twice_is_read_once(folder: epath.Path) -> None:
    add_segment(folder, {"a": b"1", "b": b"2"})

    assert list(SegmentStore(folder).read(["a", "a", "a"])) == [("a", b"1")]


def test_unknown_key_is_a_key_error(folder: epath.Path) -> None:
    add_segment(folder, {"a": b"1"})

    with pytest.raises(KeyError, match="nobody"):
        list(SegmentStore(folder).read(["a", "nobody"]))


def test_next_segment_is_written_where_the_killed_one_was(folder: epath.Path) -> None:
    add_segment(folder, {"a": b"1"})
    killed = add_segment(folder, {"b": b"half"}, digest="work", finish=False)

    assert SegmentStore(folder).next_segment("work") == killed


def test_shard_shorter_than_its_index_is_corrupt(folder: epath.Path) -> None:
    segment = add_segment(folder, {"a": b"1", "b": b"2"})
    shard = segment / "records-0.tfrecord"
    whole = shard.read_bytes()
    store = SegmentStore(folder)

    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        shard.write_bytes(whole[:length])
        with pytest.raises(CorruptRecordError):
            list(store.read(["a", "b"]))


def test_index_lists_where_every_record_lies(folder: epath.Path) -> None:
    segment = add_segment(folder, {"a": b"12345", "b": b"2"})

    index = SegmentStore(folder).index

    assert index["a"] == (segment / "records-0.tfrecord", 0)
    # 12 bytes of header, 5 of record, 4 of checksum.
    assert index["b"] == (segment / "records-0.tfrecord", 21)
