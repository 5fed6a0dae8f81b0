"""Processes that work for a local job: one that a runner gives a single process.

Cutting and encoding small pictures hardly gains from threads: too much of it holds the
interpreter's lock. Helpers are started as programs of their own: forking a process that
has threads is not safe, and the spawned workers of `multiprocessing` import the main
module again, which for a job means Beam and six seconds each. A function and its
arguments go to a helper as a pickle; nothing comes back but the result.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any

from beam_jobs.dataset.helper import read_message, write_message


class HelperError(RuntimeError):
    """A helper ended before its work was done."""


class _Helper:
    def __init__(self) -> None:
        path = os.pathsep.join(sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "beam_jobs.dataset.helper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Have the helper call a function.

        Raises:
            HelperError: it ended.
        """
        requests, answers = self._pipes()
        try:
            write_message(requests, pickle.dumps((function, arguments)))
            answer = read_message(answers)
        except OSError:
            answer = None
        if answer is None:
            with contextlib.suppress(OSError):  # of a request that nobody reads
                requests.close()
            answers.close()
            raise HelperError(
                f"a helper process ended with {self._process.wait()} in "
                f"{function.__name__}; was the machine out of memory?"
            )
        is_error, value = pickle.loads(answer)
        if is_error:
            raise value
        return value

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise HelperError("a helper process without pipes")
        return self._process.stdin, self._process.stdout


class Helpers:
    """A fixed number of processes; the first calls wait until they have started."""

    def __init__(self, number: int) -> None:
        """Start them."""
        self.number = number
        self._idle: queue.SimpleQueue[_Helper] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(number)  # each waits for one helper
        for _ in range(number):
            self._idle.put(_Helper())

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have an idle helper call a function of a module."""
        return self._threads.submit(self._call, function, arguments)

    def _call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        helper = self._idle.get()
        try:
            return helper.call(function, arguments)
        except HelperError:
            helper = _Helper()  # or the calls to come would fail as well
            raise
        finally:
            self._idle.put(helper)


@functools.cache
def start_helpers(number: int) -> Helpers:
    """The helpers of this process, started with the first call; they end with it."""
    return Helpers(number)


def wait_for(futures: list[Future[Any]]) -> None:
    """Wait until all are done; raise what the first of them raised."""
    with contextlib.ExitStack() as stack:
        for future in futures:
            stack.callback(future.cancel)
        for future in futures:
            future.result()
