"""An image store with the pictures of the synthetic catalogue, written without HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from etils import epath
from synthetic_catalog import CATEGORIES, SIZE, picture, signature

from beam_jobs.pictures import PictureLimits, check_picture
from tfrecords_schema.codes import ImageCode
from tfrecords_schema.dataset_tables import IMAGE_STATUS
from tfrecords_schema.records import ImageRecord, encode_image
from tfrecords_schema.segments import SegmentStore


def sha(name: str) -> str:
    """The content of a name's picture."""
    return hashlib.sha256(picture(name)).hexdigest()


def add_segment(
    store: epath.Path, names: Iterable[str], *, digest: str = "d", units: int = 1
) -> None:
    """Add a complete segment with the pictures of the names, over several units."""
    by_content = {sha(name): name for name in names}
    writer = SegmentStore(store).writer(digest, "images", units)
    for unit in range(units):
        of_unit = sorted(by_content)[unit::units]
        records = [
            (key, encode_image(ImageRecord(key, picture(by_content[key]), *SIZE)))
            for key in of_unit
        ]
        rows = [] if unit else [status_row(name) for name in names]
        status = pa.Table.from_pylist(rows, schema=IMAGE_STATUS)
        writer.write(unit, records, {"status": status})
    writer.finish({})


def status_row(name: str) -> dict[str, object]:
    """The status of a name's picture, fetched without a fault."""
    checked = check_picture(picture(name), PictureLimits())
    assert not isinstance(checked, ImageCode)
    return dict.fromkeys(IMAGE_STATUS.names) | {
        "image_id": signature(name),
        "kind": "product" if name in CATEGORIES else "scene",
        "url": f"http://host/{signature(name)}",
        "code": ImageCode.OK.value,
        "sha256": sha(name),
        "width": checked.width,
        "height": checked.height,
        "phash": checked.phash,
    }


def write_root(root: Path, names: Iterable[str], *, units: int = 1) -> Path:
    """A storage root with an image store and nothing else."""
    add_segment(epath.Path(root) / "images", list(names), units=units)
    return root
