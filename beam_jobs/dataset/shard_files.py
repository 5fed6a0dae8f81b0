"""A shard's files, made in one process: no Beam here, helper processes import this.

Beside its TFRecord file a shard has a part of the index, and a mark: what reading it
back found. The mark is the last file, so a job that was killed goes on with the shards
that have none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Collection, Iterable, Iterator, Sequence

from etils import epath
from PIL import Image

from beam_jobs.dataset.early_work import EARLY, CutCrop, EarlyWork
from beam_jobs.dataset.picture_reader import PictureReader
from beam_jobs.dataset.triplets import (
    Provenance,
    TripletPlan,
    provenance_rows,
    render,
    same_scene,
)
from beam_jobs.dataset.verify_records import DecodedContents, verify_shard
from tfrecords_schema import dataset_tables, segments, storage
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.records import image_features, triplet_features
from tfrecords_schema.segments import RecordLocation
from tfrecords_schema.statistics import TripletStatistics

INDEX_TABLE = "triplets-index"
MARKS = "shards"
"""Folder of the marks, in the data set's folder until it is complete."""

PAIRS_AT_A_TIME = 8
"""Of one scene, rendered at once: some 40 pictures in memory."""


def make_shard(
    folder: str, name: str, plans: Sequence[TripletPlan], provenance: Provenance
) -> None:
    """Write a shard, read it back, leave its mark.

    Args:
        folder: the data set's.
        name: of the shard's file.
        plans: in the order of its records, pairs of a scene together.
        provenance: what every record says of the job.

    Raises:
        CorruptRecordError: what was read is not what was written.
    """
    path = epath.Path(folder) / name
    early, decoded = _early_work(folder), _decoded()
    early.refresh()
    with contextlib.closing(_Pictures(early, decoded)) as pictures:
        rows = segments.write_shard(path, _records(plans, provenance, pictures))
    found = verify_shard(str(path), decoded)
    if found.keys != [row["key"] for row in rows]:
        raise CorruptRecordError(
            f"{path}: {len(rows)} records written, {len(found.keys)} read back, or "
            "others"
        )
    storage.settle(path)
    sources = [row for plan in plans for row in provenance_rows(plan)]
    index = [row | source for row, source in zip(rows, sources, strict=True)]
    dataset_tables.write_table(
        index_part(path.parent, name), index, dataset_tables.TRIPLET_INDEX
    )
    mark = {
        "records": len(rows),
        "bytes": path.stat().length,
        "statistics": found.statistics.to_dict(),
    }
    storage.write_json(mark_path(path.parent, name), mark)


def _records(
    plans: Iterable[TripletPlan], provenance: Provenance, pictures: _Pictures
) -> Iterator[tuple[str, bytes]]:
    for of_scene in same_scene(plans, PAIRS_AT_A_TIME):
        yield from render(of_scene, pictures.read, provenance, pictures.find)


class _Pictures:
    """Where the pictures of a shard come from; notes those that are known to decode."""

    def __init__(self, early: EarlyWork, decoded: DecodedContents) -> None:
        self._early = early
        self._decoded = decoded
        self._reader = PictureReader()
        self.close = self._reader.close

    def read(self, location: RecordLocation) -> bytes:
        jpeg = self._reader.read(location)
        if self._early.was_decoded(location):
            self._decoded.add(jpeg)
        return jpeg

    def find(
        self, sha256: str, crops: Collection[PixelBox]
    ) -> dict[PixelBox, CutCrop] | None:
        found = self._early.find(sha256, crops)
        for crop, cut in (found or {}).items():
            self._decoded.add(cut.jpeg, crop.size)
        return found


def warm_up() -> None:
    """Import and make what the first shard would have to wait for."""
    Image.init()
    triplet_features().get_serialized_info()
    image_features().get_serialized_info()


@functools.lru_cache(maxsize=1)
def _early_work(folder: str) -> EarlyWork:
    """What was done ahead for a data set."""
    return EarlyWork(epath.Path(folder) / EARLY)


@functools.cache
def _decoded() -> DecodedContents:
    """What this process has decoded."""
    return DecodedContents()


def index_part(folder: epath.Path, name: str) -> epath.Path:
    """A shard's part of the index."""
    return dataset_tables.table_path(folder, INDEX_TABLE) / f"{name}.parquet"


def mark_path(folder: epath.Path, name: str) -> epath.Path:
    """A shard's mark."""
    return folder / MARKS / f"{name}.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """What reading a shard back found."""

    name: str
    records: int
    bytes: int
    statistics: TripletStatistics


def read_marks(folder: epath.Path) -> list[Mark]:
    """The marks of a data set's shards, in the order of their names."""
    marks = []
    for path in sorted((folder / MARKS).iterdir(), key=lambda path: path.name):
        fields = storage.read_json(path)
        statistics = TripletStatistics.from_dict(fields.pop("statistics"))
        name = path.name.removesuffix(".json")
        marks.append(Mark(name=name, statistics=statistics, **fields))
    return marks
