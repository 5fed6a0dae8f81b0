"""Roots of runs for the report's tests, written without the jobs."""

from __future__ import annotations

import datetime
import hashlib
import html.parser
import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw
from small_root import write_segment

from beam_jobs.report.__main__ import main
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import ImageRecord, encode_image
from tfrecords_schema.segments import SegmentStore
from tfrecords_schema.table_folders import published_tables

RUN_DATE = datetime.date(2026, 11, 22)
RUN_ID = "m1"
HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert(2)'>"""
WEIGHTS_NOTE = "ImageNet weights could not be had; figures use seeded initial weights"
GONE = "0" * 64


def draw(seed: int, width: int, height: int) -> ImageRecord:
    """A picture of coloured blocks."""
    rng = random.Random(seed)
    image = Image.new("RGB", (width, height), "white")
    for _ in range(12):
        x, y = rng.randrange(width - 20), rng.randrange(height - 20)
        colour = tuple(rng.randrange(256) for _ in range(3))
        ImageDraw.Draw(image).rectangle((x, y, x + 60, y + 80), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    return ImageRecord(sha256, buffer.getvalue(), width, height)


def write_pictures(root: Root, pictures: list[ImageRecord]) -> None:
    write_segment(
        root.image_store,
        {picture.sha256: encode_image(picture) for picture in pictures},
    )


def anomaly(code: str, severity: str) -> dict[str, Any]:
    return {
        "code": code,
        "severity": severity,
        "statistic": "pairs",
        "slice": f"category={HOSTILE}",
        "value": 12345,
        "comparison": "max_relative_drop",
        "threshold": 0.25,
        "against": "previous",
        "reference": 99999,
        "kind": "",
        "description": "Pairs are gone.",
        "action": "Look at the catalogue.",
    }


def write_verdict(root: Root, *, passed: bool, anomalies: list[dict[str, Any]]) -> None:
    storage.write_json(
        root.path / "runs" / RUN_DATE.isoformat() / "validation.json",
        {
            "dataset": "d1",
            "baseline": "d0",
            "passed": passed,
            "rules": {"name": "rules.yaml", "digest": "0", "count": 66},
            "not_applied": {"some_rule": "no previous version to compare with"},
            "anomalies": anomalies,
        },
    )


def gallery_entry(scene: str, products: list[str], *, rank: int) -> dict[str, Any]:
    """An entry whose positive, `products[0]`, has the given rank."""
    others = products[1:]
    order = [*others[: rank - 1], products[0], *others[rank - 1 :]][:6]
    order = others[:6] if rank > 6 else order
    return {
        "pair_id": f"pair-{rank}",
        "scene_id": HOSTILE,
        "scene_sha256": scene,
        "crop_px": [0, 0, 200, 160],
        "category": f"Apparel|{HOSTILE}",
        "product_id": "p0" + HOSTILE,
        "product_sha256": products[0],
        "positive_rank": rank,
        "n_candidates": 345,
        "grid": [7, 7],
        "attention": [1 / 98] * 48 + [0.5 + 1 / 98],
        "top": [
            {
                "product_id": f"p{index}{HOSTILE}",
                "sha256": sha256,
                "distance": 0.1 * index,
                "is_positive": sha256 == products[0],
            }
            for index, sha256 in enumerate(order)
        ],
    }


def metric_rows() -> list[dict[str, Any]]:
    values = {"paper": 0.7, "random": 0.5, "backbone_cosine": 0.6, "paper_uncropped": 1}
    values |= {"paper_blanked": 0.95, "paper_shuffled_products": 0.9}
    slices = ("all", "seen", "unseen", f"Apparel|{HOSTILE}")
    rows = [
        (model, metric, part, value)
        for model, value in values.items()
        for metric in ("binary_accuracy", "mrr", "recall_at_10")
        for part in slices
    ]
    rows.append(("paper", "binary_accuracy_minus_random", "all", 0.2))
    names = ("model", "metric", "slice", "value")
    return [
        dict(zip(names, row, strict=True), low=row[3] - 0.05, high=row[3] + 0.05, n=80)
        for row in rows
    ]


def calibration() -> dict[str, Any]:
    shares = (0.3, 0.1, 0.02)
    return {
        "model": "paper",
        "base_share": 0.09,
        "bins": [
            {
                "nearest": 1.0 + number,
                "farthest": 1.9 + number,
                "n": 40,
                "share": share,
                "low": share - 0.02,
                "high": share + 0.02,
                "predicted": share,
            }
            for number, share in enumerate(shares)
        ],
        "rises": 0,
        "curve": {"intercept": 1.25, "slope": -2.5, "n": 50},
        "expected_calibration_error": 0.014,
    }


def write_model(root: Root, gallery: list[dict[str, Any]]) -> None:
    files = {
        "manifest.json": {"preset": "paper", "backbone": HOSTILE},
        "history.json": {
            "epochs": [
                {
                    "epoch": n,
                    "loss": 1 / n,
                    "validation_loss": 1.1 / n,
                    "validation_binary_accuracy": None if n == 1 else 0.6,
                }
                for n in range(1, 6)
            ],
            "best_epoch": 4,
        },
        "metrics.json": {
            "metrics": metric_rows(),
            "calibration": calibration(),
            "evaluation": {"model": "paper"},
        },
        "gate.json": {"promoted": True, "reasons": [f"better than {HOSTILE}"]},
        "gallery.json": gallery,
    }
    for name, content in files.items():
        storage.write_json(root.model(RUN_ID) / name, content)


def write_receipt(root: Root, stage: Stage, **outputs: str) -> None:
    notes = (WEIGHTS_NOTE,) if stage is Stage.TRAIN else ()
    counts = {"rows": 1234567, "crop_too_small": 12}
    root.write_receipt(RUN_DATE, Receipt(stage, outputs, counts, 75.2, notes=notes))


def judged_run(folder: Path) -> Root:
    """A run up to the gate; one product's picture is missing."""
    root = Root.of(str(folder))
    pictures = [draw(0, 200, 300), *(draw(seed, 150, 150) for seed in range(1, 8))]
    write_pictures(root, pictures)
    scene, *products = (picture.sha256 for picture in pictures)
    ranks = (1, 3, 12)
    gallery = [gallery_entry(scene, [*products, GONE], rank=rank) for rank in ranks]
    gallery[0]["top"][5]["sha256"] = GONE
    write_model(root, gallery)
    pair: dict[str, Any] = dict.fromkeys(dataset_tables.PAIRS.names)
    pair |= {"pair_id": "pair-1", "box": [0.2, 0.6, 0.5, 0.9]}
    table = pa.Table.from_pylist([pair])
    root.dataset("d1").mkdir(parents=True)
    pq.write_table(table, str(root.dataset("d1") / "pairs.parquet"))
    write_receipt(root, Stage.FETCH_IMAGES)
    write_receipt(root, Stage.TRAIN, model=RUN_ID, dataset="d1", features="f1")
    write_receipt(root, Stage.GATE, model=RUN_ID)
    write_verdict(root, passed=True, anomalies=[anomaly("pairs_few", "warn")])
    return root


def report(root: Root, *options: str) -> str:
    main(["--root", str(root.path), "--run_date", RUN_DATE.isoformat(), *options])
    return (root.report(RUN_DATE) / "index.html").read_text()


class Reader(html.parser.HTMLParser):
    """Tags with their attributes, and the text, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text = " ".join([*self.text.split(), *data.split()])


SCENES = ("s1", HOSTILE, "'); alert(3); ('", "#filter", "</script><script>alert(4)//")
HATS, SHOES = "Apparel|Hats", f"Apparel|Shoes {HOSTILE}"
BEFORE = RUN_DATE - datetime.timedelta(days=1)
NOW_RANKED = ("p1", "p2", "p3", "p4")
BEFORE_RANKED = ("p2", "p1", "p3", "p9")
"""p1 moved up, p2 down, p3 stayed, p4 entered and p9 left."""


def ranked_rows(
    run_date: datetime.date, products: Sequence[str], *, scenes: Sequence[str] = SCENES
) -> list[dict[str, Any]]:
    """Rows of the table `rankings`: each scene has the same list in each category."""
    versions = {"catalog_version": "c1", "model_version": RUN_ID, "run_id": "r1"}
    return [
        {
            "run_date": run_date,
            "domain": "fashion",
            "scene_id": scene,
            "category": category,
            "rank": rank,
            "product_id": product,
            "distance": 0.1 * rank,
            "dataset_version": "d1",
            **versions,
        }
        for category in (HATS, SHOES)
        for scene in scenes
        for rank, product in enumerate(products, start=1)
    ]


def write_rankings(root: Root, *, products: Sequence[str] = NOW_RANKED) -> None:
    """A complete ranking run, and the receipt that names it."""
    folder = root.rankings("r1")
    table = published_tables()["rankings"]
    rows = pa.Table.from_pylist(
        ranked_rows(RUN_DATE, products), schema=table.arrow_schema
    )
    storage.write_atomic(
        folder / "rankings-00000-of-00001.parquet", dataset_tables.arrow_bytes(rows)
    )
    keys = {"domain": "fashion"}
    queries = [
        {**keys, "scene_id": scene, "category": category}
        for category in (HATS, SHOES)
        for scene in SCENES
    ]
    ranked = [{**keys, "product_id": f"p{n}", "category": HATS} for n in range(1, 9)]
    dataset_tables.write_table(
        folder / "queries.parquet", queries, dataset_tables.RANKED_QUERIES
    )
    dataset_tables.write_table(
        folder / "products.parquet", ranked, dataset_tables.RANKED_PRODUCTS
    )
    storage.write_manifest(folder, {"model": RUN_ID, "dataset": "d1", **keys})
    write_receipt(root, Stage.RANK_CATALOG, rankings="r1")


def write_attention(root: Root) -> None:
    """Attention of every list, as `rank_catalog` writes it: all on one cell."""
    weights = [0.0] * 48 + [1.0]
    rows = [
        {"scene_id": scene, "category": category, "grid": 7, "attention": weights}
        for category in (HATS, SHOES)
        for scene in SCENES
    ]
    path = root.rankings("r1") / "query_attention-00000-of-00001.parquet"
    storage.write_atomic(path, dataset_tables.arrow_bytes(pa.Table.from_pylist(rows)))


def publish_rows(root: Root, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a table of the warehouse."""
    table = published_tables()[name]
    found = pa.Table.from_pylist(list(rows), schema=table.arrow_schema)
    with duckdb.connect(str(root.warehouse)) as connection:
        connection.register("found", found)
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name} ({table.duckdb_columns})"
        )
        connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM found")


