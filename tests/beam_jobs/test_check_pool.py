"""Pictures checked in other processes: same verdicts, and crashes stay there."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from PIL import Image

from beam_jobs.fetching import check_pool
from beam_jobs.fetching.check_pool import CheckPool
from beam_jobs.fetching.check_worker import check_body
from beam_jobs.pictures import PictureLimits
from tfrecords_schema.codes import ImageCode

LIMITS = PictureLimits(max_pixels=1_000_000)
MAX_BYTES = 200_000


def encoded(kind: str, tone: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40 + tone, 60), (tone, 90, 200)).save(buffer, kind)
    return buffer.getvalue()


def in_pool(
    work: Callable[[CheckPool], Awaitable[object]], *, processes: int = 2
) -> object:
    async def run() -> object:
        pool = CheckPool(LIMITS, max_bytes=MAX_BYTES, processes=processes)
        async with pool:
            return await work(pool)

    return asyncio.run(run())


def test_verdicts_are_those_of_a_check_in_this_process() -> None:
    bodies = [encoded("JPEG", tone) for tone in range(30)]
    bodies += [encoded("PNG", 3), b"", b"<html>", bodies[0][:300], bytes(MAX_BYTES)]

    found = in_pool(lambda pool: asyncio.gather(*map(pool.check, bodies)))

    assert found == [check_body(body, LIMITS) for body in bodies]


def test_picture_that_brings_its_process_down_is_the_only_one_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A decoder that dies over one picture, in the place of the real program.
    (tmp_path / "fragile_worker.py").write_text(
        "import os, runpy, sys\n"
        "from beam_jobs import pictures\n"
        "check = pictures.check_picture\n"
        "def fragile(body, limits):\n"
        "    if body == b'poison': os.abort()\n"
        "    return check(body, limits)\n"
        "pictures.check_picture = fragile\n"
        "runpy.run_module('beam_jobs.fetching.check_worker', run_name='__main__')\n"
    )
    monkeypatch.setattr(check_pool, "_PROGRAM", "fragile_worker")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path.cwd()}")
    good = [encoded("JPEG", tone) for tone in range(8)]
    bodies = [*good[:3], b"poison", *good[3:6], b"poison", *good[6:]]

    found = in_pool(lambda pool: asyncio.gather(*map(pool.check, bodies)), processes=1)

    assert isinstance(found, list)
    for body, (checked, jpeg) in zip(bodies, found, strict=True):
        if body == b"poison":
            assert checked.code is ImageCode.DECODER_FAILED
            assert checked.size == len(body)
        else:
            assert (checked, jpeg) == check_body(body, LIMITS)


def test_process_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_pool, "_TIMEOUT_S", 0.05)
    picture = encoded("JPEG", 1)

    async def work(pool: CheckPool) -> list[ImageCode]:
        (worker,) = pool._workers
        os.kill(worker._process.pid, signal.SIGSTOP)
        (stuck, _) = await pool.check(picture)
        monkeypatch.setattr(check_pool, "_TIMEOUT_S", 60.0)
        (after, _) = await pool.check(picture)
        return [stuck.code, after.code]

    assert in_pool(work, processes=1) == [ImageCode.DECODER_FAILED, ImageCode.OK]
