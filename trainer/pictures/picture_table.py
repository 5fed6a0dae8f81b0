"""Pictures of the image store as tables that training gathers rows from.

A table looks like an array of pixels, of which only the rows that are asked for exist.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath
from PIL import Image

from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.errors import CorruptRecordError, InputError
from tfrecords_schema.records import decode_image, scene_key
from tfrecords_schema.segments import SegmentStore, read_located
from trainer.backbones.backbone_form import IMAGE_PX
from trainer.pictures.picture_views import (
    AS_IT_IS,
    View,
    cells_array,
    check_stored,
    open_stored,
)
from trainer.pictures.pictures import picture_array

log = logging.getLogger(__name__)

# What reading a record or decoding its JPEG raises where either is broken.
_BROKEN = (CorruptRecordError, OSError, SyntaxError, ValueError)


class Place(NamedTuple):
    """A picture of the store, or a part of it.

    Attributes:
        sha256: the picture.
        crop: the part; None for all of it.
        blanked: what is covered in it; None for nothing.
    """

    sha256: str
    crop: PixelBox | None = None
    blanked: PixelBox | None = None

    @property
    def scene_key(self) -> str:
        """Identity of its features as a scene."""
        return scene_key(self.sha256, self.crop)


class PictureStore:
    """The image store, read and decoded by threads: Pillow releases the interpreter."""

    def __init__(self, images: epath.Path, *, threads: int | None = None) -> None:
        """Open the store; its index is read when first used.

        Args:
            images: the store.
            threads: that read and decode; None for one a core.
        """
        self._images = images
        self._store = SegmentStore(images)
        self._pool = concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count())

    def check(self, sha256s: Iterable[str]) -> None:
        """See that pictures are there, and that all of each can be decoded.

        Raises:
            InputError: one is missing or broken.
        """
        wanted = set(sha256s)
        absent = self.absent(wanted)
        if absent:
            raise InputError(
                f"image store {self._images} lacks {len(absent)} of {len(wanted)} "
                f"pictures, such as {absent[0]}; run beam_jobs.fetch_images and "
                "beam_jobs.build_dataset for this --root again"
            )
        for sha256, why in self.broken(wanted).items():
            raise InputError(
                f"picture {sha256} of image store {self._images} cannot be decoded: "
                f"{why}; remove its segment and run beam_jobs.fetch_images again"
            )
        log.info("%d pictures can be decoded", len(wanted))

    def absent(self, sha256s: Iterable[str]) -> list[str]:
        """Pictures that are not there, ascending."""
        return sorted(set(sha256s) - self._store.index.keys())

    def broken(self, sha256s: Iterable[str]) -> dict[str, str]:
        """Of pictures that are there, those that cannot be decoded whole, and why."""
        index = self._store.index
        by_place = sorted(set(sha256s), key=lambda sha256: index[sha256])
        reasons = self._pool.map(self._why_broken, by_place)
        found = zip(by_place, reasons, strict=True)
        return {sha256: why for sha256, why in found if why is not None}

    def _why_broken(self, sha256: str) -> str | None:
        try:
            check_stored(self._jpeg(sha256))
        except _BROKEN as error:
            return str(error) or type(error).__name__
        return None

    def arrays(
        self, places: Sequence[Place], views: Sequence[View], cells: int | None
    ) -> list[np.ndarray]:
        """Pixels of pictures, each in its view: whole, or cut into cells."""

        def array(place: Place, view: View) -> np.ndarray:
            image = view.of(self._open(place))
            return picture_array(image) if cells is None else cells_array(image, cells)

        return list(self._pool.map(array, places, views))

    def _open(self, place: Place) -> Image.Image:
        return open_stored(self._jpeg(place.sha256), place.crop, place.blanked)

    def _jpeg(self, sha256: str) -> bytes:
        return decode_image(read_located(self._store.index[sha256])).jpeg


class PictureTable:
    """Pictures by row.

    Attributes:
        places: of each row.
        shape: [n, 224, 224, 3], or [n, cells², 224, 224, 3].
        dtype: uint8.
    """

    def __init__(
        self, store: PictureStore, places: Sequence[Place], *, cells: int | None = None
    ) -> None:
        """List the pictures.

        Args:
            store: where they are.
            places: of each row.
            cells: that each is cut into, in either direction; None for whole pictures.
        """
        self._store = store
        self.places = list(places)
        self._cells = cells
        of_row: tuple[int, ...] = (IMAGE_PX, IMAGE_PX, 3)
        if cells is not None:
            of_row = (cells**2, *of_row)
        self.shape = (len(self.places), *of_row)
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.places)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """Pixels of rows, as they are without augmentation."""
        numbers = np.arange(len(self))[rows]
        return self.seen(numbers, [AS_IT_IS] * len(numbers))

    def take(self, rows: np.ndarray) -> PictureTable:
        """A table of some rows."""
        places = [self.places[row] for row in rows]
        return PictureTable(self._store, places, cells=self._cells)

    def seen(self, rows: np.ndarray, views: Sequence[View]) -> np.ndarray:
        """Pixels of rows, each in its view."""
        if not self._cells and self._cells is not None:
            return np.empty((len(rows), *self.shape[1:]), self.dtype)
        places = [self.places[row] for row in rows]
        arrays = self._store.arrays(places, views, self._cells)
        return np.array(arrays, self.dtype).reshape(len(rows), *self.shape[1:])
