"""Append-only stores of records found by key: the image store and the feature cache.

A store is a folder of segments, each written once, unit by unit:

    segments/00001-<digest>/<name>-00000-of-00002.tfrecord   a unit's records
    segments/00001-<digest>/index-00000-of-00002.parquet     key → shard, offset, bytes
    segments/00001-<digest>/manifest.json                    last: the segment is there

The index part is the last file of a unit, so a job that was killed goes on with the
first unit that has none. Records are never rewritten; a key found in several segments
is read from the newest.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
from etils import epath

from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.parquet_files import read_parquet
from tfrecords_schema.tfrecord_files import read_record, write_records

INDEX = "index"
INDEX_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
_WORK = "work"


class RecordLocation(NamedTuple):
    """Where a record lies, so that a worker reads it without any index.

    Attributes:
        path: the shard.
        offset: of the record's frame in it.
        bytes: of the record, without its frame.
    """

    # A named tuple: with every picture one travels between workers, and a dataclass
    # takes half again as long to pickle.
    path: str
    offset: int
    bytes: int


def read_located(location: RecordLocation) -> bytes:
    """Read one record.

    Raises:
        CorruptRecordError: it is not there, or fails its checksum.
    """
    ((_, record),) = _read_shard(location.path, [(location, "")])
    return record


def part_paths(segment: epath.Path, table: str) -> list[epath.Path]:
    """The files of a segment's table, in the order of their units."""
    return sorted(
        path
        for path in segment.iterdir()
        if path.name.startswith((f"{table}-", f"{table}."))
        and path.name.endswith(".parquet")
    )


