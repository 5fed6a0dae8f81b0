"""The program that a helper process runs; see `helpers`.

It reads requests from its standard input and ends at once when that ends, be it in the
middle of its work: the job that it works for is done or dead.
"""

from __future__ import annotations

import os
import pickle
import queue
import struct
import sys
import threading
from typing import IO

_LENGTH = struct.Struct("<Q")


def write_message(file: IO[bytes], message: bytes) -> None:
    """Write a message with its length."""
    file.write(_LENGTH.pack(len(message)))
    file.write(message)
    file.flush()


def read_message(file: IO[bytes]) -> bytes | None:
    """Read a message; None where there is no whole one any more."""
    header = file.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    message = file.read(length)
    return message if len(message) == length else None


def answer(request: bytes) -> bytes:
    """Call what a request names; its result or error, pickled."""
    try:
        function, arguments = pickle.loads(request)
        return pickle.dumps((False, function(*arguments)))
    except Exception as error:  # whatever it is, it is raised where it was asked for
        error.add_note(f"in helper process {os.getpid()}")
        return pickle.dumps((True, error))


def _read_requests(file: IO[bytes], requests: queue.SimpleQueue[bytes]) -> None:
    while (request := read_message(file)) is not None:
        requests.put(request)
    os._exit(0)


def main() -> None:
    """Answer requests until there are no more."""
    # What is printed by whatever is called must not get among the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(
        target=_read_requests, args=(sys.stdin.buffer, requests), daemon=True
    ).start()
    # While the job is still reading its input.
    from beam_jobs.dataset.shard_files import warm_up

    warm_up()
    while True:
        write_message(answers, answer(requests.get()))


if __name__ == "__main__":
    main()
