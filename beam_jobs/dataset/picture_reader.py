"""Reading records straight from a store, by the place where each lies."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import IO

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import CorruptRecordError
from tfrecords_schema.records import decode_image
from tfrecords_schema.segments import RecordLocation
from tfrecords_schema.tfrecord_files import FRAME_BYTES, read_record

OPEN_FILES = 128
"""Shards that a reader keeps open: opening one costs more than reading a picture, and
negatives lie anywhere in the store. An eighth of what a process may usually open."""

REMOTE_FILES = 16
"""The same of an object store, whose files have large buffers."""


class PictureReader:
    """Reads pictures and other records; each thread needs its own."""

    def __init__(self) -> None:
        """Begin with no file open."""
        self._files: OrderedDict[str, IO[bytes]] = OrderedDict()

    def read(self, location: RecordLocation) -> bytes:
        """The JPEG of the image record at a place.

        Raises:
            CorruptRecordError: no sound record lies there.
        """
        return decode_image(self.record(location)).jpeg

    def record(self, location: RecordLocation) -> bytes:
        """The record at a place, as it was written.

        Raises:
            CorruptRecordError: no sound record lies there.
        """
        file = self._open(location.path)
        file.seek(location.offset)
        # At once: each read is a request to an object store.
        record = read_record(io.BytesIO(file.read(location.bytes + FRAME_BYTES)))
        if record is None:
            raise CorruptRecordError(f"no record at {location}")
        return record

    def close(self) -> None:
        """Close every file."""
        while self._files:
            self._files.popitem()[1].close()

    def _open(self, path: str) -> IO[bytes]:
        if path not in self._files:
            at_most = OPEN_FILES if storage.is_local(path) else REMOTE_FILES
            if len(self._files) >= at_most:
                self._files.popitem(last=False)[1].close()
            self._files[path] = epath.Path(path).open("rb")
        self._files.move_to_end(path)
        return self._files[path]
