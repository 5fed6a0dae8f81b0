"""TFRecord files with random access: framing, checksums, offsets; no TensorFlow.

The format is TensorFlow's (little-endian length, masked CRC-32C of the length, payload,
masked CRC-32C of the payload), so `tf.data.TFRecordDataset` and TFDS read these files.
TensorFlow's own writer reports no offsets and costs every worker its import; the stores
of images and features need the offset of each record to read one without the others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import IO

import google_crc32c

from tfrecords_schema.errors import CorruptRecordError

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8

FRAME_BYTES = _LENGTH.size + 2 * _CRC.size
"""Bytes that the framing adds to every record."""


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset as the TFRecord format wants it."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def frame(record: bytes) -> bytes:
    """One record with its length and checksums."""
    length = _LENGTH.pack(len(record))
    return b"".join(
        (length, _CRC.pack(masked_crc(length)), record, _CRC.pack(masked_crc(record)))
    )


def write_records(file: IO[bytes], records: Iterable[bytes]) -> list[int]:
    """Append records to an empty file; return the offset of each."""
    offsets = []
    position = 0
    for record in records:
        offsets.append(position)
        position += file.write(frame(record))
    return offsets


def read_record(file: IO[bytes]) -> bytes | None:
    """Read the record at the file's position, or None at the end of the file.

    Raises:
        CorruptRecordError: a frame is cut short or a checksum differs.
    """
    header = file.read(_LENGTH.size + _CRC.size)
    if not header:
        return None
    if len(header) < _LENGTH.size + _CRC.size:
        raise CorruptRecordError("TFRecord file ends inside a record's header")
    length_bytes, (crc,) = header[: _LENGTH.size], _CRC.unpack(header[_LENGTH.size :])
    if masked_crc(length_bytes) != crc:
        raise CorruptRecordError("TFRecord length does not match its checksum")
    (length,) = _LENGTH.unpack(length_bytes)
    body = file.read(length + _CRC.size)
    if len(body) < length + _CRC.size:
        raise CorruptRecordError(f"TFRecord of {length} bytes ends early")
    record = body[:length]
    if masked_crc(record) != _CRC.unpack(body[length:])[0]:
        raise CorruptRecordError(f"TFRecord of {length} bytes fails its checksum")
    return record


def read_records(file: IO[bytes]) -> Iterator[bytes]:
    """All records from the file's position on."""
    while (record := read_record(file)) is not None:
        yield record
