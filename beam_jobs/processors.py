"""How many processors a job has: those of the machine that it may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Processors that this process may use.

    A container or a scheduler may have bound it to a few of the machine's.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
