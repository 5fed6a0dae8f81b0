"""Pictures checked in other processes: same verdicts, and crashes stay there."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest
import uvloop
from PIL import Image

from beam_jobs.fetching import check_pool
from beam_jobs.fetching.check_pool import CheckPool, CheckPoolError
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

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Decoders that die or hang over some pictures, in the place of the real ones."""
    (tmp_path / "fragile_worker.py").write_text(
        "import os, runpy, time\n"
        "from beam_jobs import pictures\n"
        "check = pictures.check_picture\n"
        "def fragile(body, limits):\n"
        "    if body == b'poison': os.abort()\n"
        "    if body == b'trap': time.sleep(3600)\n"
        "    return check(body, limits)\n"
        "pictures.check_picture = fragile\n"
        "runpy.run_module('beam_jobs.fetching.check_worker', run_name='__main__')\n"
    )
    monkeypatch.setattr(check_pool, "_PROGRAM", "fragile_worker")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path.cwd()}")


def test_verdicts_are_those_of_a_check_in_this_process() -> None:
    bodies = [encoded("JPEG", tone) for tone in range(30)]
    bodies += [encoded("PNG", 3), b"", b"<html>", bodies[0][:300], bytes(MAX_BYTES)]

    found = in_pool(lambda pool: asyncio.gather(*map(pool.check, bodies)))

    assert found == [check_body(body, LIMITS) for body in bodies]


@pytest.mark.usefixtures("fragile")
@pytest.mark.parametrize("seed", range(3))
def test_pictures_that_bring_a_process_down_are_the_only_ones_lost(seed: int) -> None:
    random = Random(seed)
    bodies = [encoded("JPEG", tone) for tone in range(12)] + [b"poison"] * 4
    random.shuffle(bodies)

    async def late(pool: CheckPool, body: bytes) -> object:
        await asyncio.sleep(random.uniform(0, 0.02))  # also between death and rebirth
        return await pool.check(body)

    found = in_pool(lambda pool: asyncio.gather(*(late(pool, body) for body in bodies)))

    assert isinstance(found, list)
    for body, (checked, jpeg) in zip(bodies, found, strict=True):
        if body == b"poison":
            assert checked.code is ImageCode.DECODER_FAILED
            assert checked.size == len(body)
        else:
            assert (checked, jpeg) == check_body(body, LIMITS)


@pytest.mark.usefixtures("fragile")
def test_processes_that_hang_are_replaced_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_pool, "_TIMEOUT_S", 1.5)
    bodies = [b"trap", b"trap", encoded("JPEG", 1)]

    found = in_pool(lambda pool: asyncio.gather(*map(pool.check, bodies)), processes=1)

    assert isinstance(found, list)
    assert [checked.code for checked, _ in found] == [
        *(ImageCode.DECODER_FAILED, ImageCode.DECODER_FAILED, ImageCode.OK)
    ]


def test_picture_is_not_blamed_for_a_process_that_was_killed_before_it() -> None:
    async def work(pool: CheckPool) -> ImageCode:
        (worker,) = pool._workers
        os.kill(worker._process.pid, signal.SIGKILL)
        (checked, _) = await pool.check(encoded("JPEG", 1))
        return checked.code

    assert in_pool(work, processes=1) == ImageCode.OK


def test_processes_that_never_start_end_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_pool, "_PROGRAM", "no_such_program")
    monkeypatch.setattr(check_pool, "_MOST_DEATHS", 3)
    bodies = [encoded("JPEG", tone) for tone in range(4)]

    with pytest.raises(CheckPoolError, match="does not start"):
        in_pool(lambda pool: asyncio.gather(*map(pool.check, bodies)), processes=1)
