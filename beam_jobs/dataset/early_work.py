"""What helper processes do while the job is still planning: cut and decode.

Which shard a pair is in, is known when the last negative is drawn; where its scene is
cut, from the beginning, and so is which products there are. A crop that is found here
need not be cut with its shard, and what was decoded here need not be decoded again when
shards are read back. What is not found is done then, and is the same. No Beam here,
helper processes import this.
"""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import wait
from typing import Any, NamedTuple

from etils import epath

from beam_jobs.dataset.helpers import Helpers
from beam_jobs.dataset.picture_reader import PictureReader
from beam_jobs.pictures import decode_all_blocks, encode_jpeg, open_jpeg
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.parquet_files import read_parquet
from tfrecords_schema.segments import INDEX, RecordLocation, SegmentWriter, part_paths

log = logging.getLogger(__name__)

EARLY = "early"
"""Folder of what was done, in the data set's until that is complete."""

SCENES_A_UNIT = 256  # half a second of work
PRODUCTS_A_UNIT = 1024
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
def working_ahead(
    helpers: Helpers,
    folder: epath.Path,
    scenes: Sequence[SceneCrops],
    products: Sequence[RecordLocation],
) -> Iterator[None]:
    """Have helpers cut scenes and decode products, before what they are given next.

    Nobody waits for it until the context ends; what has not been begun then is not
    wanted any more.

    Args:
        helpers: who work.
        folder: for this alone.
        scenes: what to cut.
        products: pictures to decode.
    """
    units: list[tuple[Callable[..., None], Sequence[Any]]] = [
        *((cut_unit, unit) for unit in _units(scenes, SCENES_A_UNIT)),
        *((decode_unit, unit) for unit in _units(products, PRODUCTS_A_UNIT)),
    ]
    writer = SegmentWriter(str(folder), EARLY, len(units))
    under_way = [
        helpers.submit(do_unit, writer, number, unit)
        for number, (do_unit, unit) in enumerate(units)
    ]
    try:
        yield
    finally:
        for future in under_way:
            future.cancel()
        wait(under_way)
        failures = [f.exception() for f in under_way if not f.cancelled()]
        if any(failures):
            log.warning(
                "%d of %d units of early work failed and were done with the shards: %s",
                sum(failure is not None for failure in failures),
                len(under_way),
                next(failure for failure in failures if failure),
            )


def _units(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def cut_unit(writer: SegmentWriter, unit: int, scenes: Sequence[SceneCrops]) -> None:
    """Cut one unit of scenes, and see that every crop decodes.

    Raises:
        CorruptRecordError: a picture is not where it should be, or a crop is broken.
    """
    with contextlib.closing(PictureReader()) as reader:
        writer.write(unit, _cut_records(scenes, reader))


def decode_unit(
    writer: SegmentWriter, unit: int, products: Sequence[RecordLocation]
) -> None:
    """Decode one unit of pictures.

    Raises:
        CorruptRecordError: a picture is not where it should be.
        OSError: or another of Pillow's errors, a picture does not decode.
    """
    with contextlib.closing(PictureReader()) as reader:
        writer.write(unit, _decode_records(products, reader))


def _cut_records(
    scenes: Iterable[SceneCrops], reader: PictureReader
) -> Iterator[tuple[str, bytes]]:
    for scene in scenes:
        for crop, found in cut(reader.read(scene.location), scene.crops).items():
            size = decode_all_blocks(found.jpeg)
            if size != crop.size:
                raise CorruptRecordError(f"the crop {crop} decodes to {size}")
            yield (
                _crop_key(scene.sha256, crop),
                _SIZE.pack(found.width, found.height) + found.jpeg,
            )


def _decode_records(
    products: Iterable[RecordLocation], reader: PictureReader
) -> Iterator[tuple[str, bytes]]:
    for location in products:
        decode_all_blocks(reader.read(location))
        yield _decoded_key(location), b""  # that it is there says all


def _crop_key(sha256: str, crop: PixelBox) -> str:
    return f"{sha256}:{','.join(map(str, crop))}"


def _decoded_key(location: RecordLocation) -> str:
    return f"{location.path}:{location.offset}"


class EarlyWork:
    """What was done ahead, as far as it has come."""

    def __init__(self, folder: epath.Path) -> None:
        """Begin with none.

        Args:
            folder: of `working_ahead`; it need not be there.
        """
        self._folder = folder
        self._places: dict[str, RecordLocation] = {}
        self._parts: set[str] = set()
        self._reader = PictureReader()

    def refresh(self) -> None:
        """Look for what has been done since."""
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
        """Crops of a picture, which all decode; None unless all of them are there.

        Raises:
            CorruptRecordError: one is not where it should be.
        """
        found = {}
        for crop in crops:
            place = self._places.get(_crop_key(sha256, crop))
            if place is None:
                return None
            data = self._reader.record(place)
            width, height = _SIZE.unpack_from(data)
            found[crop] = CutCrop(data[_SIZE.size :], width, height)
        return found

    def was_decoded(self, location: RecordLocation) -> bool:
        """Whether a product's picture has been read from there and decodes."""
        return _decoded_key(location) in self._places
