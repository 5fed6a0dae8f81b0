"""What a stage took of the machine, and what was counted while it ran.

Measured, so another figure each time, where all else that a stage leaves is the same.
It is kept in receipts alone, beside their `seconds`.
"""

from __future__ import annotations

import dataclasses
import re
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path

_KIB = 1024
_STATUS = Path("/proc/self/status")  # of Linux
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What the last execution of a stage took; of what was reused, next to nothing.

    Attributes:
        runner: Beam's runner, TensorFlow's strategy, or `process`.
        cpu_seconds: of the process that leaves the receipt, and of those it has waited
            for. Workers elsewhere are not in it.
        peak_memory_bytes: the most that one of these processes had at once, since it
            began.
        counted: Beam's counters (`beam.<namespace>.<name>`) and rates of a training
            (`training.…`); of this execution alone where a killed one went before.
    """

    runner: str
    cpu_seconds: float
    peak_memory_bytes: int
    counted: Mapping[str, int] = dataclasses.field(default_factory=dict)


class Meter:
    """Measures a stage from when this is made."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._cpu_before = _cpu_seconds()

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return round(time.monotonic() - self._started, 3)

    def usage(
        self, runner: str = "process", counted: Mapping[str, int] | None = None
    ) -> Usage:
        """What the stage has taken so far.

        Args:
            runner: of the stage.
            counted: while it ran.
        """
        return Usage(
            runner=runner,
            cpu_seconds=round(_cpu_seconds() - self._cpu_before, 3),
            peak_memory_bytes=max(_own_peak_bytes(), _peak_bytes_of_children()),
            counted=dict(sorted((counted or {}).items())),
        )


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for, since it began."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, both))


def _own_peak_bytes() -> int:
    """The most memory that this process had at once.

    Linux counts it for the program; `getrusage` also for the process that has started
    it, which may be a larger one.
    """
    if _STATUS.exists() and (found := _PEAK.search(_STATUS.read_text())):
        return int(found[1]) * _KIB
    return _in_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _peak_bytes_of_children() -> int:
    return _in_bytes(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def _in_bytes(maxrss: int) -> int:
    return maxrss if sys.platform == "darwin" else maxrss * _KIB
