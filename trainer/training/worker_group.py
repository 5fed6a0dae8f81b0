"""The processes of one attempt at a job: their start, their output and their end."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from tfrecords_schema.log_lines import is_json
from trainer.training import tied

_LAST_LINES = 20  # a traceback's end; everything has been shown before
_OUTPUT_S = 5.0  # for lines still in the pipe when their writer has ended


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """A worker came to its end.

    Attributes:
        worker: its number.
        code: its exit code; below 0, the signal that ended it.
    """

    worker: int
    code: int

    def __str__(self) -> str:
        """For a message."""
        if self.code >= 0:
            return f"worker {self.worker} ended with exit code {self.code}"
        name = signal.Signals(-self.code).name
        hint = " (was the machine out of memory?)" if name == "SIGKILL" else ""
        return f"worker {self.worker} was ended by {name}{hint}"


Events = queue.SimpleQueue[Ended | signal.Signals]
"""What the one who waits is told: ends of workers, and signals to this process."""


class WorkerGroup:
    """Processes that run the same command, each with an environment of its own.

    Their lines go to one stream, whole and with their worker's number, which lines of
    JSON have among their fields. Each leads a process group: a Ctrl-C at the terminal
    reaches the launcher alone, and what a worker has started ends with it. The thread
    that makes this must outlive it, as Linux ends the workers with that thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        environments: Sequence[Mapping[str, str]],
        *,
        events: Events,
        output: TextIO,
    ) -> None:
        """Start them.

        Args:
            command: of all.
            environments: of each.
            events: gets an `Ended` for each, after its last line.
            output: gets their lines.
        """
        lock = threading.Lock()
        self._workers: list[_Worker] = []
        try:
            for number, environment in enumerate(environments):
                worker = _Worker(number, command, environment)
                self._workers.append(worker)
                worker.listen(events, output, lock)
        except BaseException:
            self.stop(0.0)
            raise

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [worker.process.pid for worker in self._workers]

    def last_lines(self, worker: int) -> list[str]:
        """The last that a worker said."""
        return list(self._workers[worker].lines)

    def stop(self, patience_s: float) -> None:
        """Ask those that still run to end; kill them when they have not in time."""
        deadline = time.monotonic() + patience_s
        for worker in self._workers:
            worker.send(signal.SIGTERM)
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        for worker in self._workers:
            worker.send(signal.SIGKILL)
        for worker in self._workers:
            worker.join(None)


class _Worker:
    """One of them, with a thread for its output and one that waits for its end."""

    def __init__(
        self, number: int, command: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self.lines: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        self._number = number
        self._whose = f"[worker {number}] "
        self._waiter: threading.Thread | None = None
        self.process = subprocess.Popen(
            # Isolated: only the command itself shall see the paths of this process.
            [sys.executable, "-I", tied.__file__, str(os.getpid()), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )

    def listen(self, events: Events, output: TextIO, lock: threading.Lock) -> None:
        """Show its lines and tell of its end."""
        reader = threading.Thread(target=self._show, args=(output, lock), daemon=True)
        reader.start()
        waiter = threading.Thread(target=self._wait, args=(events, reader), daemon=True)
        waiter.start()
        self._waiter = waiter

    def _show(self, output: TextIO, lock: threading.Lock) -> None:
        assert self.process.stdout is not None
        tells_worker = is_json()
        for line in self.process.stdout:
            line = line.rstrip("\n")
            self.lines.append(line)
            whose = "" if tells_worker and line[:1] == "{" else self._whose
            # Nobody may be reading any more; the job is not to stand still for that.
            with lock, contextlib.suppress(OSError):
                output.write(f"{whose}{line}\n")
                output.flush()

    def _wait(self, events: Events, reader: threading.Thread) -> None:
        code = self.process.wait()
        self._signal_group(signal.SIGKILL)  # what it has started and left
        reader.join(_OUTPUT_S)
        events.put(Ended(self._number, code))

    def join(self, timeout_s: float | None) -> None:
        """Wait for its end."""
        if self._waiter:
            self._waiter.join(timeout_s)
        else:
            self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended: its id may be another's by then."""
        if self.process.returncode is None:
            self._signal_group(number)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
