"""Run a job in a process of its own and say what it cost."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What a process cost, its children included.

    Attributes:
        wall_s: from start to exit.
        cpu_s: user and system.
        peak_mib: of the largest process among them.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float


def run_measured(module: str, arguments: Sequence[str]) -> Cost:
    """Run a module to its end.

    Raises:
        CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", module, *arguments]
    started = time.perf_counter()
    with subprocess.Popen(command) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(
        wall_s=time.perf_counter() - started,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,  # Linux reports KiB
    )
