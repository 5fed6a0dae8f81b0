"""Check pictures in a process of its own, which shares memory with the one that asks.

A request on stdin says where in the shared memory a body lies; an answer on stdout is
the length of a verdict in JSON, the verdict, and the picture itself where it had to be
encoded anew. Bodies through a pipe would cost as much as the exchange that brought
them. Decoders are native code that strangers' bytes are fed to: one that crashes or
eats memory takes this process with it and nothing else. It imports neither Beam nor
TensorFlow, and so starts in a fraction of a second.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import mmap
import os
import resource
import struct
import sys
from typing import IO, Any

from beam_jobs.pictures import Picture, PictureLimits, check_picture
from tfrecords_schema.codes import ImageCode

PLACE = struct.Struct("<QQ")  # offset and length of a body
LENGTH = struct.Struct("<I")
_BYTES_PER_PIXEL = 16  # four channels, and four pictures at a time at the worst
_BASE_BYTES = 2 << 30  # of address space, most of it libraries' and never touched


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """What a body turned out to be.

    Attributes:
        code: of the picture.
        sha256: of the body.
        size: of the body in bytes.
        width: pixels; None unless the picture is ok, as what follows.
        height: pixels.
        phash: perceptual hash.
    """

    code: ImageCode
    sha256: str
    size: int
    width: int | None = None
    height: int | None = None
    phash: str | None = None


def check_body(body: bytes, limits: PictureLimits) -> tuple[Checked, bytes]:
    """Check one body.

    Returns:
        The verdict, and the picture's JPEG; empty where it is the body or there is
        none.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    picture = check_picture(body, limits)
    if not isinstance(picture, Picture):
        return Checked(picture, sha256, len(body)), b""
    checked = Checked(
        ImageCode.OK,
        sha256,
        len(body),
        picture.width,
        picture.height,
        phash=picture.phash,
    )
    return checked, b"" if picture.jpeg is body else picture.jpeg


def pack_verdict(checked: Checked, jpeg: bytes) -> bytes:
    """An answer."""
    verdict = json.dumps({**dataclasses.asdict(checked), "jpeg": len(jpeg)}).encode()
    return LENGTH.pack(len(verdict)) + verdict + jpeg


def unpack_verdict(verdict: bytes) -> tuple[Checked, int]:
    """The inverse of `pack_verdict`, but for the picture: its length."""
    fields: dict[str, Any] = json.loads(verdict)
    jpeg_bytes = fields.pop("jpeg")
    return Checked(**fields | {"code": ImageCode(fields["code"])}), jpeg_bytes


def serve(
    requests: IO[bytes], answers: IO[bytes], memory: mmap.mmap, limits: PictureLimits
) -> None:
    """Answer requests until there are no more."""
    while place := requests.read(PLACE.size):
        offset, length = PLACE.unpack(place)
        body = memory[offset : offset + length]
        answers.write(pack_verdict(*check_body(body, limits)))
        answers.flush()


def _limit_memory(limits: PictureLimits) -> None:
    """Let a picture that needs more memory than its pixels explain fail alone."""
    most = _BASE_BYTES + _BYTES_PER_PIXEL * limits.max_pixels
    with contextlib.suppress(ValueError, OSError):  # a stricter limit is in force
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    shared = mmap.mmap(int(sys.argv[1]), 0)
    picture_limits = PictureLimits(**json.loads(sys.argv[2]))
    _limit_memory(picture_limits)
    # A loop that waits for a processor keeps its connections waiting.
    os.nice(10)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer, shared, picture_limits)
