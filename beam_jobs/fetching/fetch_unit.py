"""One unit of fetched pictures: checked, spooled to disk, and written as a whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from beam_jobs.fetching.check_worker import Checked
from beam_jobs.fetching.fetch_work import ImageRequest
from beam_jobs.fetching.held_contents import HeldContents
from beam_jobs.fetching.picture_fetch import Fetched
from beam_jobs.image_status import STATUS
from tfrecords_schema import dataset_tables
from tfrecords_schema.codes import ImageCode
from tfrecords_schema.records import ImageRecord, encode_image
from tfrecords_schema.segments import SegmentWriter


class RecordSpool:
    """Records of distinct contents, in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0

    def __contains__(self, sha256: str) -> bool:
        """Whether a content is there."""
        return sha256 in self._places

    def add(self, sha256: str, record: bytes) -> None:
        """Keep a record, unless its content is there."""
        if sha256 not in self._places:
            self._file.write(record)
            self._places[sha256] = (self._end, len(record))
            self._end += len(record)

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Key and record, in the order of the keys."""
        for sha256 in sorted(self._places):
            offset, size = self._places[sha256]
            self._file.seek(offset)
            yield sha256, self._file.read(size)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


class FetchUnit:
    """A unit under way."""

    def __init__(
        self, requests: Sequence[ImageRequest], held: HeldContents, *, image_host: str
    ) -> None:
        """Begin a unit.

        Args:
            requests: its work.
            held: contents that need no second copy; those of this unit join them when
                it is written.
            image_host: where addresses that begin with `/` lie.
        """
        self.requests = requests
        self._held = held
        self._image_host = image_host
        self._spool = RecordSpool()
        self._rows: list[dict[str, Any]] = []

    def keep(self, checked: Checked, jpeg: bytes) -> None:
        """Keep a picture that is ok, unless its content is held already."""
        sha256 = checked.sha256
        if checked.code is not ImageCode.OK:
            return
        if sha256 not in self._spool and sha256 not in self._held:
            assert checked.width is not None
            assert checked.height is not None
            record = ImageRecord(sha256, jpeg, checked.width, checked.height)
            self._spool.add(sha256, encode_image(record))

    def account(self, request: ImageRequest, fetched: Fetched[Checked]) -> ImageCode:
        """Note what came of a request, and tell its code."""
        row = status_row(request, request.url(self._image_host), fetched)
        self._rows.append(row)
        return ImageCode(row["code"])

    def write(self, writer: SegmentWriter, number: int) -> None:
        """Write shard, status and index.

        Raises:
            AssertionError: a request is not accounted for.
        """
        if len(self._rows) != len(self.requests):
            raise AssertionError(
                f"{len(self.requests)} pictures in, {len(self._rows)} accounted for"
            )
        self._rows.sort(key=lambda row: (row["kind"], row["image_id"]))
        status = pa.Table.from_pylist(self._rows, schema=dataset_tables.IMAGE_STATUS)
        new = (item for item in self._spool.records() if item[0] not in self._held)
        rows = writer.write(number, new, {STATUS: status})
        self._held.add(row["key"] for row in rows)
        self._spool.close()


def status_row(
    request: ImageRequest, url: str, fetched: Fetched[Checked]
) -> dict[str, Any]:
    """A row of `dataset_tables.IMAGE_STATUS`."""
    answer, checked = fetched.answer, fetched.accepted
    row: dict[str, Any] = dict.fromkeys(dataset_tables.IMAGE_STATUS.names)
    row |= {
        "image_id": request.image_id,
        "kind": request.kind,
        "url": url,
        "code": answer.code.value,
        "http_status": answer.http_status,
        "attempts": fetched.attempts,
        "elapsed_s": round(fetched.elapsed_s, 3),
        "final_url": str(answer.url) or None,
        "detail": answer.detail,
    }
    if checked is not None:
        row |= {
            "code": checked.code.value,
            "bytes": checked.size,
            "width": checked.width,
            "height": checked.height,
            "sha256": checked.sha256,
            "phash": checked.phash,
        }
    return row
