"""A Beam job ends with its task."""

from __future__ import annotations

import subprocess
import sys

import psutil
from complete_the_look.beam_operator import BeamOperator


def test_a_job_whose_task_is_ended_is_ended_with_what_it_started() -> None:
    child = "import time; time.sleep(600)"
    parent = (
        "import subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        "print(child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True
    ) as job:
        assert job.stdout is not None
        worker = int(job.stdout.readline())
        operator = BeamOperator(
            task_id="fetch_images", py_file="m", runner="DirectRunner"
        )
        operator.on_kill()
        assert not _runs(job.pid)
        assert not _runs(worker)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
