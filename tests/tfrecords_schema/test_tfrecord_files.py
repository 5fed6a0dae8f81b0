"""TFRecord files: TensorFlow's own format, every damage noticed, random access."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.tfrecord_files import (
    FRAME_BYTES,
    frame,
    masked_crc,
    read_record,
    read_records,
    write_records,
)

record_lists = st.lists(st.binary(max_size=40), max_size=6)


def written(records: list[bytes]) -> tuple[bytes, list[int]]:
    file = io.BytesIO()
    offsets = write_records(file, records)
    return file.getvalue(), offsets


def crc32c(data: bytes) -> int:
    """CRC-32C bit by bit, from its definition (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@given(record_lists)
def test_written_records_are_read_in_order(records: list[bytes]) -> None:
    data, _ = written(records)

    assert list(read_records(io.BytesIO(data))) == records


@given(record_lists, st.randoms(use_true_random=False))
def test_offsets_give_access_in_any_order(records: list[bytes], random: object) -> None:
    data, offsets = written(records)
    order = list(range(len(records)))
    random.shuffle(order)  # type: ignore[attr-defined]

    file = io.BytesIO(data)
    for number in order:
        file.seek(offsets[number])
        assert read_record(file) == records[number]


@given(record_lists)
def test_file_size_is_records_plus_frames(records: list[bytes]) -> None:
    data, _ = written(records)

    assert len(data) == sum(len(record) + FRAME_BYTES for record in records)


def test_crc_check_value_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the oracle's own check value


@given(st.binary(max_size=30))
def test_frame_follows_the_published_layout(record: bytes) -> None:
    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32

    length = struct.pack("<Q", len(record))

    assert masked_crc(record) == masked(record)
    assert frame(record) == (
        length
        + struct.pack("<I", masked(length))
        + record
        + struct.pack("<I", masked(record))
    )


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=25), min_size=1, max_size=3), st.data())
def test_any_flipped_byte_is_noticed(records: list[bytes], data: st.DataObject) -> None:
    whole, _ = written(records)
    position = data.draw(st.integers(0, len(whole) - 1))
    change = data.draw(st.integers(1, 255))
    broken = bytearray(whole)
    broken[position] ^= change

    with pytest.raises(CorruptRecordError):
        list(read_records(io.BytesIO(bytes(broken))))


def test_any_cut_inside_a_record_is_noticed() -> None:
    data, _ = written([b"0123456789"])

    for length in range(1, len(data)):
        with pytest.raises(CorruptRecordError):
            list(read_records(io.BytesIO(data[:length])))


def test_reading_starts_in_the_middle_of_a_record_is_noticed() -> None:
    data, offsets = written([b"first record", b"second record"])

    for start in range(1, offsets[1]):
        with pytest.raises(CorruptRecordError):
            list(read_records(io.BytesIO(data[start:])))


def test_empty_file_holds_no_record() -> None:
    assert read_record(io.BytesIO(b"")) is None
    assert list(read_records(io.BytesIO(b""))) == []


def test_tensorflow_reads_and_writes_the_same_files(tmp_path: Path) -> None:
    import tensorflow as tf  # here, as its import takes seconds

    records = [b"", b"\x00", b"a picture" * 50, bytes(range(256))]
    ours, theirs = tmp_path / "ours.tfrecord", tmp_path / "theirs.tfrecord"
    with ours.open("wb") as file:
        write_records(file, records)
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for record in records:
            writer.write(record)

    read = list(tf.data.TFRecordDataset(str(ours)).as_numpy_iterator())

    assert read == records
    assert theirs.read_bytes() == ours.read_bytes()
