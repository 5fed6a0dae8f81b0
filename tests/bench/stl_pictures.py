"""Pictures of Shop-The-Look's sizes, each drawn from its signature, and their host.

    python -m tests.bench.stl_pictures --folder=DIR --latency_ms=25

The release has no pictures, and a benchmark must not depend on somebody's host. The
host is asynchronous and answers from memory-mapped files, so that it is not what a
download is limited by; `--latency_ms` makes it as far away as hosts are.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import multiprocessing
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from aiohttp import web
from PIL import Image

from beam_jobs.catalogs.stl_catalog import image_path
from beam_jobs.processors import usable_cores

RELEASE = Path(os.environ.get("STL_DATA", "../shared/data/stl"))
"""Folder of the release's files."""

WIDTH_PX = 400  # of every picture below /400x/
_HEIGHTS_PX = (300, 700)
_GRAIN_PX = 7  # coarser pictures are smaller than real ones, finer ones larger


def draw(signature: str) -> bytes:
    """The JPEG of a signature: coloured noise, of about the bytes of a photo."""
    generator = np.random.Generator(np.random.PCG64(int(signature, 16)))
    height = int(generator.integers(*_HEIGHTS_PX))
    coarse = generator.integers(0, 256, (5, 4, 3), dtype=np.uint8)
    fine = generator.integers(
        0, 256, (height // _GRAIN_PX, WIDTH_PX // _GRAIN_PX, 3), dtype=np.uint8
    )
    size = (WIDTH_PX, height)
    tones, grain = (
        Image.fromarray(layer).resize(size, Image.Resampling.BILINEAR)
        for layer in (coarse, fine)
    )
    buffer = io.BytesIO()
    Image.blend(tones, grain, 0.35).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def drawn_release(scratch: Path) -> Path:
    """A folder with a picture for every signature that a pair of the release names.

    Kept between runs where the environment variable `STL_PICTURES` names it.

    Raises:
        FileNotFoundError: the release's files are not there.
    """
    file = RELEASE / "fashion.json"
    if not file.exists():
        raise FileNotFoundError(
            f"{RELEASE} holds no Shop-The-Look files; set STL_DATA=<folder>"
        )
    folder = Path(os.environ.get("STL_PICTURES", scratch / "pictures"))
    signatures = {
        str(row[key]) for row in read_pairs(file) for key in ("scene", "product")
    }
    draw_missing(folder, sorted(signatures))
    return folder


def draw_missing(folder: Path, signatures: Iterable[str]) -> None:
    """Draw what the folder lacks, with all cores."""
    missing = [
        (str(folder / image_path(signature)), signature)
        for signature in signatures
        if not (folder / image_path(signature)).exists()
    ]
    # `fork` would copy the threads' locks of whatever the benchmark has imported.
    with multiprocessing.get_context("spawn").Pool(usable_cores()) as pool:
        for _ in pool.imap_unordered(_draw_file, missing, chunksize=64):
            pass


def _draw_file(item: tuple[str, str]) -> None:
    path, signature = Path(item[0]), item[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(draw(signature))
    temporary.replace(path)


@contextlib.contextmanager
def serving(folder: Path, *, latency_ms: float = 0.0) -> Iterator[str]:
    """The host in a process of its own; yields its URL."""
    command = [
        sys.executable, "-m", "tests.bench.stl_pictures",
        f"--folder={folder}", f"--latency_ms={latency_ms}",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _application(folder: Path, latency_s: float) -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        if latency_s:
            # Half as much again for some, as over a network.
            await asyncio.sleep(latency_s * random.uniform(0.75, 1.5))
        path = folder / request.match_info["path"]
        if not path.is_file():
            return web.Response(status=404)
        return web.Response(body=path.read_bytes(), content_type="image/jpeg")

    application = web.Application()
    application.router.add_get("/{path:400x/[0-9a-f/]+[.]jpg}", answer)
    return application


async def _serve(folder: Path, latency_s: float) -> None:
    runner = web.AppRunner(_application(folder, latency_s), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


def read_pairs(file: Path) -> list[dict[str, object]]:
    """The rows of a Shop-The-Look pairs file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--latency_ms", type=float, default=0.0)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.folder, arguments.latency_ms / 1000))
