"""Crops that helper processes cut while the job is still planning.

Which shard a pair is in, is known when the last negative is drawn; where its scene is
cut, from the beginning. A crop that is found here need not be cut with its shard; one
that is not is cut then, and is the same. No Beam here, helper processes import this.
"""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import wait
from typing import NamedTuple

from etils import epath

from beam_jobs.dataset.helpers import Helpers
from beam_jobs.dataset.picture_reader import PictureReader
from beam_jobs.pictures import encode_jpeg, open_jpeg
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.parquet_files import read_parquet
from tfrecords_schema.segments import INDEX, RecordLocation, SegmentWriter, part_paths

log = logging.getLogger(__name__)

CROPS = "crops"
"""Their folder, in the data set's until it is complete."""

UNIT = 256  # scenes: half a second of work
_SIZE = struct.Struct("<II")


class SceneCrops(NamedTuple):
    """What is to be cut from a scene.

    Attributes:
        sha256: content of its picture.
        location: where that lies in the image store.
        crops: where to cut.
    """

    sha256: str
    location: RecordLocation
    crops: tuple[PixelBox, ...]


class CutCrop(NamedTuple):
    """A crop as a JPEG, and the size of the picture that it was cut from."""

    jpeg: bytes
    width: int
    height: int


def cut(jpeg: bytes, crops: Iterable[PixelBox]) -> dict[PixelBox, CutCrop]:
    """Cut crops from a picture, which is decoded once."""
    scene = open_jpeg(jpeg)
    return {
        crop: CutCrop(encode_jpeg(scene.crop(crop)), scene.width, scene.height)
        for crop in crops
    }


@contextlib.contextmanager
def cutting_ahead(
    helpers: Helpers, folder: epath.Path, scenes: Sequence[SceneCrops]
) -> Iterator[None]:
    """Have helpers cut scenes, before whatever they are given next.

    Nobody waits for it until the context ends; what has not been begun then is not
    wanted any more.

    Args:
        helpers: who work.
        folder: for the crops alone.
        scenes: what to cut.
    """
    units = [scenes[start : start + UNIT] for start in range(0, len(scenes), UNIT)]
    writer = SegmentWriter(str(folder), CROPS, len(units))
    cutting = [
        helpers.submit(cut_unit, writer, number, unit)
        for number, unit in enumerate(units)
    ]
    try:
        yield
    finally:
        for future in cutting:
            future.cancel()
        wait(cutting)
        failures = [f.exception() for f in cutting if not f.cancelled()]
        if any(failures):
            log.warning(
                "%d of %d units of crops failed and were cut with their shards: %s",
                sum(failure is not None for failure in failures),
                len(cutting),
                next(failure for failure in failures if failure),
            )


def cut_unit(writer: SegmentWriter, unit: int, scenes: Sequence[SceneCrops]) -> None:
    """Cut one unit of scenes.

    Raises:
        CorruptRecordError: a picture is not where it should be.
    """
    reader = PictureReader()
    try:
        writer.write(unit, _records(scenes, reader))
    finally:
        reader.close()


def _records(
    scenes: Iterable[SceneCrops], reader: PictureReader
) -> Iterator[tuple[str, bytes]]:
    for scene in scenes:
        for crop, found in cut(reader.read(scene.location), scene.crops).items():
            size = _SIZE.pack(found.width, found.height)
            yield _key(scene.sha256, crop), size + found.jpeg


def _key(sha256: str, crop: PixelBox) -> str:
    return f"{sha256}:{','.join(map(str, crop))}"


class EarlyCrops:
    """The crops of a folder, as far as they have been cut."""

    def __init__(self, folder: epath.Path) -> None:
        """Begin with none.

        Args:
            folder: of `cutting_ahead`; it need not be there.
        """
        self._folder = folder
        self._places: dict[str, RecordLocation] = {}
        self._parts: set[str] = set()
        self._reader = PictureReader()

    def refresh(self) -> None:
        """Look for what has been cut since."""
        there = self._folder.exists()
        parts = {p.name: p for p in part_paths(self._folder, INDEX)} if there else {}
        if not self._parts <= parts.keys():  # the folder is another one
            self._places.clear()
            self._parts.clear()
            self._reader.close()
        for name in parts.keys() - self._parts:
            with parts[name].open("rb") as file:
                rows = read_parquet(file).to_pylist()
            # One text for all crops of a file.
            paths = {row["shard"]: str(self._folder / row["shard"]) for row in rows[:1]}
            for row in rows:
                place = RecordLocation(paths[row["shard"]], row["offset"], row["bytes"])
                self._places[row["key"]] = place
            self._parts.add(name)

    def find(
        self, sha256: str, crops: Iterable[PixelBox]
    ) -> dict[PixelBox, CutCrop] | None:
        """Crops of a picture; None unless all of them are there.

        Raises:
            CorruptRecordError: one is not where it should be.
        """
        found = {}
        for crop in crops:
            place = self._places.get(_key(sha256, crop))
            if place is None:
                return None
            data = self._reader.record(place)
            width, height = _SIZE.unpack_from(data)
            found[crop] = CutCrop(data[_SIZE.size :], width, height)
        return found
