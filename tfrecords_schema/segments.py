"""Append-only stores of records found by key: the image store and the feature cache.

A store is a folder of segments, each written once by one job run:

    segments/00001-<digest>/<name>-00000-of-00002.tfrecord
    segments/00001-<digest>/index.parquet     key → shard, offset
    segments/00001-<digest>/manifest.json     last: without it the segment is not there

Records are never rewritten; a key found in several segments is read from the newest.
"""

from __future__ import annotations

import functools
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.tfrecord_files import read_record, write_records

INDEX = "index.parquet"
INDEX_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
    ]
)


def pack_shard(
    name: str, records: Iterable[tuple[str, bytes]]
) -> tuple[bytes, list[dict[str, Any]]]:
    """Lay keyed records out as one shard file.

    Returns:
        The file's bytes, and the rows of its records as in `INDEX_SCHEMA`.
    """
    keys = []

    def payloads() -> Iterator[bytes]:
        for key, record in records:
            keys.append(key)
            yield record

    buffer = io.BytesIO()
    offsets = write_records(buffer, payloads())
    rows = [
        {"key": key, "shard": name, "offset": offset}
        for key, offset in zip(keys, offsets, strict=True)
    ]
    return buffer.getvalue(), rows


class SegmentStore:
    """Read access to the complete segments of a store."""

    def __init__(self, path: epath.Path) -> None:
        self.path = path / "segments"

    def segments(self) -> list[epath.Path]:
        """Complete segments, oldest first."""
        if not self.path.exists():
            return []
        return sorted(
            (folder for folder in self.path.iterdir() if storage.is_complete(folder)),
            key=lambda folder: folder.name,
        )

    def next_segment(self, digest: str) -> epath.Path:
        """Where a run whose work has that digest writes its segment."""
        sequence = len(self.segments()) + 1
        return self.path / f"{sequence:05d}-{digest}"

    @functools.cached_property
    def index(self) -> dict[str, tuple[epath.Path, int]]:
        """Key → shard file and offset, over all segments; read once."""
        found = {}
        for segment in self.segments():
            table = pq.read_table(str(segment / INDEX))
            columns = (table[name].to_pylist() for name in INDEX_SCHEMA.names)
            for key, shard, offset in zip(*columns, strict=True):
                found[key] = (segment / shard, offset)
        return found

    def read(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Records of the given keys, shard by shard in file order.

        Yields:
            Pairs of key and serialised record, each key once.

        Raises:
            KeyError: a key is not in the store.
            CorruptRecordError: a shard is shorter than its index says.
        """
        by_shard: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for key in set(keys):
            shard, offset = self.index[key]
            by_shard[str(shard)].append((offset, key))
        for shard_path in sorted(by_shard):
            with epath.Path(shard_path).open("rb") as file:
                for offset, key in sorted(by_shard[shard_path]):
                    file.seek(offset)
                    record = read_record(file)
                    if record is None:
                        raise CorruptRecordError(
                            f"{shard_path} ends before offset {offset}"
                        )
                    yield key, record
