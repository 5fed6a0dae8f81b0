"""Read an HTTP body within its limit, compressed or not.

Pictures are asked for without compression, but some hosts compress all the same. The
limit holds for what comes over the wire and for what it swells to.
"""

from __future__ import annotations

import dataclasses
import zlib

import aiohttp

from tfrecords_schema.codes import ImageCode

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_RAW_DEFLATE = -15  # what some hosts send as "deflate", against the standard


class BodyError(Exception):
    """A body that is not to be had, with its code."""

    def __init__(self, code: ImageCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclasses.dataclass(frozen=True, slots=True)
class BodyLimit:
    """How much of a body is read.

    Attributes:
        max_bytes: on the wire, and again when decoded.
        cut: whether a longer body is cut there; otherwise it is an error.
    """

    max_bytes: int
    cut: bool = False


async def read_body(response: aiohttp.ClientResponse, limit: BodyLimit) -> bytes:
    """Read and decode the body of an answer.

    Raises:
        BodyError: it is over the limit, or its encoding is unknown or broken.
        aiohttp.ClientPayloadError: it ends early.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity", *_WINDOW_BITS):
        raise BodyError(ImageCode.BAD_ENCODING, f"Content-Encoding {encoding[:80]!r}")
    data = await _read_wire(response, limit)
    if encoding in _WINDOW_BITS and data:
        return decode(data, encoding, limit)
    return data


async def _read_wire(response: aiohttp.ClientResponse, limit: BodyLimit) -> bytes:
    claimed = response.content_length
    if claimed is not None and claimed > limit.max_bytes and not limit.cut:
        raise _too_many(f"Content-Length {claimed}", limit)
    pieces = []
    size = 0
    # `readany` gives what has arrived and never waits for a full chunk.
    while piece := await response.content.readany():
        pieces.append(piece)
        size += len(piece)
        if size > limit.max_bytes:
            if limit.cut:
                break
            raise _too_many("the body", limit)
    return b"".join(pieces)[: limit.max_bytes]


def _too_many(what: str, limit: BodyLimit) -> BodyError:
    detail = f"{what} is over --max_bytes {limit.max_bytes}"
    return BodyError(ImageCode.TOO_MANY_BYTES, detail)


def decode(data: bytes, encoding: str, limit: BodyLimit) -> bytes:
    """Undo gzip or deflate, without ever holding more than the limit.

    Raises:
        BodyError: it swells beyond the limit, or is not what it says.
    """
    bits = _WINDOW_BITS[encoding]
    if encoding == "deflate" and not _is_zlib(data):
        bits = _RAW_DEFLATE
    decoder = zlib.decompressobj(bits)
    try:
        body = decoder.decompress(data, limit.max_bytes + 1)
    except zlib.error as error:
        raise BodyError(ImageCode.BAD_ENCODING, f"{encoding}: {error}") from None
    if len(body) > limit.max_bytes and not limit.cut:
        detail = f"{len(data)} bytes swell beyond --max_bytes {limit.max_bytes}"
        raise BodyError(ImageCode.DECOMPRESSION_BOMB, detail)
    if not decoder.eof and not limit.cut:
        raise BodyError(ImageCode.BAD_ENCODING, f"{encoding}: the stream ends early")
    return body[: limit.max_bytes]


def _is_zlib(data: bytes) -> bool:
    """Whether data begins with a zlib header (RFC 1950, section 2.2)."""
    return data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
