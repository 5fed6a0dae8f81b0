"""Two nights of three scenes and two categories, small enough to check by eye.

The second night has another model. Of the scenes one has no picture, and of the
products one is never shown.
"""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from beam_jobs.publishing.publication import Load
from beam_jobs.publishing.target import Target
from tfrecords_schema import dataset_tables
from tfrecords_schema.table_folders import published_tables

MONDAY = datetime.date(2026, 11, 9)
TUESDAY = datetime.date(2026, 11, 10)
TOP_K = 2
MODELS = {MONDAY: "m-1", TUESDAY: "m-2"}
PRODUCTS = {
    "Bags": ["bag-a", "bag-b", "bag-c"],
    "Shoes": ["shoe-a", "shoe-b", "shoe-c", "shoe-d"],
}
SCENES = ["street-1", "street-2", "street-3"]
# By date, category and scene: the last letters of the products, best first.
LISTS = {
    MONDAY: {"Bags": ["ab", "ac", "ab"], "Shoes": ["ab", "ba", "ad"]},
    TUESDAY: {"Bags": ["ab", "ab", "ca"], "Shoes": ["ba", "ba", "ab"]},
}
# (metric, model, slice): value of Monday and of Tuesday
FIGURES = {
    ("binary_accuracy", "paper", "all"): (0.70, 0.75),
    ("binary_accuracy", "paper", "Bags"): (0.80, 0.85),
    ("binary_accuracy", "paper", "Shoes"): (0.60, 0.65),
    ("binary_accuracy", "random", "all"): (0.50, 0.50),
    ("recall_at_10", "paper", "all"): (0.40, 0.50),
    ("mrr", "paper", "all"): (0.20, 0.25),
}

_RELATIONS = {
    "products": dataset_tables.RANKED_PRODUCTS,
    "queries": dataset_tables.RANKED_QUERIES,
}

Rows = list[dict[str, Any]]


def rankings(date: datetime.date) -> Rows:
    shift = 0.0 if date == MONDAY else 0.0625
    return [
        {
            "run_date": date,
            "domain": "fashion",
            "scene_id": scene,
            "category": category,
            "rank": rank,
            "product_id": f"{category.lower()[:-1]}-{letter}",
            "distance": _distance(category, number, rank) + shift,
            "model_version": MODELS[date],
            "dataset_version": "d-1",
            "catalog_version": "c-1",
            "run_id": f"r-{date:%d}",
        }
        for category, lists in LISTS[date].items()
        for number, (scene, letters) in enumerate(zip(SCENES, lists, strict=True))
        for rank, letter in enumerate(letters, start=1)
    ]


def _distance(category: str, scene_number: int, rank: int) -> float:
    if category == "Bags" and scene_number == 2:
        return 1.5 + rank / 8  # nothing goes with this one
    return 0.5 + scene_number / 8 + rank / 8


def attention(date: datetime.date) -> Rows:
    return [
        {
            "run_date": date,
            "domain": "fashion",
            "scene_id": scene,
            "category": category,
            "model_version": MODELS[date],
            "run_id": f"r-{date:%d}",
            "grid": 2,
            # Bags are looked for above, shoes below.
            "attention": [0.5, 0.25, 0.125, 0.125][:: 1 if category == "Bags" else -1],
        }
        for category in PRODUCTS
        for scene in SCENES
    ]


def evaluations(date: datetime.date) -> Rows:
    night = list(MODELS).index(date)
    return [
        {
            "run_date": date,
            "run_id": MODELS[date],
            "model": model,
            "metric": metric,
            "slice": slice_,
            "value": values[night],
            "low": values[night] - 0.0625,
            "high": values[night] + 0.0625,
            "n": 60 if slice_ == "all" else 30,
            "dataset_version": "d-1",
        }
        for (metric, model, slice_), values in FIGURES.items()
    ]


