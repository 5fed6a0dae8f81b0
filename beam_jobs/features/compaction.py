"""Rewrite a store's live records into one segment and retire the segments before it.

A plain loop and no Beam job: copying is bound by the disk or the network, one machine's
stream of it costs a few per cent of what computing the records did, and retiring files
needs one hand.

The order of steps makes every one of them a safe place to be killed at:

1. the new segment is written unit by unit, its manifest last, and read back;
2. each old segment is marked as retired and loses its manifest, so that readers leave
   it; then its index, so that an extraction that adopts the remains finds nothing in
   them; then the rest.

Until 2. begins nothing has been taken away, and from then on the new segment answers
for all that is live. The same command again finishes what is left.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Set
from typing import IO

import pyarrow.compute as pc
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.hashing import digest
from tfrecords_schema.parquet_files import read_parquet
from tfrecords_schema.segments import (
    INDEX,
    RecordLocation,
    SegmentStore,
    SegmentWriter,
    part_paths,
)
from tfrecords_schema.tfrecord_files import FRAME_BYTES, read_record, read_records

log = logging.getLogger(__name__)

UNIT_RECORDS = 512
"""Records of a shard: about 50 MB of scene features, as extraction writes them."""

_SHARD_NAME = "features"
_PREFIX = "compact."
_RETIRED = "retired"
_OPEN_SHARDS = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Compaction:
    """What is to be done to a store, and what for.

    Every record that the store holds is kept, dead or shadowed.

    Attributes:
        store: the store's folder.
        segments: the complete segments that it consists of.
        live: keys that are kept, in order.
        holder: the segment that holds exactly these already, if there is one.
        dead: records whose key nothing needs.
        shadowed: records whose key lies in a newer segment as well.
        bytes_before: of all records.
        bytes_after: of those that are kept.
        remains: incomplete folders of compactions that were killed.
    """

    store: epath.Path
    segments: tuple[epath.Path, ...]
    live: tuple[str, ...]
    holder: epath.Path | None
    dead: int
    shadowed: int
    bytes_before: int
    bytes_after: int
    remains: tuple[epath.Path, ...]

    @property
    def gains(self) -> bool:
        """Whether there is anything to win."""
        retired = [segment for segment in self.segments if segment != self.holder]
        return bool(retired or self.remains)


def plan_compaction(store: epath.Path, needed: Set[str]) -> Compaction:
    """Find out what compacting a store would keep and drop; changes nothing.

    Args:
        store: the store's folder.
        needed: keys that must be kept where the store has them.
    """
    segments = SegmentStore(store)
    index = segments.index
    complete = tuple(segments.segments())
    records = {segment: _index_totals(segment) for segment in complete}
    live = tuple(sorted(key for key in index if key in needed))
    held = sum(count for count, _ in records.values())
    return Compaction(
        store=store,
        segments=complete,
        live=live,
        holder=_holder([index[key] for key in live], records),
        dead=len(index) - len(live),
        shadowed=held - len(index),
        bytes_before=sum(size for _, size in records.values()),
        bytes_after=sum(index[key].bytes + FRAME_BYTES for key in live),
        remains=tuple(_remains(store)),
    )


def _index_totals(segment: epath.Path) -> tuple[int, int]:
    """How many records a segment holds, and their bytes with frames."""
    count = size = 0
    for path in part_paths(segment, INDEX):
        with path.open("rb") as file:
            column = read_parquet(file, ["bytes"])["bytes"]
        count += len(column)
        size += pc.sum(column).as_py() or 0
    return count, size + count * FRAME_BYTES


def _holder(
    live: list[RecordLocation], records: dict[epath.Path, tuple[int, int]]
) -> epath.Path | None:
    places = {str(epath.Path(shard).parent) for shard in {at.path for at in live}}
    for segment, (count, _) in records.items():
        if places == {str(segment)} and count == len(live):
            return segment
    return None


def unfinished_segments(store: epath.Path) -> list[epath.Path]:
    """Segments that an extraction has begun and not completed."""
    remains = _remains(store)
    return [folder for folder in _incomplete(store) if folder not in remains]


def compact(plan: Compaction, *, rewrite: bool = False) -> None:
    """Carry out a plan, or what a killed one left to do.

    Args:
        plan: as `plan_compaction` found it.
        rewrite: write the live records again also where one segment holds just them.

    Raises:
        CorruptRecordError: what was written does not read back; nothing is retired.
    """
    work = _PREFIX + digest({"unit": UNIT_RECORDS, "keys": list(plan.live)})
    holder = None if rewrite else plan.holder
    writes = holder is None and bool(plan.live)
    for folder in plan.remains:
        if not (writes and _digest_of(folder) == work):
            _remove(folder)
    if writes:
        holder = _write(plan, work)
    for segment in plan.segments:
        if segment != holder:
            _remove(segment)


def _write(plan: Compaction, work: str) -> epath.Path:
    units = [
        plan.live[n : n + UNIT_RECORDS] for n in range(0, len(plan.live), UNIT_RECORDS)
    ]
    store = SegmentStore(plan.store)
    writer = store.writer(work, _SHARD_NAME, len(units))
    for unit, keys in enumerate(units):
        if not writer.is_written(unit):
            writer.write(unit, _copies(store.index, keys))
            log.info("%s: shard %d of %d", plan.store.name, unit + 1, len(units))
    _read_back(writer, units)
    writer.finish({"features": len(plan.live)})
    return writer.path


def _copies(
    index: dict[str, RecordLocation], keys: Iterable[str]
) -> Iterator[tuple[str, bytes]]:
    """Records as they are, in the order of the keys.

    Segments are in that order too, so each file is read from its start to its end.
    """
    files: OrderedDict[str, IO[bytes]] = OrderedDict()
    try:
        for key in keys:
            yield key, _read(files, index[key])
    finally:
        for file in files.values():
            file.close()


def _read(files: OrderedDict[str, IO[bytes]], location: RecordLocation) -> bytes:
    if location.path not in files:
        if len(files) == _OPEN_SHARDS:
            files.popitem(last=False)[1].close()
        files[location.path] = epath.Path(location.path).open("rb")
    files.move_to_end(location.path)
    file = files[location.path]
    file.seek(location.offset)
    record = read_record(file)
    if record is None:
        raise CorruptRecordError(f"{location.path} ends before {location.offset}")
    return record


def _read_back(writer: SegmentWriter, units: list[tuple[str, ...]]) -> None:
    """Check every shard against its checksums and keys before originals go."""
    for unit, keys in enumerate(units):
        with writer.part(INDEX, unit).open("rb") as file:
            listed = read_parquet(file, ["key"])["key"].to_pylist()
        with writer.part(writer.name, unit, ".tfrecord").open("rb") as file:
            count = sum(1 for _ in read_records(file))
        if listed != list(keys) or count != len(keys):
            raise CorruptRecordError(
                f"{writer.folder}: unit {unit} reads back as {count} records under "
                f"{len(listed)} keys, not {len(keys)}; remove the folder and compact "
                "again"
            )


def _remains(store: epath.Path) -> list[epath.Path]:
    """New segments that were not finished, and old ones that were being removed."""
    return [
        folder
        for folder in _incomplete(store)
        if _digest_of(folder).startswith(_PREFIX)
        or (folder / _RETIRED).exists()
        or not any(folder.iterdir())
    ]


def _incomplete(store: epath.Path) -> list[epath.Path]:
    folder = SegmentStore(store).path
    if not folder.exists():
        return []
    return sorted(path for path in folder.iterdir() if not storage.is_complete(path))


def _digest_of(segment: epath.Path) -> str:
    return segment.name.partition("-")[2]


def _remove(segment: epath.Path) -> None:
    storage.write_atomic(segment / _RETIRED, b"")
    (segment / storage.MANIFEST).unlink(missing_ok=True)
    for part in part_paths(segment, INDEX):
        part.unlink()
    for path in list(segment.iterdir()):
        if path.is_dir():
            path.rmtree()
        elif path.name != _RETIRED:
            path.unlink()
    segment.rmtree()
