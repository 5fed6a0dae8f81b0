"""Records of a CSV file with the line each begins on, bad ones told apart.

The standard library's parser does the work; this adds what it lacks. A record that is
not well-formed costs its first line only and reading goes on with the next, so that one
stray quote does not swallow the rows behind it.
"""

from __future__ import annotations

import collections
import csv
from collections.abc import Iterator

MAX_RECORD_CHARS = 1 << 20
"""Of all lines of a record together."""

MAX_RETRIES = 1_000
"""Bad records of several lines that are read again from their second line.

A file made to be re-read for every line would take for ever; past this many, its bad
records are turned away as they stand.
"""

_Line = tuple[int, str | None]


def read_records(lines: Iterator[_Line]) -> Iterator[tuple[int, list[str] | str]]:
    """Parse lines as comma-separated values.

    Args:
        lines: numbers and texts; None for a line that is too long.

    Yields:
        The first line's number, and the fields; or, as a text, what is wrong with the
        record. Blank lines are no records.
    """
    source = _Lines(lines)
    reader = csv.reader(source, strict=True)
    while True:
        source.start_record()
        try:
            fields = next(reader, None)
        except (csv.Error, _TooLong) as error:
            yield source.first_line, str(error)
            source.give_up_record()
            reader = csv.reader(source, strict=True)  # the old one ended in mid-record
            continue
        if fields is None:
            return
        if fields:
            yield source.first_line, fields


class _TooLong(Exception):
    """A line or record longer than any row can be."""


class _Lines:
    """Lines for the parser, those of the present record kept for another try."""

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._lines = lines
        self._again: collections.deque[_Line] = collections.deque()
        self._taken: list[_Line] = []
        self._chars = 0
        self._retries = 0

    @property
    def first_line(self) -> int:
        """Where the present record begins."""
        return self._taken[0][0]

    def start_record(self) -> None:
        """Forget the lines of the last record."""
        self._taken = []
        self._chars = 0

    def give_up_record(self) -> None:
        """Give all lines but the first out once more."""
        self._retries += len(self._taken) > 1
        if self._retries <= MAX_RETRIES:
            self._again.extendleft(reversed(self._taken[1:]))

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._taken.append(line)
        text = line[1]
        if text is None:
            raise _TooLong("a line is too long")
        self._chars += len(text)
        if self._chars > MAX_RECORD_CHARS:
            raise _TooLong("the record is too long")
        # Inside quotes the end of the line belongs to the value.
        return text + "\n"
