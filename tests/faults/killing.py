"""Kill a job without warning at a chosen moment, and compare what is left at last."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

_TIMES = ("attempts", "elapsed_s")  # columns that differ between two equal fetches
# Counts of what this run did, not of what there is.
_OF_THE_RUN = ("asked_for", "computed", "cached")
_CURVES = "events.out.tfevents."  # named after time and process; see Telemetry
_COST = "cost.json"
_WINDOWS = "windows.jsonl"
_PACE = "pairs_per_s"
_POLL_S = 0.01
_PATIENCE_S = 300.0
_WORKER_PATIENCE_S = 20.0  # for a launcher to find that a worker is gone


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """A command line that works in a root.

    Attributes:
        module: run as `python -m`.
        arguments: of it, but for the root.
        begun: tells from the root whether the job has come to its work.
    """

    module: str
    arguments: tuple[str, ...]
    begun: Callable[[Path], bool]

    def in_processes(self, n_workers: int) -> Job:
        """The same with Beam workers that are processes of their own."""
        flags = (
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={n_workers}",
        )
        return dataclasses.replace(self, arguments=(*self.arguments, *flags))

    def command(self, root: Path) -> list[str]:
        """The command line."""
        arguments = [f"--root={root}", *self.arguments]
        return [sys.executable, "-m", self.module, *arguments]


def run_whole(job: Job, root: Path) -> float:
    """Run a job to its end; seconds from the beginning of its work to its exit."""
    with tempfile.TemporaryFile() as said, _started(job, root, said) as process:
        _wait_for_work(job, root, process)
        begun = time.monotonic()
        if process.wait(_PATIENCE_S):
            said.seek(0)
            last = said.read().decode(errors="replace")[-3000:]
            raise AssertionError(
                f"{job.module} exited with {process.returncode}:\n{last}"
            )
        return time.monotonic() - begun


def run_killed(job: Job, root: Path, *, after_s: float) -> bool:
    """Kill a job so long after it came to its work, its children with it.

    Returns:
        Whether the job was still running.
    """
    with _started(job, root) as process:
        return _is_running_after(job, root, process, after_s)


def run_with_killed_worker(job: Job, root: Path, *, after_s: float) -> bool:
    """Kill one of a job's worker processes, and the rest once it has given up.

    Returns:
        Whether there was a worker to kill.
    """
    with _started(job, root) as process:
        while not (workers := _workers(process)) and process.poll() is None:
            time.sleep(_POLL_S)
        if not _is_running_after(job, root, process, after_s):
            return False
        workers = _workers(process) or workers
        with contextlib.suppress(psutil.NoSuchProcess):
            workers[-1].kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_WORKER_PATIENCE_S)
        return True


def _workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def _is_running_after(
    job: Job, root: Path, process: subprocess.Popen[bytes], seconds: float
) -> bool:
    _wait_for_work(job, root, process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.poll() is None


@contextlib.contextmanager
def _started(
    job: Job, root: Path, said: IO[bytes] | int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """The job in a process group of its own, of which nothing is left afterwards."""
    with subprocess.Popen(
        job.command(root),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=said,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for_work(job: Job, root: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not job.begun(root) and process.poll() is None:
        if time.monotonic() > deadline:
            raise AssertionError(f"{job.module} did not come to its work")
        time.sleep(_POLL_S)


def contents(root: Path) -> dict[str, str]:
    """Digest of every file below a root; what tells the time is left out."""
    return {
        str(path.relative_to(root)): _digest(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != _COST and not path.name.startswith(_CURVES)
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(_timeless(path)).hexdigest()


def _timeless(path: Path) -> bytes:
    data = path.read_bytes()
    if path.parent.parent.name == "runs" and path.suffix == ".json":
        receipt = json.loads(data)
        counts = {
            name: count
            for name, count in receipt.get("counts", {}).items()
            if name not in _OF_THE_RUN
        }
        return json.dumps([receipt.get("outputs"), counts], sort_keys=True).encode()
    if path.name == _WINDOWS:
        windows = [json.loads(line) for line in data.splitlines()]
        kept = [{k: v for k, v in w.items() if k != _PACE} for w in windows]
        return json.dumps(kept, sort_keys=True).encode()
    if path.name.startswith("status-"):
        table = pq.read_table(pa.BufferReader(data))
        columns = [name for name in table.column_names if name not in _TIMES]
        return repr(table.select(columns).to_pylist()).encode()
    return data
