"""Time a job's `main` in a process of its own, without its imports.

python -m tests.bench.timed_main SECONDS_FILE MODULE [ARGUMENT …]
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path


def time_main(module: str, arguments: Sequence[str]) -> float:
    """Seconds that `main` took.

    Raises:
        CalledProcessError: it failed.
    """
    with tempfile.NamedTemporaryFile() as seconds:
        command = ["-m", "tests.bench.timed_main", seconds.name, module, *arguments]
        subprocess.run([sys.executable, *command], check=True)
        return float(Path(seconds.name).read_text())


if __name__ == "__main__":
    run = importlib.import_module(sys.argv[2]).main
    started = time.perf_counter()
    run(sys.argv[3:])
    Path(sys.argv[1]).write_text(str(time.perf_counter() - started))
