"""Read a written shard back: every record parses, every JPEG decodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import IO

from etils import epath

from beam_jobs.dataset.triplets import triplet_key
from beam_jobs.pictures import decode_all_blocks
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.records import TripletRecord, decode_triplet
from tfrecords_schema.statistics import TripletStatistics
from tfrecords_schema.tfrecord_files import read_records

# Records held for their statistics: so many, and of large pictures fewer.
_BATCH = 64
_BATCH_BYTES = 32 << 20
_DECODE_ERRORS = (OSError, SyntaxError, ValueError)  # what Pillow raises on bad bytes


@dataclasses.dataclass(slots=True)
class VerifiedShard:
    """What was found in a shard.

    Attributes:
        keys: of its records, in their order.
        statistics: of its records.
    """

    keys: list[str] = dataclasses.field(default_factory=list)
    statistics: TripletStatistics = dataclasses.field(default_factory=TripletStatistics)


class DecodedContents:
    """Contents that were decoded: where one stands again, it decodes again.

    Bounded: 200 MB for a process that meets millions of pictures.
    """

    def __init__(self, at_most: int = 1_000_000) -> None:
        """Begin with none."""
        self._at_most = at_most
        self._found: set[tuple[object, ...]] = set()

    def knows(self, jpeg: bytes, size: tuple[int, int] | None = None) -> bool:
        """Whether a content was decoded.

        Args:
            jpeg: the content.
            size: that it should have; with another it must be looked at again.
        """
        return _content(jpeg, size) in self._found

    def add(self, jpeg: bytes, size: tuple[int, int] | None = None) -> None:
        """Note a content that decodes, and to which size if that matters."""
        if len(self._found) == self._at_most:
            self._found.clear()
        self._found.add(_content(jpeg, size))


def _content(jpeg: bytes, size: tuple[int, int] | None) -> tuple[object, ...]:
    return len(jpeg), hash(jpeg), size


def verify_shard(path: str, decoded: DecodedContents | None = None) -> VerifiedShard:
    """Check one shard.

    Args:
        path: the shard.
        decoded: what need not be decoded again.

    Raises:
        CorruptRecordError: naming the file and record.
    """
    found = VerifiedShard()
    decoded = decoded or DecodedContents()
    with epath.Path(path).open("rb") as file:
        for records in _batches(_checked(file, path, decoded)):
            found.keys += [triplet_key(r.pair_id, r.negative_index) for r in records]
            found.statistics.add(records)
    return found


def _batches(records: Iterable[TripletRecord]) -> Iterator[list[TripletRecord]]:
    batch: list[TripletRecord] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.scene_crop) + len(record.product) + len(record.negative)
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _checked(
    file: IO[bytes], path: str, decoded: DecodedContents
) -> Iterator[TripletRecord]:
    at = 0
    try:
        for data in read_records(file):
            record = decode_triplet(data)
            _check_pictures(record, decoded)
            yield record
            at += 1
    except (CorruptRecordError, *_DECODE_ERRORS) as error:
        raise CorruptRecordError(f"{path}, record {at}: {error}") from error


def _check_pictures(record: TripletRecord, decoded: DecodedContents) -> None:
    crop_size = PixelBox(*record.crop_px).size
    if not decoded.knows(record.scene_crop, crop_size):
        size = decode_all_blocks(record.scene_crop)
        if size != crop_size:
            raise CorruptRecordError(f"the crop is {size}, not {crop_size}")
        decoded.add(record.scene_crop, crop_size)
    for jpeg in (record.product, record.negative):
        if not decoded.knows(jpeg):
            decode_all_blocks(jpeg)
            decoded.add(jpeg)
