"""Transforms that write sharded TFRecord files and Parquet tables, deterministically.

The shard of a record and its place in it follow from a hash of its key, and the number
of shards from the records' total size; so the files have the same bytes on any runner
with any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from etils import epath

from tfrecords_schema import dataset_tables
from tfrecords_schema.hashing import stable_hash
from tfrecords_schema.segments import pack_shard
from tfrecords_schema.storage import write_atomic
from tfrecords_schema.tfrecord_files import FRAME_BYTES

SHARD_BYTES = 96 * 2**20
"""Aimed-at size of a shard: between 64 MiB, under which an object store's requests cost
more than its bytes, and 128 MiB, as one shard must fit a worker's memory."""


class WriteRecords(beam.PTransform):
    """Write keyed records as shards, ordered by the hash of the key.

    PCollection in: (key, serialised record), keys unique.
    PCollection out: index rows as in `segments.INDEX_SCHEMA`, one per record.
    """

    def __init__(
        self,
        folder: str,
        name: Callable[[int, int], str],
        *,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Set where to write.

        Args:
            folder: an existing folder.
            name: from a shard's number and the number of shards to its file name.
            shard_bytes: aimed-at size of a shard.
        """
        super().__init__()
        self._folder = folder
        self._name = name
        self._shard_bytes = shard_bytes

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        n_shards = (
            records
            | "MeasureRecords" >> beam.MapTuple(lambda _, data: len(data) + FRAME_BYTES)
            | "SumBytes" >> beam.CombineGlobally(sum)
            | "CountShards" >> beam.Map(_shard_count, self._shard_bytes)
        )
        # (shard, (hash, key, record))
        assigned = records | "AssignShards" >> beam.Map(
            _to_shard, beam.pvalue.AsSingleton(n_shards)
        )
        # A shard that no key falls into is written as well: file names promise it.
        every_shard = n_shards | "ListShards" >> beam.FlatMap(lambda n: range(n))
        return (
            {"records": assigned, "shards": every_shard | beam.WithKeys(lambda n: n)}
            | "GroupShards" >> beam.CoGroupByKey()
            | "WriteShards"
            >> beam.ParDo(
                _WriteShard(self._folder, self._name),
                beam.pvalue.AsSingleton(n_shards),
            )
        )


def _shard_count(total_bytes: int, shard_bytes: int) -> int:
    """As many as the bytes fill; none for nothing."""
    return -(-total_bytes // shard_bytes)


def _to_shard(
    element: tuple[str, bytes], n_shards: int
) -> tuple[int, tuple[int, str, bytes]]:
    key, record = element
    position = stable_hash(key)
    # The high bits choose the shard, so that shards in order are hashes in order.
    return (position * n_shards) >> 64, (position, key, record)


class _WriteShard(beam.DoFn):
    def __init__(self, folder: str, name: Callable[[int, int], str]) -> None:
        self._folder = folder
        self._name = name

    def process(
        self, element: tuple[int, dict[str, Iterable[Any]]], n_shards: int
    ) -> Iterator[dict[str, Any]]:
        shard, joined = element
        file_name = self._name(shard, n_shards)
        ordered = sorted(joined["records"])
        data, rows = pack_shard(
            file_name, ((key, record) for _, key, record in ordered)
        )
        write_atomic(epath.Path(self._folder) / file_name, data)
        yield from rows


class WriteTable(beam.PTransform):
    """Write rows as one Parquet file, sorted; an empty input writes an empty table.

    PCollection in: rows as dictionaries.
    PCollection out: the number of rows, one element.
    """

    def __init__(
        self, path: str, schema: pa.Schema, *, order_by: Iterable[str]
    ) -> None:
        """Set where to write.

        Args:
            path: the file.
            schema: of the table.
            order_by: columns that together order the rows fully.
        """
        super().__init__()
        self._path = path
        self._schema = schema
        self._order_by = tuple(order_by)

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        return (
            rows
            | "GatherRows" >> beam.combiners.ToList()
            | "WriteParquet"
            >> beam.Map(_write_rows, self._path, self._schema, self._order_by)
        )


def _write_rows(
    rows: list[dict[str, Any]], path: str, schema: pa.Schema, order_by: tuple[str, ...]
) -> int:
    rows.sort(key=lambda row: tuple(row[name] for name in order_by))
    dataset_tables.write_table(epath.Path(path), rows, schema)
    return len(rows)
