"""Lines of a text file, one at a time, whatever the file holds.

Lines end as on any system. No line is held that is longer than a row can be: a file
without line ends must not fill the memory.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO

from etils import epath

from tfrecords_schema.errors import InputError

MAX_LINE_BYTES = 1 << 20
"""Longest line; product descriptions of a hundred kilobytes do occur."""

_CHUNK_BYTES = 1 << 20


def read_lines(path: epath.Path) -> Iterator[tuple[int, str | None]]:
    """Lines of a UTF-8 file, with or without a byte order mark.

    Yields:
        Line numbers from 1, and the line without its end; None where it is too long.

    Raises:
        InputError: the file cannot be read, or is in another encoding.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_byte_lines(file), start=1):
                if line is not None and number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                yield number, line if line is None else _decode(line, path, number)
    except OSError as error:
        raise InputError(f"catalogue file {path} cannot be read: {error}") from None


def _decode(line: bytes, path: epath.Path, number: int) -> str:
    try:
        return line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"catalogue file {path} is not UTF-8 text (line {number}, byte "
            f"0x{line[error.start]:02x}); save it as UTF-8"
        ) from None


def _byte_lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Lines with their ends; None in place of one that is too long."""
    held = b""
    is_long = False
    while chunk := file.read(_CHUNK_BYTES):
        # The last piece is held back even when it ends in "\r": a "\n" may follow.
        *lines, held = (held + chunk).splitlines(keepends=True)
        for line in lines:
            yield None if is_long or len(line) > MAX_LINE_BYTES else line
            is_long = False
        if len(held) > MAX_LINE_BYTES:
            held, is_long = held[-1:], True
    if held:
        yield None if is_long or len(held) > MAX_LINE_BYTES else held