def image_status(date: datetime.date) -> Rows:
    images = [("scene", scene, "ok") for scene in SCENES]
    images += [("scene", "street-4", "not_found")]
    images += [("scene", "street-0", "ok")]  # of an earlier catalogue
    images += [("product", item, "ok") for found in PRODUCTS.values() for item in found]
    images += [("product", "shoe-e", "timed_out")]
    return [
        {
            "run_date": date,
            "image_id": name,
            "kind": kind,
            "url": f"https://pictures.example/{name}.jpg",
            "code": code,
            "http_status": {"ok": 200, "not_found": 404}.get(code),
            "sha256": f"{number:064d}" if code == "ok" else None,
            "attempts": 3 if code == "timed_out" else 1,
        }
        for number, (kind, name, code) in enumerate(images)
    ]


def statistics(date: datetime.date) -> Rows:
    figures = [
        ("train", "records", "all", 300.0),
        ("train", "records_of_category", "Bags", 100.0),
        ("train", "records_of_category", "Shoes", 200.0),
        ("all", "rejections", "crop_too_small", 4.0),
        ("all", "rejections", "no_scene_picture", 7.0),
    ]
    columns = ("split", "statistic", "subject", "value")
    common = {"run_date": date, "dataset_version": "d-1", "domain": "fashion"}
    return [{**common, **dict(zip(columns, row, strict=True))} for row in figures]


def stages(date: datetime.date) -> Rows:
    # Seconds, those of a CPU, and GiB.
    taken = {
        "fetch_images": ("DirectRunner", 30.0, 12.0, 0.5),
        "train": ("MirroredStrategy", 600.0, 1100.0, 3.0),
        "rank_catalog": ("DirectRunner", 90.0, 170.0, 2.0),
    }
    if date == TUESDAY:
        taken["train"] = ("MirroredStrategy", 900.0, 1200.0, 3.0)
        taken["rank_catalog"] = ("DirectRunner", 95.0, 172.0, 4.5)
    return [
        {
            "run_date": date,
            "run_id": MODELS[date],
            "stage": stage,
            "stage_number": number,
            "seconds": seconds,
            "reused": date == TUESDAY and stage == "fetch_images",
            "notes": [],
            "runner": runner,
            "cpu_seconds": cpu_s,
            "peak_memory_bytes": round(peak_gib * 2**30),
        }
        for number, (stage, (runner, seconds, cpu_s, peak_gib)) in zip(
            (1, 5, 9), taken.items(), strict=True
        )
    ]


def counts(date: datetime.date) -> Rows:
    common = {"run_date": date, "run_id": MODELS[date]}
    figures = [
        ("fetch_images", "ok", 10),
        ("build_dataset", "scenes", len(SCENES)),
        ("build_dataset", "scenes_without_image", 1),
        ("train", "epochs", 30),
        ("train", "training.pairs_per_second", 3000 if date == MONDAY else 2000),
    ]
    return [
        {**common, "stage": stage, "name": name, "value": value}
        for stage, name, value in figures
    ]


ROWS = {
    "rankings": rankings,
    "query_attention": attention,
    "model_evaluations": evaluations,
    "image_status": image_status,
    "dataset_statistics": statistics,
    "pipeline_runs": stages,
    "pipeline_counts": counts,
}


def load(name: str, rows: Rows) -> Load:
    """Rows of a table with what its checks look at."""
    table = published_tables()[name]
    relations = {
        "products": [
            {"domain": "fashion", "product_id": product, "category": category}
            for category, products in PRODUCTS.items()
            for product in products
        ],
        "queries": [
            {"domain": "fashion", "scene_id": scene, "category": category}
            for scene in SCENES
            for category in PRODUCTS
        ],
    }
    return Load(
        table=table,
        rows=ds.dataset(pa.Table.from_pylist(rows, schema=table.arrow_schema)),
        relations={
            wanted: ds.dataset(
                pa.Table.from_pylist(relations[wanted], schema=_RELATIONS[wanted])
            )
            for wanted in table.relations
        },
        parameters={"top_k": TOP_K} if name == "rankings" else {},
    )


def loads(date: datetime.date) -> list[Load]:
    """A whole night."""
    return [load(name, rows(date)) for name, rows in ROWS.items()]


def publish(target: Target, *dates: datetime.date) -> dict[str, int]:
    """Publish nights into a warehouse; the rows of the last."""
    rows: dict[str, int] = {}
    for date in dates:
        staged = [target.stage(item, run_date=date) for item in loads(date)]
        rows = target.publish([target.run_checks(item) for item in staged])
    return rows
