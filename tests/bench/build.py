"""The data set job against a plain pool of processes doing the same Pillow work."""

from __future__ import annotations

import io
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from etils import epath
from PIL import Image

from beam_jobs import build_dataset, fetch_images
from beam_jobs.processors import usable_cores
from examples.lookbook.generate import generate
from examples.lookbook.host import serve
from tests.bench import stl_pictures
from tests.bench.rows import Row
from tfrecords_schema.dataset_tables import read_rows
from tfrecords_schema.layout import Root, Stage, parse_run_date
from tfrecords_schema.records import decode_image
from tfrecords_schema.segments import SegmentStore

PHOTOS = Path(os.environ.get("CCP_DATA", "../shared/data/ccp"))
SCENES = 2_000
"""Of the generated look-book where the photos are absent: about as many pairs."""

DATE = "2026-01-01"
TRIPLETS = 3  # records of a pair, the job's default


class Work(NamedTuple):
    """A pair, for the pool: contents of its pictures, and where its crop lies."""

    scene: str
    crop: tuple[int, int, int, int]
    products: list[str]


# Filled before the pool forks, so that its processes read nothing.
_JPEGS: dict[str, bytes] = {}


def build_vs_pool() -> list[Row]:
    """On real photos, where Beam's planning weighs most."""
    with tempfile.TemporaryDirectory() as scratch:
        return [_compare("build_vs_pool", *_photos(Path(scratch)))]


def build_vs_pool_stl() -> list[Row]:
    """At Shop-The-Look's proportions, with pictures that are drawn.

    Raises:
        FileNotFoundError: the release's files are not there.
    """
    with tempfile.TemporaryDirectory() as scratch:
        return [_compare("build_vs_pool_stl", *_release(Path(scratch)))]


def _compare(name: str, common: list[str], root: Root) -> Row:
    """Both from their start to their end: the whole job, and the pool with its start.

    For every pair the pool decodes the scene, cuts and encodes the crop, and decodes
    crop, product and negatives as the reading back does. It gets the pictures in
    memory, writes nothing, and knows beforehand what the job has to find out.
    """
    started = time.perf_counter()
    build_dataset.main(common)
    job_s = time.perf_counter() - started
    work = _work(root)
    # The better of two counts: what else the machine does must not flatter us.
    pool_s = min(_pool(work), _pool(work))
    return Row(
        name=name,
        value=len(work) / job_s,
        unit="pairs/s",
        against=f"multiprocessing pool, {len(work) / pool_s:.1f} pairs/s",
        ratio=pool_s / job_s,
        goal=">= 0.8",
    )


def _photos(scratch: Path) -> tuple[list[str], Root]:
    """Arguments of the job, and a root with photos."""
    catalog = PHOTOS
    if not (catalog / "fashion.json").exists():
        catalog = scratch / "catalog"
        generate(catalog, scenes=SCENES, seed=7)
    with serve(catalog) as host:
        return _fetched(scratch, catalog, host)


def _release(scratch: Path) -> tuple[list[str], Root]:
    """Arguments of the job, and a root with pictures for the release's signatures."""
    pictures = stl_pictures.drawn_release(scratch)
    with stl_pictures.serving(pictures) as host:
        return _fetched(scratch, stl_pictures.RELEASE, host)


def _fetched(scratch: Path, catalog: Path, host: str) -> tuple[list[str], Root]:
    common = [f"--root={scratch / 'root'}", f"--run_date={DATE}"]
    common.append(f"--catalog={catalog}")
    fetch_images.main([*common, f"--image_host={host}"])
    return common, Root.of(str(scratch / "root"))


def _work(root: Root) -> list[Work]:
    receipt = root.receipt(parse_run_date(DATE), Stage.BUILD_DATASET)
    folder = root.dataset(receipt.outputs["dataset"])
    products = read_rows(_table(folder, "products"))
    contents = {row["product_id"]: row["sha256"] for row in products}
    store = SegmentStore(root.image_store)
    for sha256, data in store.read(store.index):
        _JPEGS[sha256] = decode_image(data).jpeg
    return [
        Work(
            row["scene_sha256"],
            tuple(row["crop_px"]),
            [row["product_sha256"]]
            + [contents[negative] for negative in row["negative_ids"][:TRIPLETS]],
        )
        for row in read_rows(_table(folder, "pairs"))
    ]


def _table(folder: epath.Path, name: str) -> epath.Path:
    return folder / f"{name}.parquet"


def _pool(work: Sequence[Work]) -> float:
    started = time.perf_counter()
    with multiprocessing.Pool(usable_cores()) as pool:
        pool.map(_do, work)
        return time.perf_counter() - started


def _do(pair: Work) -> None:
    with Image.open(io.BytesIO(_JPEGS[pair.scene]), formats=("JPEG",)) as scene:
        scene.load()
    crop = io.BytesIO()
    scene.crop(pair.crop).save(crop, "JPEG", quality=90)
    for jpeg in (crop.getvalue(), *(_JPEGS[sha256] for sha256 in pair.products)):
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as picture:
            picture.draft("RGB", (picture.width // 8, picture.height // 8))
            picture.load()
