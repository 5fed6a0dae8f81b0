"""Feature extraction as a job against a bare loop of forward passes."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from beam_jobs import extract_features
from beam_jobs.features.feature_requests import FeatureRequest, needed_features
from beam_jobs.features.feature_transforms import BATCH, picture_array
from beam_jobs.pictures import open_jpeg
from examples.lookbook.generate import generate
from tests.bench.rows import Row
from tests.small_root import (
    DATASET,
    DATE,
    pair_row,
    product_row,
    scene_row,
    sha,
    write_dataset,
    write_segment,
)
from tfrecords_schema.layout import Root
from tfrecords_schema.records import ImageRecord, decode_image, encode_image
from tfrecords_schema.segments import SegmentStore
from trainer.backbones.backbones import load_model_file, resolve_backbone
from trainer.backbones.forward import compile_forward

FEATURES = 900
"""So many that loading and compiling the network, which both sides do, is a tenth of
the time."""

ROUNDS = 2
"""Of both: six minutes on two cores."""

MIN_RATIO = 0.95


def features_vs_forward() -> list[Row]:
    """Both load and compile the network, and run it on the same pictures and crops.

    The bare loop gets its pictures decoded and cut beforehand and drops its features,
    both for nothing. The backbone is a kept file on either side, as on every night but
    the first: looking for weights on the network is no part of it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = _prepared_root(Path(scratch))
        needed = needed_features(root.dataset(DATASET))
        images = _decode(root, needed)
        elsewhere = Root.of(f"{scratch}/elsewhere")
        backbone = resolve_backbone("ResNet50", elsewhere).path
        resolve_backbone(str(backbone), root)
        bare_s, job_s = [], []
        # In turn, and the better of each counts: what else the machine does in the
        # meantime slows one or the other by more than they differ.
        for _ in range(ROUNDS):
            bare_s.append(_bare_loop(backbone, images))
            job_s.append(_job(root, backbone))
    return [
        Row(
            name="features_vs_forward",
            value=len(needed) / min(job_s),
            unit="pictures/s",
            against=f"bare forward loop, {len(needed) / min(bare_s):.1f} pictures/s; "
            f"in turn {_rates(bare_s, len(needed))}, "
            f"the job {_rates(job_s, len(needed))}",
            ratio=min(bare_s) / min(job_s),
            goal=f">= {MIN_RATIO}",
        )
    ]


def _rates(seconds: list[float], pictures: int) -> str:
    return " and ".join(f"{pictures / each:.1f}" for each in seconds)


def _prepared_root(scratch: Path) -> Root:
    """A root with pictures and a data set of one crop per scene, but no features."""
    pictures = FEATURES * 2 // 3  # half of them scenes, each whole and cropped
    generate(scratch / "catalog", scenes=pictures // 3, seed=7)
    files = sorted((scratch / "catalog").rglob("*.jpg"))[:pictures]
    if len(files) < pictures:
        raise AssertionError(f"the look-book has {len(files)} pictures, not {pictures}")
    root = Root.of(str(scratch / "root"))
    records, products, scenes, pairs = {}, [], [], []
    for number, file in enumerate(files):
        name, data = f"picture-{number:04d}", file.read_bytes()
        width, height = open_jpeg(data).size
        records[sha(name)] = encode_image(ImageRecord(sha(name), data, width, height))
        if number % 2:
            products.append(product_row(name, "shoe"))
        else:
            scenes.append(scene_row(name))
            crop = (0, 0, width, height * 2 // 3)
            pairs.append(pair_row(name, f"picture-{number + 1:04d}", "shoe", crop=crop))
    write_segment(root.image_store, records)
    write_dataset(root, products=products, scenes=scenes, pairs=pairs)
    return root


def _decode(root: Root, requests: list[FeatureRequest]) -> np.ndarray:
    store = SegmentStore(root.image_store)
    wanted = {request.sha256 for request in requests}
    jpegs: dict[str, Any] = {
        sha256: decode_image(data).jpeg for sha256, data in store.read(wanted)
    }
    return np.stack(
        [
            picture_array(
                open_jpeg(jpegs[request.sha256]), request.crop, request.blanked
            )
            for request in requests
        ]
    )


def _job(root: Root, backbone: epath.Path) -> float:
    """The job, with nothing computed before."""
    shutil.rmtree(root.path / "features", ignore_errors=True)
    started = time.perf_counter()
    extract_features.main(
        [f"--root={root.path}", f"--run_date={DATE}", f"--backbone={backbone}"]
    )
    return time.perf_counter() - started


def _bare_loop(backbone: epath.Path, images: np.ndarray) -> float:
    started = time.perf_counter()
    forward = compile_forward(load_model_file(backbone))
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        if len(batch) < BATCH:
            batch = np.concatenate([batch, np.zeros_like(images[: BATCH - len(batch)])])
        forward(batch)
    return time.perf_counter() - started
