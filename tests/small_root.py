"""A storage root with a data set and stores in place, written without the jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from tfrecords_schema import dataset_tables, segments, storage
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from tfrecords_schema.records import FeatureRecord, encode_feature

DATE = "2026-11-22"
RUN_DATE = parse_run_date(DATE)
DATASET = "d1"
BACKBONE = "b1"
CROP = (0, 0, 50, 80)
RULES = {"crop": {"box_margin": 0.05, "min_crop_area": 0.2}}


def sha(name: str) -> str:
    """A picture's content hash, from its name."""
    return hashlib.sha256(name.encode()).hexdigest()


def product_row(product_id: str, category: str) -> dict[str, Any]:
    return {
        "product_id": product_id,
        "domain": "fashion",
        "category": category,
        "sha256": sha(product_id),
        "phash": "0",
        "train_positives": 0,
    }


def scene_row(scene_id: str, split: str = "train") -> dict[str, Any]:
    return {
        "scene_id": scene_id,
        "domain": "fashion",
        "scene_group": scene_id,
        "sha256": sha(scene_id),
        "phash": "0" * 16,
        "width": 100,
        "height": 100,
        "split": split,
    }


def pair_row(
    scene_id: str,
    product_id: str,
    category: str,
    *,
    split: str = "train",
    negatives: Sequence[str] = (),
    crop: Sequence[int] = CROP,
) -> dict[str, Any]:
    return {
        "pair_id": f"{scene_id}-{product_id}",
        "split": split,
        "domain": "fashion",
        "scene_id": scene_id,
        "scene_group": scene_id,
        "scene_sha256": sha(scene_id),
        "crop_px": list(crop),
        "box": [0.0, 0.6, 0.5, 1.0],
        "product_id": product_id,
        "product_sha256": sha(product_id),
        "category": category,
        "product_seen": True,
        "negative_ids": list(negatives),
        "negative_strategy": "uniform",
        "hard_negatives": 0,
        "co_positive_ids": [],
        "source_file": "fashion.json",
        "source_line": 1,
    }


def write_dataset(
    root: Root,
    *,
    products: Sequence[dict[str, Any]],
    scenes: Sequence[dict[str, Any]] = (),
    pairs: Sequence[dict[str, Any]] = (),
    version: str = DATASET,
) -> None:
    """The tables of a complete data set, and the receipt that names it."""
    folder = root.dataset(version)
    tables = {
        "products": (products, dataset_tables.PRODUCTS),
        "scenes": (scenes, dataset_tables.SCENES),
        "pairs": (pairs, dataset_tables.PAIRS),
    }
    for name, (rows, schema) in tables.items():
        dataset_tables.write_table(folder / f"{name}.parquet", rows, schema)
    storage.write_manifest(folder, {"version": version, "rules": RULES})
    outputs = {"dataset": version, "catalog": "c1", "domain": "fashion"}
    root.write_receipt(RUN_DATE, Receipt(Stage.BUILD_DATASET, outputs, {}, 0.0))


def write_segment(store: epath.Path, records: Mapping[str, bytes]) -> epath.Path:
    """A complete segment of serialised records, after those that are there."""
    writer = segments.SegmentStore(store).writer("abc", "records", 1)
    writer.write(0, records.items())
    writer.finish({})
    return writer.path


def write_features(
    root: Root,
    records: Sequence[FeatureRecord],
    *,
    backbone: str = BACKBONE,
    notes: tuple[str, ...] = (),
) -> None:
    """A segment of the feature store, and the receipt that names it."""
    encoded = {record.key: encode_feature(record) for record in records}
    write_segment(root.feature_store(backbone), encoded)
    outputs = {"features": backbone, "backbone": "tiny.keras", "weights": "file"}
    root.write_receipt(
        RUN_DATE, Receipt(Stage.EXTRACT_FEATURES, outputs, {}, 0.0, notes=notes)
    )
