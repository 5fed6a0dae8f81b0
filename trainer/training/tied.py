"""Become another program that is killed when the process that started it ends.

    python tied.py PARENT_PID COMMAND ...

A parent that is killed without warning can end nothing any more; Linux does it for it.
What asks for that must run in the child, and between fork and exec of a process with
threads that is not safe in Python: so it is a program of its own, in between.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; it outlasts exec


def main(arguments: Sequence[str]) -> None:
    """Tie this process to its parent where the system can, and run the command."""
    parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before this was asked for
        return
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
