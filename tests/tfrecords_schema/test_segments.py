"""Segment stores: only finished segments are seen, and the newest record counts."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from etils import epath

from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.segments import (
    INDEX,
    RecordLocation,
    SegmentStore,
    part_paths,
    read_located,
)


@pytest.fixture
def folder(tmp_path: Path) -> epath.Path:
    # Readers of partitioned folders take such a name for a column.
    return epath.Path(tmp_path / "key=[1]")


def add_segment(
    folder: epath.Path,
    records: dict[str, bytes],
    *,
    digest: str = "d",
    units: int = 1,
    finish: bool = True,
) -> epath.Path:
    """Write a segment as a job would, the records dealt over its units in turn."""
    writer = SegmentStore(folder).writer(digest, "records", units)
    for unit in range(units):
        writer.write(unit, [(key, records[key]) for key in list(records)[unit::units]])
    if finish:
        writer.finish({})
    return writer.path


def test_store_that_does_not_exist_is_empty(folder: epath.Path) -> None:
    store = SegmentStore(folder)

    assert store.segments() == []
    assert store.index == {}
    assert list(store.read([])) == []


def test_records_are_found_by_key_over_segments_and_units(folder: epath.Path) -> None:
    first = {f"a{number}": f"first {number}".encode() for number in range(7)}
    second = {f"b{number}": b"second" * number for number in range(5)}
    add_segment(folder, first, units=3)
    add_segment(folder, second, units=2)
    store = SegmentStore(folder)

    assert dict(store.read([*second, *first])) == first | second
    assert dict(store.read(["b4", "a0"])) == {"b4": b"second" * 4, "a0": b"first 0"}
    assert set(store.index) == set(first) | set(second)


def test_records_of_a_shard_share_the_text_of_its_path(folder: epath.Path) -> None:
    # Of ten million records, ten million copies of a path would be gigabytes.
    for name in ("a", "b"):
        records = {f"{name}{n}": b"record" for n in range(20)}
        add_segment(folder, records, digest=name, units=2)

    found = [location.path for location in SegmentStore(folder).index.values()]

    assert len(set(found)) == len({id(path) for path in found}) == 4


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


def test_killed_work_goes_on_in_its_own_segment_with_the_units_it_lacks(
    folder: epath.Path,
) -> None:
    add_segment(folder, {"a": b"1"})
    killed = SegmentStore(folder).writer("work", "records", 3)
    killed.write(1, [("b", b"2")])
    (killed.path / ".records.1234.tmp").write_bytes(b"half")

    again = SegmentStore(folder).writer("work", "records", 3)

    assert again.path == killed.path
    assert [again.is_written(unit) for unit in range(3)] == [False, True, False]
    again.write(0, [("c", b"3")])
    again.write(2, [])
    again.finish({})
    assert dict(SegmentStore(folder).read(["a", "b", "c"])) == {
        "a": b"1",
        "b": b"2",
        "c": b"3",
    }
    assert not list(Path(killed.path).glob(".*"))


def test_unit_killed_before_its_index_is_not_written(folder: epath.Path) -> None:
    writer = SegmentStore(folder).writer("work", "records", 1)
    writer.write(0, [("a", b"1")])
    writer.part(INDEX, 0).unlink()

    assert not SegmentStore(folder).writer("work", "records", 1).is_written(0)
    with pytest.raises(AssertionError, match=r"lacks its units \[0\]"):
        writer.finish({})


def test_other_work_takes_the_next_number_after_an_unfinished_segment(
    folder: epath.Path,
) -> None:
    first = add_segment(folder, {"a": b"1"}, digest="one", finish=False)
    second = SegmentStore(folder).writer("two", "records", 1)

    assert Path(first).name == "00001-one"
    assert second.path.name == "00002-two"


def test_adopting_keeps_the_finished_units_of_killed_work(folder: epath.Path) -> None:
    killed = SegmentStore(folder).writer("killed", "records", 2)
    killed.write(1, [("b", b"2")])
    going_on = SegmentStore(folder).writer("going on", "records", 1)
    store = SegmentStore(folder)
    assert store.index == {}

    assert store.adopt(but="going on") == [killed.path]

    assert dict(store.read(["b"])) == {"b": b"2"}
    assert SegmentStore(folder).writer("going on", "r", 1).path == going_on.path


def test_work_of_a_unit_is_left_for_its_worker_and_gone_at_the_end(
    folder: epath.Path,
) -> None:
    writer = SegmentStore(folder).writer("work", "records", 1)
    work = pa.table({"url": ["http://a", "http://b"]})
    writer.write_work(0, work)

    copy = pickle.loads(pickle.dumps(writer))
    assert copy.read_work(0).equals(work)
    copy.write(0, [], {"status": work})
    writer.finish({})

    assert [path.name for path in part_paths(writer.path, "status")] == [
        "status-00000-of-00001.parquet"
    ]
    assert not (writer.path / "work").exists()


def test_shard_shorter_than_its_index_is_corrupt(folder: epath.Path) -> None:
    segment = add_segment(folder, {"a": b"1", "b": b"2"})
    shard = segment / "records-00000-of-00001.tfrecord"
    whole = shard.read_bytes()
    store = SegmentStore(folder)

    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        shard.write_bytes(whole[:length])
        with pytest.raises(CorruptRecordError):
            list(store.read(["a", "b"]))


def test_index_lists_where_every_record_lies(folder: epath.Path) -> None:
    segment = add_segment(folder, {"a": b"12345", "b": b"2"})

    index = SegmentStore(folder).index

    shard = str(segment / "records-00000-of-00001.tfrecord")
    assert index["a"] == RecordLocation(shard, 0, 5)
    # 12 bytes of header, 5 of record, 4 of checksum.
    assert index["b"] == RecordLocation(shard, 21, 1)
    assert read_located(index["b"]) == b"2"
