"""What a frozen backbone makes of pictures, kept in one file a picture.

A file holds float32 numbers, those of the pooled features and then those of the maps.
It is there with all of them or not at all, and named after all that they follow from:
so any number of trainings and evaluations share them, and one that is killed while they
are made goes on with the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from trainer.pictures.picture_table import Place

_NUMBER = np.dtype("<f4")


class KeptMaps:
    """The files of one kind of pictures: scenes in so many cells, or products.

    Attributes:
        folder: where they are.
        bytes_each: of a file.
    """

    def __init__(self, folder: Path, pooled: int, maps: Sequence[int]) -> None:
        """Say what a file holds.

        Args:
            folder: of the backbone and of this kind; need not exist.
            pooled: numbers of pooled features.
            maps: shape of the maps; (0,) for none.
        """
        self.folder = folder
        self._pooled = (pooled,)
        self._maps = tuple(maps)
        self.bytes_each = _NUMBER.itemsize * (pooled + math.prod(maps))

    def missing(self, places: Sequence[Place]) -> list[Place]:
        """Those of some pictures that have no file yet, each once."""
        return [place for place in dict.fromkeys(places) if not self._is_whole(place)]

    def _is_whole(self, place: Place) -> bool:
        # After a failure of power a file that was renamed may still be short.
        try:
            return self._file(place).stat().st_size == self.bytes_each
        except FileNotFoundError:
            return False

    def write(self, place: Place, pooled: np.ndarray, maps: np.ndarray) -> None:
        """Keep what a picture gave.

        Args:
            place: the picture.
            pooled: [pooled].
            maps: of the shape of the maps.
        """
        with storage.open_atomic(epath.Path(self._file(place))) as file:
            file.write(np.ascontiguousarray(pooled, _NUMBER))
            file.write(np.ascontiguousarray(maps, _NUMBER))

    def tables(self, places: Sequence[Place]) -> tuple[KeptTable, KeptTable]:
        """Pooled features and maps of pictures that have files."""
        files = [self._file(place) for place in places]
        behind = _NUMBER.itemsize * self._pooled[0]
        return (
            KeptTable(files, _Part(0, self._pooled)),
            KeptTable(files, _Part(behind, self._maps)),
        )

    def _file(self, place: Place) -> Path:
        name = place.scene_key.replace(":", "-").replace(",", "-")
        if place.blanked:
            name += "-without-" + "-".join(map(str, place.blanked))
        return self.folder / name[:2] / f"{name}.f32"


class _Part(NamedTuple):
    """A part of every file.

    Attributes:
        offset: where it begins, in bytes.
        shape: of its numbers.
    """

    offset: int
    shape: tuple[int, ...]


class KeptTable:
    """One part of many files: like an array, of which the rows asked for are read.

    Attributes:
        shape: [n, …].
        dtype: float32.
    """

    def __init__(self, files: Sequence[Path], part: _Part) -> None:
        """List the files; one a row."""
        self._files = list(files)
        self._part = part
        self.shape = (len(self._files), *part.shape)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._files)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """Some rows, [n, …] float32.

        Raises:
            InputError: a file is gone or was cut.
        """
        numbers = np.arange(len(self))[rows]
        out = np.empty((len(numbers), *self._part.shape), _NUMBER)
        for row, number in zip(out, numbers, strict=True):
            self._read_into(row, self._files[number])
        return out

    def _read_into(self, row: np.ndarray, file: Path) -> None:
        # Read rather than mapped: each of its pages is wanted, once, and in a batch.
        try:
            with open(file, "rb", buffering=0) as opened:
                opened.seek(self._part.offset)
                n_read = opened.readinto(row.reshape(-1).view(np.uint8))
        except FileNotFoundError:
            n_read = 0
        if n_read != row.nbytes:
            raise InputError(
                f"{file} is gone or was cut while it was in use; start again, which "
                "makes it anew"
            )
