"""Small pictures out of the image store, for people to look at.

A picture that is not there or cannot be read is left out: what is shown is not worth a
job's failure.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable, Iterable

from etils import epath
from PIL import Image

from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.records import decode_image
from tfrecords_schema.segments import SegmentStore

log = logging.getLogger(__name__)

_READ_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError)
"""What Pillow's decoders raise on broken input."""


def read_small(
    store: epath.Path,
    sha256s: Iterable[str],
    shrink: Callable[[Image.Image], Image.Image],
) -> dict[str, Image.Image]:
    """Pictures of a store, each made small as it is read.

    Args:
        store: the image store.
        sha256s: of the pictures that are wanted.
        shrink: from a picture that is open but not decoded to what is kept of it.

    Returns:
        Those that there are.
    """
    segments = SegmentStore(store)
    wanted = set(sha256s)
    found: dict[str, Image.Image] = {}
    try:
        for sha256, data in segments.read(wanted & segments.index.keys()):
            try:
                found[sha256] = _opened(decode_image(data).jpeg, shrink)
            except _READ_ERRORS as error:
                log.warning("picture %s cannot be shown: %s", sha256, error)
    except (CorruptRecordError, OSError, ValueError) as error:
        log.warning("pictures of %s cannot be shown: %s", store, error)
    if len(found) < len(wanted):
        log.info(
            "%d of %d pictures are not shown", len(wanted - found.keys()), len(wanted)
        )
    return found


def _opened(jpeg: bytes, shrink: Callable[[Image.Image], Image.Image]) -> Image.Image:
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        return shrink(image)


def thumbnail(image: Image.Image, side_px: int) -> Image.Image:
    """The whole picture, in the middle of a white square."""
    image.draft("RGB", (side_px, side_px))  # decodes no more than is needed
    small = image.convert("RGB")
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side_px, side_px), "white")
    left, top = (side_px - small.width) // 2, (side_px - small.height) // 2
    square.paste(small, (left, top))
    return square


def small_crop(image: Image.Image, crop: PixelBox, side_px: int) -> Image.Image:
    """A part of the picture, its longer side as asked for at most."""
    part = image.convert("RGB").crop(crop)
    part.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return part
