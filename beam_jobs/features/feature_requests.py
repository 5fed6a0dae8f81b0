"""Which features a data set needs, and the work table that hands them to workers.

Neither Beam nor TensorFlow is imported here: the command that compacts the cache needs
the requests and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from etils import epath

from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.box_areas import read_box_areas
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import Split
from tfrecords_schema.records import blanked_key, product_key, scene_key
from tfrecords_schema.segments import RecordLocation

WORK = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("crop_px", pa.list_(pa.int32())),  # None: the whole picture
        pa.field("blanked_px", pa.list_(pa.int32())),  # None: nothing is covered
        pa.field("with_regions", pa.bool_(), nullable=False),
        # Where the picture lies, from the image store: a root can be moved or mounted
        # elsewhere before a killed job is started again.
        pa.field("path", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
"""What a unit's worker is to do, in the order of the key; pictures stay where they
are, and only their place travels."""


@dataclasses.dataclass(frozen=True, slots=True)
class FeatureRequest:
    """A picture or crop whose features are wanted.

    Attributes:
        key: `records.scene_key`, `records.blanked_key` or `records.product_key`.
        sha256: the picture.
        crop: the part of it; None for the whole.
        with_regions: whether the regions are kept as well.
        blanked: what is covered in it; None for nothing.
    """

    key: str
    sha256: str
    crop: PixelBox | None
    with_regions: bool
    blanked: PixelBox | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class LocatedRequest:
    """A request, and where its picture lies in the image store."""

    request: FeatureRequest
    picture: RecordLocation


def needed_features(dataset: epath.Path) -> list[FeatureRequest]:
    """Every picture and crop that training, evaluation and ranking look at.

    Scene crops are what the model is trained on, whole scenes what it ranks for. Scenes
    with a covered box are a control of the evaluation, so they are needed for the pairs
    of the test split and for no others: a twentieth of the work.

    Returns:
        Requests in the order of their key, each key once. All requests of a picture
        follow each other: keys begin with its hash.

    Raises:
        InputError: the data set is not complete.
    """
    storage.read_manifest(dataset)
    by_key = {request.key: request for request in _requests(dataset)}
    return [by_key[key] for key in sorted(by_key)]


def _requests(dataset: epath.Path) -> Iterator[FeatureRequest]:
    for (sha256,) in _distinct(dataset, "products", "sha256"):
        yield FeatureRequest(product_key(sha256), sha256, None, False)
    for (sha256,) in _distinct(dataset, "scenes", "sha256"):
        yield FeatureRequest(scene_key(sha256), sha256, None, True)
    for sha256, crop_px in _distinct(dataset, "pairs", "scene_sha256", "crop_px"):
        crop = PixelBox(*crop_px)
        yield FeatureRequest(scene_key(sha256, crop), sha256, crop, True)
    areas = read_box_areas(dataset)
    for split, sha256, box in _distinct(
        dataset, "pairs", "split", "scene_sha256", "box"
    ):
        if split == Split.TEST:
            blanked = areas.pixels(sha256, box)
            key = blanked_key(sha256, blanked)
            yield FeatureRequest(key, sha256, None, True, blanked)


def _distinct(dataset: epath.Path, table: str, *columns: str) -> set[tuple[Any, ...]]:
    """The distinct rows of some columns; the others, lists of ids, are not read."""
    rows: set[tuple[Any, ...]] = set()
    for part in dataset_tables.read_parts(dataset / f"{table}.parquet", columns):
        values = (part[column].to_pylist() for column in columns)
        rows.update(
            tuple(tuple(v) if isinstance(v, list) else v for v in row)
            for row in zip(*values, strict=True)
        )
    return rows


def work_table(items: Iterable[LocatedRequest], images: epath.Path) -> pa.Table:
    """The work of a unit, whose pictures lie in an image store; see `WORK`."""
    rows = [
        {
            "key": item.request.key,
            "sha256": item.request.sha256,
            "crop_px": item.request.crop and list(item.request.crop),
            "blanked_px": item.request.blanked and list(item.request.blanked),
            "with_regions": item.request.with_regions,
            "path": item.picture.path.removeprefix(f"{images}/"),
            "offset": item.picture.offset,
            "bytes": item.picture.bytes,
        }
        for item in items
    ]
    return pa.Table.from_pylist(rows, schema=WORK)


def read_work(table: pa.Table, images: epath.Path) -> list[LocatedRequest]:
    """The inverse of `work_table`."""
    return [
        LocatedRequest(
            FeatureRequest(
                row["key"],
                row["sha256"],
                row["crop_px"] and PixelBox(*row["crop_px"]),
                row["with_regions"],
                row["blanked_px"] and PixelBox(*row["blanked_px"]),
            ),
            RecordLocation(str(images / row["path"]), row["offset"], row["bytes"]),
        )
        for row in table.to_pylist()
    ]
