"""A worker of a training that kills itself once, in a step; run as a program.

python killed_worker.py WORKER STEP MARK [OPTIONS OF trainer.task]

Every worker runs it; the one of that number begins the step, counted from 1, and is
gone, unless the file MARK says that this has been.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from counted_steps import counting

from trainer import task
from trainer.training import loop


def main(worker: str, step: str, mark: str, *options: str) -> None:
    """Train, or begin to."""
    me = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    if me == int(worker) and not Path(mark).exists():
        kill_in(int(step), Path(mark))
    task.main(options)


def kill_in(last: int, mark: Path) -> None:
    """Have a step be the last of this process."""

    def act(number: int, step: Callable[[], Any]) -> Any:
        if number == last:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return step()

    pytest.MonkeyPatch().setattr(loop, "make_step", counting(loop.make_step, act))


if __name__ == "__main__":
    main(*sys.argv[1:])
