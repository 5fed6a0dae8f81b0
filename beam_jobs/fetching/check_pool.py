"""A few processes that check pictures for one event loop; see `check_worker`."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import json
import mmap
import os
import sys
import tempfile
from types import TracebackType
from typing import IO

from beam_jobs.fetching.check_worker import LENGTH, PLACE, Checked, unpack_verdict
from beam_jobs.pictures import PictureLimits
from tfrecords_schema.codes import ImageCode

_PROGRAM = "beam_jobs.fetching.check_worker"
_AHEAD = 2  # requests a worker has at once, so that it never waits for the loop
_TIMEOUT_S = 60.0  # the largest picture allowed takes a few seconds
_TRIES = 2  # an idle process may have been killed by anybody
_MOST_DEATHS = 20  # in a row, without one answer: the machine is at fault

Answer = tuple[Checked, bytes]


@dataclasses.dataclass(slots=True)
class _Request:
    body: bytes
    offset: int
    answer: asyncio.Future[Answer]
    tries: int = 0


class CheckPoolError(RuntimeError):
    """The machine cannot run the processes; no picture is to blame."""


class CheckPool:
    """Worker processes; a context manager.

    A worker that dies or hangs is replaced, and the picture that it was at gets
    `DECODER_FAILED`.
    """

    def __init__(
        self, limits: PictureLimits, *, max_bytes: int, processes: int
    ) -> None:
        """Set what is checked, and by how many.

        Args:
            limits: of the pictures.
            max_bytes: of a body.
            processes: how many workers.
        """
        self._workers = [_Worker(limits, max_bytes) for _ in range(processes)]
        self._free: asyncio.Queue[_Worker] = asyncio.Queue()

    async def __aenter__(self) -> CheckPool:
        """Start the workers."""
        await asyncio.gather(*(worker.start() for worker in self._workers))
        for worker in self._workers * _AHEAD:
            self._free.put_nowait(worker)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End them."""
        await asyncio.gather(*(worker.stop() for worker in self._workers))

    async def check(self, body: bytes) -> Answer:
        """Check a body; see `check_worker.check_body`."""
        worker = await self._free.get()
        try:
            return await worker.check(body)
        finally:
            self._free.put_nowait(worker)


class _Worker:
    """One process, and the memory that it shares: a slot for each request ahead."""

    def __init__(self, limits: PictureLimits, max_bytes: int) -> None:
        self._limits = json.dumps(dataclasses.asdict(limits))
        self._max_bytes = max_bytes
        self._slots = list(range(_AHEAD))
        self._waiting: collections.deque[_Request] = collections.deque()
        self._is_up = False
        self._wake = asyncio.Event()

    async def start(self) -> None:
        # Pages that no body has touched cost nothing.
        self._file = _shared_file()
        self._file.truncate(_AHEAD * self._max_bytes)
        self._memory = mmap.mmap(self._file.fileno(), 0)
        await self._spawn()
        self._reader = asyncio.create_task(self._answer_requests())

    async def stop(self) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        self._kill()
        await self._process.wait()
        self._memory.close()
        self._file.close()

    async def check(self, body: bytes) -> Answer:
        """Check a body.

        Raises:
            CheckPoolError: the worker cannot be started.
        """
        if self._reader.done():
            raise CheckPoolError("a process that checks pictures does not start")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        slot = self._slots.pop()
        request = _Request(body, slot * self._max_bytes, answer)
        self._waiting.append(request)
        if self._is_up:
            self._send(request)
        self._wake.set()
        try:
            # Shielded: whoever reads the answers sets it, come what may.
            return await asyncio.shield(answer)
        finally:
            self._slots.append(slot)

    async def _spawn(self) -> None:
        pipe = asyncio.subprocess.PIPE
        number = self._file.fileno()
        command = (sys.executable, "-m", _PROGRAM, str(number))
        self._process = await asyncio.create_subprocess_exec(
            *command, self._limits, stdin=pipe, stdout=pipe, pass_fds=(number,)
        )
        self._is_up = True

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _send(self, request: _Request) -> None:
        end = request.offset + len(request.body)
        self._memory[request.offset : end] = request.body
        assert self._process.stdin is not None
        # Without a drain: no more than `_AHEAD` requests are ever under way. A process
        # that has just ended is told to nobody; whoever waits for its answer finds out.
        with contextlib.suppress(OSError, RuntimeError):
            self._process.stdin.write(PLACE.pack(request.offset, len(request.body)))

    async def _answer_requests(self) -> None:
        """Answer in the order asked, until the pool ends."""
        deaths = 0
        try:
            while deaths < _MOST_DEATHS:
                while not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                if await self._answer_first():
                    deaths = 0
                else:
                    deaths += 1
                    await self._replace()
        finally:
            error = CheckPoolError("a process that checks pictures does not start")
            for request in self._waiting:
                if not request.answer.done():
                    request.answer.set_exception(error)

    async def _answer_first(self) -> bool:
        """Answer the first request; False where the process ended over it.

        A request is the first from when the answer before it came, so each has the
        whole time; one that an idle process died before gets another chance.
        """
        first = self._waiting[0]
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await self._read_answer()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            first.tries += 1
            if first.tries == _TRIES:
                self._waiting.popleft()
                first.answer.set_result((_failed(first.body), b""))
            return False
        self._waiting.popleft()
        first.answer.set_result(answer)
        return True

    async def _read_answer(self) -> Answer:
        stdout = self._process.stdout
        assert stdout is not None
        (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
        checked, jpeg_bytes = unpack_verdict(await stdout.readexactly(length))
        return checked, await stdout.readexactly(jpeg_bytes)

    async def _replace(self) -> None:
        """Start anew, with the requests that are left."""
        self._is_up = False
        self._kill()
        await self._process.wait()
        await self._spawn()
        for request in self._waiting:
            self._send(request)


def _shared_file() -> IO[bytes]:
    """A file in memory, or where the system has none a temporary one.

    Not one in /dev/shm, which containers keep so small that a large body would end the
    process.
    """
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("bodies"), "r+b")
    return tempfile.TemporaryFile()


def _failed(body: bytes) -> Checked:
    sha256 = hashlib.sha256(body).hexdigest()
    return Checked(ImageCode.DECODER_FAILED, sha256, len(body))