def evaluation_rows(run_date: datetime.date, value: float) -> list[dict[str, Any]]:
    """What a date's model was published with, beside a baseline and a control."""
    return [
        {
            "run_date": run_date,
            "run_id": f"model-of-{run_date}",
            "model": model,
            "metric": "binary_accuracy",
            "slice": "all",
            "value": value,
            "low": value - 0.05,
            "high": value + 0.05,
            "n": 80,
            "dataset_version": "d1",
        }
        for model in ("paper", "random", "paper_uncropped")
    ]


def write_catalogue(root: Root) -> None:
    """Pictures of scenes and products, the tables that name them, and failures."""
    scenes = {scene: draw(20 + n, 120, 180) for n, scene in enumerate(SCENES)}
    products = {f"p{n}": draw(40 + n, 150, 150) for n in (1, 2, 3, 4, 9)}
    pictures = [*scenes.values(), *products.values()]
    failed = {
        "image_id": HOSTILE,
        "kind": "product",
        "url": f"http://images.example/{HOSTILE}",
        "code": "not_found",
        "http_status": 404,
    }
    writer = SegmentStore(root.image_store).writer("pictures", "catalogue", 1)
    status = pa.Table.from_pylist([failed], schema=dataset_tables.IMAGE_STATUS)
    encoded = {picture.sha256: encode_image(picture) for picture in pictures}
    writer.write(0, encoded.items(), tables={"status": status})
    writer.finish({})
    for name, found, schema in (
        ("scenes", scenes, dataset_tables.SCENES),
        ("products", products, dataset_tables.PRODUCTS),
    ):
        rows = [
            {f"{name[:-1]}_id": key, "sha256": picture.sha256, **_OTHERS}
            for key, picture in found.items()
        ]
        dataset_tables.write_table(root.dataset("d1") / f"{name}.parquet", rows, schema)


_OTHERS = {
    **dict.fromkeys(("domain", "category", "phash", "scene_group", "split"), ""),
    **dict.fromkeys(("width", "height", "train_positives"), 0),
}


def published_run(folder: Path) -> Root:
    """A run with lists, attention, an earlier date, a history and failures."""
    root = judged_run(folder)
    write_catalogue(root)
    write_rankings(root)
    write_attention(root)
    publish_rows(root, "rankings", ranked_rows(BEFORE, BEFORE_RANKED))
    for run_date, value in ((BEFORE, 0.6), (RUN_DATE, 0.7)):
        publish_rows(root, "model_evaluations", evaluation_rows(run_date, value))
    return root
