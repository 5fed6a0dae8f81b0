"""How far a fetch is: a live line on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TextIO

from tfrecords_schema.codes import ImageCode

log = logging.getLogger(__name__)

_LIVE_EVERY_S = 0.2
_LOG_EVERY_S = 10.0
_CODES_SHOWN = 4


class FetchProgress:
    """Counts outcomes and shows them; one per lane, used by one thread."""

    def __init__(
        self,
        total: int,
        *,
        stream: TextIO = sys.stderr,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start counting.

        Args:
            total: pictures to come.
            stream: where a live line goes, if it is a terminal.
            clock: seconds.
        """
        self._total = total
        self._stream = stream
        self._clock = clock
        self._is_live = stream.isatty()
        self._started = self._shown_at = clock()
        self._codes: Counter[ImageCode] = Counter()
        self._skipped = 0

    def skip(self, pictures: int) -> None:
        """Count pictures that an earlier try of this run has done."""
        self._skipped += pictures

    def add(self, code: ImageCode) -> None:
        """Count a picture, and show the count when it is time."""
        self._codes[code] += 1
        every_s = _LIVE_EVERY_S if self._is_live else _LOG_EVERY_S
        if self._clock() - self._shown_at >= every_s:
            self._show()

    def finish(self) -> None:
        """Show the last count."""
        self._show()
        if self._is_live:
            self._stream.write("\n")

    def _show(self) -> None:
        self._shown_at = self._clock()
        if self._is_live:
            self._stream.write(f"\r\x1b[K{self.line()}")
            self._stream.flush()
        else:
            log.info("%s", self.line())

    def line(self) -> str:
        """Done, rate, failures by code, time to go."""
        fetched = self._codes.total()
        done = fetched + self._skipped
        rate = fetched / max(1e-9, self._clock() - self._started)
        parts = [f"{done:,} of {self._total:,} pictures", f"{rate:,.1f}/s"]
        failed = self._codes.copy()
        del failed[ImageCode.OK]
        if failed:
            parts.append(f"{failed.total():,} failed ({_shown(failed)})")
        if rate and done < self._total:
            parts.append(f"{_duration((self._total - done) / rate)} to go")
        return ", ".join(parts)


def _shown(failed: Counter[ImageCode]) -> str:
    common = sorted(failed.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{code} {count:,}" for code, count in common[:_CODES_SHOWN]]
    return ", ".join([*shown, "…"] if len(common) > _CODES_SHOWN else shown)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
