"""A healthy data set made by hand, large enough for every rule, to plant faults in."""

from __future__ import annotations

import dataclasses
from typing import Any

from google.protobuf import text_format
from small_root import pair_row, product_row, scene_row, sha
from tensorflow_metadata.proto.v0 import schema_pb2

from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.field_statistics import FieldKind
from tfrecords_schema.layout import Root
from tfrecords_schema.records import TripletRecord
from tfrecords_schema.statistics import TripletStatistics, field_kinds
from tfrecords_schema.statistics_files import write_statistics

CATEGORIES = ("bags", "hats", "shoes", "skirts")
SCENES = 1600
PRODUCTS = 1000
NEGATIVES = 4
REJECTED = 32
MIB = 1 << 20
_SPLITS = ("test", "validation", *["train"] * 8)

Row = dict[str, Any]


@dataclasses.dataclass
class PlantedDataset:
    """What is in a data set's folder, to be changed before it is written.

    Attributes:
        counts: of the manifest, over those that the tables tell.
        records: of each split's shards.
        schema: None for no such file.
        leaks: of the leakage report, by kind.
        fetched: counts of the fetch's receipt.
    """

    pairs: list[Row]
    scenes: list[Row]
    products: list[Row]
    rejections: list[Row]
    counts: dict[str, int]
    shards: dict[str, list[list[int]]]
    records: list[TripletRecord]
    schema: schema_pb2.Schema | None
    leaks: dict[str, int]
    fetched: dict[str, int]

    def of_split(self, split: str) -> list[Row]:
        return [row for row in self.pairs if row["split"] == split]

    def of_category(self, category: str) -> list[Row]:
        return [row for row in self.pairs if row["category"] == category]

    def without(self, dropped: list[Row]) -> None:
        gone = {id(row) for row in dropped}
        self.pairs = [row for row in self.pairs if id(row) not in gone]

    def write(self, root: Root, version: str) -> None:
        folder = root.dataset(version)
        for name, schema in (
            ("pairs", dataset_tables.PAIRS),
            ("scenes", dataset_tables.SCENES),
            ("products", dataset_tables.PRODUCTS),
            ("rejections", dataset_tables.REJECTIONS),
        ):
            rows = getattr(self, name)
            dataset_tables.write_table(folder / f"{name}.parquet", rows, schema)
        statistics = TripletStatistics()
        statistics.add(self.records)
        write_statistics(folder, {"train": statistics})
        if self.schema is not None:
            text = text_format.MessageToString(self.schema)
            storage.write_atomic(folder / "schema.pbtxt", text.encode())
        storage.write_json(folder / "leakage.json", self._leakage())
        storage.write_manifest(folder, self._manifest())

    def _manifest(self) -> Row:
        tables = {
            name: len(getattr(self, name)) for name in ("pairs", "scenes", "products")
        }
        return {
            "counts": {**tables, "triplets": len(self.records), **self.counts},
            "rules": {"crop": {"min_crop_area": 0.2}},
            "shards": self.shards,
        }

    def _leakage(self) -> Row:
        overlaps = [{"kind": kind, "count": n} for kind, n in self.leaks.items()]
        return {"wrong_seen_flags": 0, "overlaps": overlaps}


def healthy() -> PlantedDataset:
    """Two pairs a scene, 8:1:1, all categories alike, half of test products seen."""
    return PlantedDataset(
        pairs=[_pair(number) for number in range(2 * SCENES)],
        scenes=[scene_row(f"s{n}", _SPLITS[n % 10]) for n in range(SCENES)],
        products=[product_row(f"p{n}", _category(n)) for n in range(PRODUCTS)],
        rejections=[rejection("crop_too_small", n) for n in range(REJECTED)],
        counts={"scenes_without_image": 8, "products_without_image": 5},
        shards={
            "train": [[10, 100 * MIB], [10, 90 * MIB]],
            "validation": [[5, 20 * MIB]],
            "test": [[5, 20 * MIB]],
        },
        records=[record(n) for n in range(30)],
        schema=schema(),
        leaks={"scene": 0, "scene_picture": 0, "positive": 17},
        fetched={"pictures": SCENES + PRODUCTS, "ok": SCENES + PRODUCTS},
    )


def _category(product: int) -> str:
    return CATEGORIES[product % len(CATEGORIES)]


def _pair(number: int) -> Row:
    scene, product = number // 2, (7 * number + number // 4) % PRODUCTS
    step = len(CATEGORIES)
    row = pair_row(
        f"s{scene}",
        f"p{product}",
        _category(product),
        split=_SPLITS[scene % 10],
        negatives=[f"p{(product + step * n) % PRODUCTS}" for n in range(1, 5)],
    )
    return row | {
        "pair_id": f"pair {number}",
        "product_seen": _SPLITS[scene % 10] == "train" or number % 2 == 0,
        "box": [0.1, 0.7, 0.5, 0.9],  # under the crop, 0.08 of the picture
    }


def rejection(code: str, line: int) -> Row:
    return {"source": "fashion.json", "line": line, "code": code, "detail": ""}


def record(number: int, **changed: Any) -> TripletRecord:
    """A record whose pictures are only bytes: nothing here decodes them."""
    values = {
        FieldKind.TEXT: f"text {number}",
        FieldKind.PICTURE: b"\xff" * (1000 + number),
        FieldKind.INTEGER: number,
    }
    fields: Row = {name: values.get(kind) for name, kind in field_kinds().items()}
    fields |= {
        "category": _category(number),
        "box": (0.125, 0.75, 0.5, 1.0),
        "crop_px": (0, 0, 64, 48),
        "scene_sha256": sha(f"s{number}"),
        "config_hash": "c0ffee",
        "code_version": 3,
    }
    return TripletRecord(**{**fields, **changed})


def schema() -> schema_pb2.Schema:
    """What the records are, told by hand: lists of four, or single values."""
    message = schema_pb2.Schema()
    types = {
        FieldKind.TEXT: schema_pb2.BYTES,
        FieldKind.PICTURE: schema_pb2.BYTES,
        FieldKind.INTEGER: schema_pb2.INT,
        FieldKind.REAL: schema_pb2.FLOAT,
    }
    for name, kind in field_kinds().items():
        feature = message.feature.add(name=name, type=types[kind])
        feature.presence.min_fraction = 1.0
        feature.presence.min_count = 1
        feature.shape.dim.add(size=4 if name in ("box", "crop_px") else 1)
    return message