class SegmentWriter:
    """A segment in the making, unit by unit; workers each hold a copy.

    Units are independent of each other and each is written by one worker at a time;
    what two workers write for the same unit is the same.
    """

    def __init__(self, folder: str, name: str, n_units: int) -> None:
        """Set where to write.

        Args:
            folder: the segment.
            name: of the shards.
            n_units: how many units the segment is cut into.
        """
        self.folder = folder
        self.name = name
        self.n_units = n_units

    @property
    def path(self) -> epath.Path:
        """The segment's folder."""
        return epath.Path(self.folder)

    def part(self, table: str, unit: int, suffix: str = ".parquet") -> epath.Path:
        """A unit's file of a table."""
        return self.path / f"{table}-{unit:05d}-of-{self.n_units:05d}{suffix}"

    def is_written(self, unit: int) -> bool:
        """Whether a unit is complete."""
        return self.part(INDEX, unit).exists()

    def write_work(self, unit: int, work: pa.Table) -> None:
        """Leave a unit's work for the worker that does it; once is enough."""
        path = self.path / _WORK / self.part(_WORK, unit).name
        if not path.exists():
            storage.write_atomic(path, dataset_tables.arrow_bytes(work))

    def read_work(self, unit: int) -> pa.Table:
        """A unit's work."""
        path = self.path / _WORK / self.part(_WORK, unit).name
        with path.open("rb") as file:
            return read_parquet(file)

    def write(
        self,
        unit: int,
        records: Iterable[tuple[str, bytes]],
        tables: Mapping[str, pa.Table] | None = None,
    ) -> list[dict[str, Any]]:
        """Write a unit, streaming its records.

        Args:
            unit: its number, from 0.
            records: key and serialised record, in the order they are to lie.
            tables: what else belongs to the unit, by name.

        Returns:
            The rows of the index part, as in `INDEX_SCHEMA`.
        """
        shard = self.part(self.name, unit, ".tfrecord")
        rows = write_shard(shard, records)
        for name, table in (tables or {}).items():
            data = dataset_tables.arrow_bytes(table)
            storage.write_atomic(self.part(name, unit), data)
        dataset_tables.write_table(self.part(INDEX, unit), rows, INDEX_SCHEMA)
        return rows

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Declare the segment complete.

        Raises:
            AssertionError: a unit is missing.
        """
        missing = [unit for unit in range(self.n_units) if not self.is_written(unit)]
        if missing:
            raise AssertionError(f"{self.folder} lacks its units {missing}")
        _close(self.path, manifest)


def write_shard(
    path: epath.Path, records: Iterable[tuple[str, bytes]]
) -> list[dict[str, Any]]:
    """Stream keyed records into a TFRecord file, whole or not at all.

    Returns:
        The rows of its records as in `INDEX_SCHEMA`.
    """
    rows: list[dict[str, Any]] = []

    def payloads() -> Iterator[bytes]:
        for key, record in records:
            rows.append({"key": key, "shard": path.name, "bytes": len(record)})
            yield record

    with storage.open_atomic(path) as file:
        offsets = write_records(file, payloads())
    for row, offset in zip(rows, offsets, strict=True):
        row["offset"] = offset
    return rows


class SegmentStore:
    """The segments of a store."""

    def __init__(self, path: epath.Path) -> None:
        self.path = path / "segments"

    def segments(self) -> list[epath.Path]:
        """Complete segments, oldest first."""
        return [folder for folder in self._folders() if storage.is_complete(folder)]

    def writer(self, digest: str, name: str, n_units: int) -> SegmentWriter:
        """The segment of a piece of work: the one begun for it, or the next.

        Args:
            digest: of the work.
            name: of the shards.
            n_units: how many units the work is cut into.
        """
        folders = self._folders()
        begun = [
            folder
            for folder in folders
            if folder.name.partition("-")[2] == digest
            and not storage.is_complete(folder)
        ]
        last = int(folders[-1].name.partition("-")[0]) if folders else 0
        folder = begun[0] if begun else self.path / f"{last + 1:05d}-{digest}"
        folder.mkdir(parents=True, exist_ok=True)
        return SegmentWriter(str(folder), name, n_units)

    def adopt(self, *, but: str = "") -> list[epath.Path]:
        """Close segments that killed jobs left, with the units that they finished.

        Args:
            but: digest of work that is about to be taken up again.

        Returns:
            The segments closed; no other job may be writing them.
        """
        adopted = []
        for folder in self._folders():
            if storage.is_complete(folder) or folder.name.partition("-")[2] == but:
                continue
            _close(folder, {"units_finished": len(part_paths(folder, INDEX))})
            adopted.append(folder)
        self.__dict__.pop("index", None)
        return adopted

    @functools.cached_property
    def index(self) -> dict[str, RecordLocation]:
        """Where every record of the store lies; read once.

        Raises:
            CorruptRecordError: a part of it is not what was written.
        """
        found = {}
        for segment in self.segments():
            paths: dict[str, str] = {}  # of shards: one text for all their records
            # Within a segment the first of equal keys counts, between them the last.
            for path in reversed(part_paths(segment, INDEX)):
                table = _read_index(path)
                columns = (table[name].to_pylist() for name in INDEX_SCHEMA.names)
                for key, shard, offset, size in zip(*columns, strict=True):
                    if shard not in paths:
                        paths[shard] = str(segment / shard)
                    found[key] = RecordLocation(paths[shard], offset, size)
        return found

    def read(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Records of the given keys, shard by shard in file order.

        Yields:
            Pairs of key and serialised record, each key once.

        Raises:
            KeyError: a key is not in the store.
            CorruptRecordError: a shard is not what its index says.
        """
        by_shard: dict[str, list[tuple[RecordLocation, str]]] = defaultdict(list)
        for key in set(keys):
            location = self.index[key]
            by_shard[location.path].append((location, key))
        for path in sorted(by_shard):
            yield from _read_shard(path, by_shard[path])

    def _folders(self) -> list[epath.Path]:
        if not self.path.exists():
            return []
        return sorted(self.path.iterdir(), key=lambda folder: folder.name)


def _read_shard(
    path: str, wanted: list[tuple[RecordLocation, str]]
) -> Iterator[tuple[str, bytes]]:
    with epath.Path(path).open("rb") as file:
        for location, key in sorted(wanted, key=lambda item: item[0].offset):
            file.seek(location.offset)
            try:
                record = read_record(file)
            except CorruptRecordError as error:
                raise CorruptRecordError(
                    f"{path} at offset {location.offset}: {error}"
                ) from None
            if record is None:
                raise CorruptRecordError(f"{path} ends before offset {location.offset}")
            yield key, record


def _read_index(path: epath.Path) -> pa.Table:
    try:
        with path.open("rb") as file:
            return read_parquet(file)
    except pa.ArrowInvalid as error:
        raise CorruptRecordError(f"{path} is no whole index: {error}") from None


def _close(folder: epath.Path, manifest: Mapping[str, Any]) -> None:
    if (folder / _WORK).exists():
        (folder / _WORK).rmtree()
    storage.clear_temporary(folder)
    storage.write_manifest(folder, manifest)
