"""The fetch job against img2dataset, and against a loop that only downloads.

All ask the same host for the same pictures with as many requests at once, and keep them
in their own size. Imports are not counted for any of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from beam_jobs.catalogs.stl_catalog import image_path
from beam_jobs.processors import usable_cores
from tests.bench import stl_pictures
from tests.bench.rows import Row
from tests.bench.timed_main import time_main
from tfrecords_schema.hashing import digest

PICTURES = 6_000
CONNECTIONS = 16
LATENCY_MS = 25.0
"""Of a host that is near; the pictures' hosts are rarely nearer."""

_IMG2DATASET = "img2dataset==1.47.0"
_ENVIRONMENT = Path("build/img2dataset")


def fetch_vs_img2dataset() -> list[Row]:
    """Pictures a second of both, from a host with and without latency."""
    python = _img2dataset_python()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        catalog = _Catalog(scratch)
        rows = []
        for suffix, latency_ms in (("", 0.0), ("_far", LATENCY_MS)):
            with stl_pictures.serving(catalog.pictures, latency_ms=latency_ms) as host:
                urls = catalog.write_urls(host)
                theirs = _time_img2dataset(python, urls, scratch / f"i2d{suffix}")
                ours = _time_ours(catalog, host, scratch / f"root{suffix}")
            rows.append(_row(f"fetch_vs_img2dataset{suffix}", ours, theirs, ">= 1.5"))
        return rows


def fetch_vs_asyncio() -> list[Row]:
    """Pictures a second of both, from a host with and without latency."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        catalog = _Catalog(scratch)
        rows = []
        for suffix, latency_ms in (("", 0.0), ("_far", LATENCY_MS)):
            with stl_pictures.serving(catalog.pictures, latency_ms=latency_ms) as host:
                urls = catalog.write_urls(host)
                bare = _time_bare(urls)
                ours = _time_ours(catalog, host, scratch / f"root{suffix}")
                # On both sides of the job, and the better one counts.
                bare = min(bare, _time_bare(urls))
            rows.append(_row(f"fetch_vs_asyncio{suffix}", ours, bare, ">= 0.8"))
        return rows


def _row(name: str, ours_s: float, theirs_s: float, goal: str) -> Row:
    against = f"{PICTURES / theirs_s:.0f} pictures/s"
    far = f", {LATENCY_MS:.0f} ms away" if name.endswith("_far") else ""
    return Row(
        name=name,
        value=PICTURES / ours_s,
        unit="pictures/s",
        against=against + far,
        ratio=theirs_s / ours_s,
        goal=goal,
    )


class _Catalog:
    """A catalogue of as many pictures as are to be fetched."""

    def __init__(self, scratch: Path) -> None:
        self.folder = scratch
        self.pictures = Path(os.environ.get("STL_PICTURES", scratch / "pictures"))
        self._signatures = [digest(f"bench {n}", 32) for n in range(PICTURES)]
        stl_pictures.draw_missing(self.pictures, self._signatures)
        scenes, products = self._signatures[::2], self._signatures[1::2]
        lines = [
            json.dumps({"scene": scene, "product": product, "bbox": [0, 0, 0.5, 0.5]})
            for scene, product in zip(scenes, products, strict=True)
        ]
        (scratch / "fashion.json").write_text("\n".join(lines))
        categories = dict.fromkeys(products, "Shoes")
        (scratch / "fashion-cat.json").write_text(json.dumps(categories))

    def write_urls(self, host: str) -> Path:
        """A file with the pictures' addresses."""
        file = self.folder / "urls.txt"
        paths = (f"{host}/{image_path(name)}" for name in self._signatures)
        file.write_text("\n".join(paths))
        return file


def _time_ours(catalog: _Catalog, host: str, root: Path) -> float:
    return time_main(
        "beam_jobs.fetch_images",
        [
            f"--catalog={catalog.folder}",
            f"--root={root}",
            "--run_date=2026-01-01",
            f"--image_host={host}",
            f"--connections={CONNECTIONS}",
            f"--host_concurrency={CONNECTIONS}",
            "--host_rate=0",
        ],
    )


def _time_bare(urls: Path) -> float:
    return time_main(
        "tests.bench.bare_download",
        [f"--urls={urls}", f"--connections={CONNECTIONS}"],
    )


def _img2dataset_python() -> Path:
    """An environment with img2dataset alone."""
    python = _ENVIRONMENT / "bin" / "python"
    if not python.exists():
        base = os.environ.get("IMG2DATASET_PYTHON", "python3.11")
        _run(".uv/bin/uv", "venv", "--python", base, str(_ENVIRONMENT))
        _run(".uv/bin/uv", "pip", "install", "--python", str(python), _IMG2DATASET)
    return python


def _time_img2dataset(python: Path, urls: Path, output: Path) -> float:
    processes = usable_cores()
    script = Path(__file__).with_name("img2dataset_download.py")
    printed = _run(
        str(python), str(script), str(urls), str(output),
        str(processes), str(CONNECTIONS // processes),
    )  # fmt: skip
    stats = [json.loads(path.read_text()) for path in output.glob("*_stats.json")]
    kept = sum(shard["successes"] for shard in stats)
    if kept != PICTURES:
        raise AssertionError(f"img2dataset kept {kept} of {PICTURES} pictures")
    return float(printed.rsplit("seconds ", 1)[1])


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
