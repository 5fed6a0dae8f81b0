"""Feature extraction as a job against a bare loop of forward passes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from etils import epath

from beam_jobs import build_dataset, extract_features, fetch_images
from beam_jobs.feature_transforms import BATCH, FeatureRequest, picture_array
from examples.lookbook.generate import generate
from examples.lookbook.host import serve
from tests.bench.rows import Row
from tfrecords_schema.layout import Root, Stage, parse_run_date
from tfrecords_schema.records import decode_image
from tfrecords_schema.segments import SegmentStore
from trainer.backbones import compile_forward, load_model_file, resolve_backbone

DATE = "2026-01-01"
SCENES = 60


def features_vs_forward() -> list[Row]:
    """Both load and compile the network, and run it on the same pictures and crops.

    The bare loop gets its pictures decoded and cut beforehand, for nothing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = _prepared_root(Path(scratch))
        dataset = root.receipt(parse_run_date(DATE), Stage.BUILD_DATASET)
        needed = extract_features.needed_features(
            root.dataset(dataset.outputs["dataset"])
        )
        images = _decode(root, needed)
        backbone = resolve_backbone("ResNet50", root)
        bare_s = _bare_loop(backbone.path, images)
        started = time.perf_counter()
        extract_features.main([f"--root={root.path}", f"--run_date={DATE}"])
        job_s = time.perf_counter() - started
        # Measured on both sides, and the better one counts: what else the machine does
        # in the meantime must not flatter us.
        bare_s = min(bare_s, _bare_loop(backbone.path, images))
    return [
        Row(
            name="features_vs_forward",
            value=len(needed) / job_s,
            unit="pictures/s",
            against=f"bare forward loop, {len(needed) / bare_s:.1f} pictures/s",
            ratio=bare_s / job_s,
            goal=">= 0.9",
        )
    ]


def _prepared_root(scratch: Path) -> Root:
    """A root with a data set, but no features."""
    catalog = scratch / "catalog"
    generate(catalog, scenes=SCENES, seed=7)
    common = [f"--root={scratch / 'root'}", f"--run_date={DATE}"]
    common.append(f"--catalog={catalog}")
    with serve(catalog) as host:
        fetch_images.main([*common, f"--image_host={host}"])
    build_dataset.main(common)
    return Root.of(str(scratch / "root"))


def _decode(root: Root, requests: list[FeatureRequest]) -> np.ndarray:
    store = SegmentStore(root.image_store)
    jpegs = {
        sha256: decode_image(data).jpeg
        for sha256, data in store.read(request.sha256 for request in requests)
    }
    return np.stack(
        [picture_array(jpegs[request.sha256], request.crop) for request in requests]
    )


def _bare_loop(backbone: epath.Path, images: np.ndarray) -> float:
    started = time.perf_counter()
    forward = compile_forward(load_model_file(backbone))
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        if len(batch) < BATCH:
            batch = np.concatenate([batch, np.zeros_like(images[: BATCH - len(batch)])])
        forward(batch)
    return time.perf_counter() - started
