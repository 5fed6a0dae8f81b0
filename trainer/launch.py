"""Train with several processes on this machine, and start them again when one dies.

    python -m trainer.launch --workers=2 -- --root=runs --run_date=2026-11-22

What follows `--` goes to `trainer.task`, which runs once per worker with `--strategy
hosts` and a TF_CONFIG of this launcher's. The batch is shared out among the workers, so
the model is that of one process with the same options, but for dropout and rounding.
Worker 0 writes the model. Lines of worker 1 begin with `[worker 1] `, or say so in a
field where logs are JSON. This is for CPUs; the GPUs of one machine are used best by
one process with `--strategy mirrored`.

A worker cannot train on without the others: it fails within seconds, or waits for ever.
So when one ends by an error or a signal, the others have a moment to end by themselves,
then are ended, and all of them are started again, on other ports. They go on from the
last checkpoint, and end in the weights of a run that nothing happened to. Exit codes:

- 0: the model is complete.
- 1: a worker failed once more often than `--max_restarts` says; its last lines are
  shown again.
- 2: input or options that no restart mends, of the launcher or of a worker.
- 128 + n: signal n (SIGTERM, SIGINT, SIGHUP) ended the launcher and it the workers. The
  same command later goes on from the last checkpoint.

When the launcher is killed (SIGKILL), Linux kills the workers too. Elsewhere they are
left: end them by hand before starting again.

A platform that sets TF_CONFIG on several hosts does this launcher's work: run
`trainer.task` there. It must restart failed workers for any exit code but 2, and the
survivors with them; as these fail too, one that restarts every process by itself will
do. The addresses may stay as they were.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import queue
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import (
    REASON_VARIABLE,
    InputError,
    exit_on_input_error,
    leave_reason,
)
from tfrecords_schema.layout import Stage
from tfrecords_schema.log_lines import WORKER_VARIABLE
from trainer.training.worker_group import Ended, Events, WorkerGroup

log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_MAX_RESTARTS = 3
_INPUT_ERROR = 2  # the exit code of `exit_on_input_error`, and of argparse
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How much a group of workers is put up with.

    Attributes:
        max_restarts: of the whole group, over the job.
        grace_s: for the others to end by themselves when one has failed: they say why,
            and a worker 0 that is done but for writing the model completes it.
        stop_s: between asking a worker to end and killing it. Short: TensorFlow takes
            note of SIGTERM and goes on.
    """

    max_restarts: int = _MAX_RESTARTS
    grace_s: float = 10.0
    stop_s: float = 2.0

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: naming the option.
        """
        if self.max_restarts < 0:
            raise InputError(f"--max_restarts {self.max_restarts} is below 0")


@dataclasses.dataclass(frozen=True, slots=True)
class _Failure:
    """What made a group fail.

    Attributes:
        ended: the worker whose end tells most.
        reason: that it left for whoever started the launcher; empty if none.
        last_lines: that it said.
    """

    ended: Ended
    reason: str
    last_lines: list[str]


class _SignalledError(Exception):
    """Somebody wants this process to end."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number


