"""What the stages before publishing leave under a root, written without them."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import TripletRecord
from tfrecords_schema.segments import SegmentWriter
from tfrecords_schema.statistics import TripletStatistics
from tfrecords_schema.statistics_files import write_statistics
from tfrecords_schema.table_folders import published_tables

MONDAY = datetime.date(2026, 11, 9)
TUESDAY = datetime.date(2026, 11, 10)
HOSTILE = """it's "quoted"; DROP TABLE rankings; -- ✓ 服"""
SCENES = ("s1", HOSTILE)
PRODUCTS = ("p1", "p2", "p'3")
# Records, one category, two codes; a field has missing and four moments.
STATISTICS_ROWS = 1 + 1 + 2 + 5 * len(dataclasses.fields(TripletRecord))


def leave_receipt(
    root: Root, run_date: datetime.date, *, stage: Stage, **outputs: str
) -> None:
    root.write_receipt(run_date, Receipt(stage, outputs, counts={}, seconds=0.0))


def write_rankings(
    root: Root,
    run_date: datetime.date,
    *,
    version: str = "v1",
    top_k: int = 2,
    dataset: str = "d1",
) -> None:
    """Two shards, one per scene, of the first `top_k` products."""
    folder = root.rankings(version)
    schema = published_tables()["rankings"].arrow_schema
    for shard, scene in enumerate(SCENES):
        rows = [
            {
                "run_date": run_date,
                "domain": "fashion",
                "scene_id": scene,
                "category": "shoes",
                "rank": rank,
                "product_id": product,
                "distance": rank / 10,
                "model_version": "m1",
                "dataset_version": dataset,
                "catalog_version": "c1",
                "run_id": version,
            }
            for rank, product in enumerate(PRODUCTS[:top_k], start=1)
        ]
        file = folder / f"rankings-{shard:05d}-of-{len(SCENES):05d}.parquet"
        dataset_tables.write_table(file, rows, schema)
    common = {"domain": "fashion", "category": "shoes"}
    queries = [common | {"scene_id": scene} for scene in SCENES]
    products = [common | {"product_id": product} for product in PRODUCTS]
    dataset_tables.write_table(
        folder / "queries.parquet", queries, dataset_tables.RANKED_QUERIES
    )
    dataset_tables.write_table(
        folder / "products.parquet", products, dataset_tables.RANKED_PRODUCTS
    )
    manifest = {"top_k": top_k, "rows": top_k * len(SCENES), "model": "m1"}
    storage.write_manifest(folder, manifest)
    storage.write_json(root.champion, {"run_id": "m1"})
    leave_receipt(root, run_date, stage=Stage.RANK_CATALOG, rankings=version)


def write_metrics(
    root: Root, run_date: datetime.date, *, run_id: str = "m1", **changed: Any
) -> None:
    metric = {
        "model": "candidate",
        "metric": "recall@10",
        "slice": "all",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 100,
    }
    metrics = [metric | {"slice": "seen"}, metric | changed]
    document = {"metrics": metrics, "evaluation": {"dataset": "d1"}}
    storage.write_json(root.model(run_id) / "metrics.json", document)
    leave_receipt(root, run_date, stage=Stage.EVALUATE, model=run_id)


def status(image_id: str, *, code: str = "ok", kind: str = "scene") -> dict[str, Any]:
    return {
        "image_id": image_id,
        "kind": kind,
        "url": f"http://host/{image_id}.jpg",
        "code": code,
        "http_status": 200 if code == "ok" else 404,
        "bytes": 2**40,
        "width": 400,
        "height": 300,
        "sha256": "ab" * 32 if code == "ok" else None,
        "phash": None,
        "detail": None,
    }


def write_segment(root: Root, name: str, rows: list[dict[str, Any]]) -> None:
    writer = SegmentWriter(str(root.image_store / "segments" / name), "images", 1)
    status = pa.Table.from_pylist(rows, schema=dataset_tables.IMAGE_STATUS)
    writer.write(0, [], {"status": status})
    writer.finish({})


def write_catalog_images(
    root: Root, run_date: datetime.date, *products: str, scenes: Sequence[str] = SCENES
) -> None:
    """Which pictures the date's catalogue has."""
    rows = [{"kind": "product", "image_id": image} for image in products]
    rows += [{"kind": "scene", "image_id": image} for image in scenes]
    path = root.catalog_images(run_date)
    dataset_tables.write_table(path, rows, dataset_tables.CATALOG_IMAGES)


def write_dataset(
    root: Root,
    run_date: datetime.date,
    version: str = "d1",
    *,
    domain: str = "fashion",
) -> None:
    """Statistics of two records and three rejections."""
    folder = root.dataset(version)
    triplet = TripletRecord(
        pair_id="a-b",
        negative_index=0,
        scene_id="a",
        product_id="b",
        negative_id="c",
        category="shoes",
        box=(0.0, 0.6, 0.5, 1.0),
        scene_sha256="00" * 32,
        crop_px=(0, 0, 8, 8),
        product_sha256="11" * 32,
        negative_sha256="22" * 32,
        source_line=1,
        config_hash="h",
        code_version=1,
        scene_crop=b"12345",
        product=b"123",
        negative=b"123",
    )
    statistics = TripletStatistics()
    statistics.add([triplet, triplet])
    write_statistics(folder, {"train": statistics})
    rejections = [
        {"source": "fashion.json", "line": line, "code": code, "detail": ""}
        for line, code in enumerate(("bad_box", "bad_box", "malformed_json"))
    ]
    dataset_tables.write_table(
        folder / "rejections.parquet", rejections, dataset_tables.REJECTIONS
    )
    outputs = {"dataset": version, "domain": domain}
    receipt = Receipt(Stage.BUILD_DATASET, outputs, {"pairs": 2}, 1.5, notes=())
    root.write_receipt(run_date, receipt)


def write_run(root: Root, run_date: datetime.date) -> None:
    """Everything that the stages before leave for a date."""
    write_rankings(root, run_date, version=f"v-{run_date}")
    write_metrics(root, run_date)
    write_dataset(root, run_date)
    if not root.image_store.exists():
        images = [status(image) for image in SCENES]
        images += [status(image, kind="product") for image in PRODUCTS]
        write_segment(root, "00001-aaa", images)
    write_catalog_images(root, run_date, *PRODUCTS)
    leave_receipt(root, run_date, stage=Stage.FETCH_IMAGES)
