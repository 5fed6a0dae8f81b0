"""The default night, start to end, as `make run` runs it."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time

from tests.bench.rows import Row

GOAL_S = 480
GOAL_MIB = 3072


def run_night() -> list[Row]:
    """Wall time of a first run, and the memory of its largest process."""
    with tempfile.TemporaryDirectory() as root:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "infra.local.nightly", "--root", root], check=True
        )
        wall_s = time.perf_counter() - started
    # Of all processes that the run started and waited for, in KiB; a process's own
    # peak, so that short spikes count.
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return [
        Row("run_wall_s", wall_s, "s", "goal", GOAL_S / wall_s, f"< {GOAL_S} s"),
        Row(
            "run_peak_rss_mib",
            peak_mib,
            "MiB",
            "goal",
            GOAL_MIB / peak_mib,
            f"< {GOAL_MIB} MiB",
        ),
    ]