def main(argv: Sequence[str] | None = None) -> None:
    """Run the launcher."""
    configure_logging(Stage.TRAIN, argv)
    own, for_task = _split(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(own)
    limits = Limits(max_restarts=arguments.max_restarts)
    command = [sys.executable, "-m", "trainer.task", *for_task, "--strategy=hosts"]
    code = run_group(command, arguments.workers, limits=limits)
    if code:
        sys.exit(code)


def _split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The launcher's options, and those of `trainer.task`.

    Raises:
        InputError: one of the latter is the launcher's to set.
    """
    at = list(argv).index("--") if "--" in argv else len(argv)
    own, for_task = argv[:at], argv[at + 1 :]
    for option in for_task:
        if option.split("=")[0] == "--strategy":
            raise InputError(
                f"{option} after --: the workers of trainer.launch train with "
                "--strategy hosts; for another one run python -m trainer.task"
            )
    return own, for_task


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        usage="%(prog)s --workers N [--max_restarts N] -- OPTIONS OF trainer.task",
        allow_abbrev=False,
    )
    parser.add_argument("--workers", type=int, required=True, help="processes to start")
    parser.add_argument(
        "--max_restarts",
        type=int,
        default=_MAX_RESTARTS,
        help="how often all may be started again (default: %(default)s)",
    )
    return parser


def run_group(
    command: Sequence[str],
    workers: int,
    *,
    limits: Limits = Limits(),
    output: TextIO | None = None,
) -> int:
    """Run a command in several processes until all succeed; call in the main thread.

    Args:
        command: of every worker; TF_CONFIG tells it which one it is.
        workers: how many.
        limits: when to give up.
        output: gets the workers' lines (None: stderr).

    Returns:
        The exit code; see the module.

    Raises:
        InputError: there can be no such group.
    """
    if workers < 1:
        raise InputError(f"--workers {workers} is below 1")
    if os.environ.get("TF_CONFIG"):
        raise InputError(
            f"the environment variable TF_CONFIG {os.environ['TF_CONFIG']!r} is of a "
            "platform that starts the workers itself: run python -m trainer.task, or "
            "unset it"
        )
    events: Events = queue.SimpleQueue()
    with _signals_to(events):
        try:
            return _run_attempts(command, workers, limits, events, output or sys.stderr)
        except _SignalledError as signalled:
            log.warning("ended by %s", signalled.number.name)
            return 128 + signalled.number


@contextlib.contextmanager
def _signals_to(events: Events) -> Iterator[None]:
    """Have signals that end a process told instead, in their turn."""
    before = {
        number: signal.signal(
            number, lambda number, _: events.put(signal.Signals(number))
        )
        for number in _SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_attempts(
    command: Sequence[str],
    workers: int,
    limits: Limits,
    events: Events,
    output: TextIO,
) -> int:
    used: set[int] = set()
    for restarts in range(limits.max_restarts + 1):
        # On the ports of the last attempt somebody may still wait for its workers.
        ports = free_ports(workers, but=used)
        used.update(ports)
        failure = _attempt(command, ports, limits, events, output)
        if failure is None:
            return 0
        if failure.ended.code == _INPUT_ERROR:
            leave_reason(failure.reason)
            return _INPUT_ERROR
        if restarts < limits.max_restarts:
            log.warning(
                "%s; starting all %d again (restart %d of %d)",
                failure.ended,
                workers,
                restarts + 1,
                limits.max_restarts,
            )
    assert failure is not None, "at least one attempt was made"
    what = f"{failure.ended}, after {limits.max_restarts} restarts (--max_restarts)"
    log.error("%s; its last lines:\n%s", what, "\n".join(failure.last_lines))
    leave_reason(f"{failure.reason}\n{what}".lstrip())
    return 1


def _attempt(
    command: Sequence[str],
    ports: Sequence[int],
    limits: Limits,
    events: Events,
    output: TextIO,
) -> _Failure | None:
    """Run the group once; what made it fail, if anything did."""
    # Workers that are killed leave their scratch files: all are put where they go.
    with tempfile.TemporaryDirectory(prefix="workers-") as scratch:
        environments = [
            _environment(ports, worker, scratch) for worker in range(len(ports))
        ]
        group = WorkerGroup(command, environments, events=events, output=output)
        log.info("workers are the processes %s", ", ".join(map(str, group.pids)))
        try:
            failed = _failure(events, len(ports), limits.grace_s)
        finally:
            group.stop(limits.stop_s)
        _forget_ends(events)
        if failed is None:
            return None
        left = _reason_file(scratch, failed.worker)
        reason = left.read_text("utf-8", errors="replace") if left.exists() else ""
        return _Failure(failed, reason, group.last_lines(failed.worker))


def _reason_file(scratch: str, worker: int) -> Path:
    """Where a worker leaves why it fails: they often do for different reasons."""
    return Path(scratch) / f"reason-{worker}"


def _environment(ports: Sequence[int], worker: int, scratch: str) -> dict[str, str]:
    """What tells a worker who it is, and how much of the machine is its own."""
    cluster = {"worker": [f"{_HOST}:{port}" for port in ports]}
    task = {"type": "worker", "index": worker}
    # By itself TensorFlow takes a thread per core, in every process.
    threads = max(1, _cores() // len(ports))
    return {
        "TF_NUM_INTRAOP_THREADS": str(threads),
        **os.environ,
        "TF_CONFIG": json.dumps({"cluster": cluster, "task": task}),
        WORKER_VARIABLE: str(worker),
        REASON_VARIABLE: str(_reason_file(scratch, worker)),
        "TMPDIR": scratch,
    }


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _failure(events: Events, workers: int, grace_s: float) -> Ended | None:
    """Wait until all have ended, or one has failed and the others had their time.

    Returns:
        The failure that tells most: wrong input if anyone found any, else the first, as
        the later ones follow from it.

    Raises:
        _SignalledError: this process is to end.
    """
    first: Ended | None = None
    deadline: float | None = None
    for _ in range(workers):
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            event = events.get(timeout=left)
        except queue.Empty:
            break
        if isinstance(event, signal.Signals):
            raise _SignalledError(event)
        if event.code == _INPUT_ERROR:
            return event
        if event.code and first is None:
            first, deadline = event, time.monotonic() + grace_s
            log.warning("%s; the others cannot go on", event)
    return first


def _forget_ends(events: Events) -> None:
    """Leave nothing of this group to the next.

    Raises:
        _SignalledError: a signal was among it.
    """
    with contextlib.suppress(queue.Empty):
        while True:
            event = events.get_nowait()
            if isinstance(event, signal.Signals):
                raise _SignalledError(event)


def free_ports(count: int, *, but: Collection[int] = ()) -> list[int]:
    """Ports of this machine that nobody listens on.

    Another process may take one before it is used; then a worker fails, and all are
    started again on others.

    Args:
        count: how many.
        but: those that are not wanted.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as held:  # all at once, or the same might come twice
        while len(ports) < count:
            bound = held.enter_context(socket.create_server((_HOST, 0)))
            port = bound.getsockname()[1]
            if port not in but:
                ports.append(port)
    return ports


if __name__ == "__main__":
    exit_on_input_error(main)
