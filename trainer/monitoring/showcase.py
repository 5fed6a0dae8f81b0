"""Which scenes and products of a split TensorBoard shows, and who they are.

A pair table knows rows only; here they get back their ids and pictures.
"""

from __future__ import annotations

import dataclasses
import heapq
from typing import Any

import pyarrow.compute as pc
from etils import epath

from tfrecords_schema import dataset_tables
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import Split
from tfrecords_schema.hashing import stable_hash
from trainer.evaluation.gallery import choose_pairs
from trainer.inputs.pair_table import PairTable

SCENES = 8  # as many pictures as fit on a screen

PRODUCTS = 2_000
"""Of the projector: t-SNE of so many points is quick in a browser, and their sprite
stays below the 8,192 pixels a side that it can show."""

_COLUMNS = (
    "pair_id",
    "split",
    "scene_group",
    "scene_sha256",
    "crop_px",
    "product_id",
    "category",
    "negative_ids",
)


@dataclasses.dataclass(frozen=True, slots=True)
class ShownPair:
    """A pair whose scene is shown.

    Attributes:
        row: in the pair table.
        pair_id: of the data set.
        scene_group: scenes with the same content.
        sha256: the scene's picture.
        crop: what the model sees of it.
        category: what its attention looks for.
    """

    row: int
    pair_id: str
    scene_group: str
    sha256: str
    crop: PixelBox
    category: str


@dataclasses.dataclass(frozen=True, slots=True)
class ShownProduct:
    """A product whose vector is shown.

    Attributes:
        row: in the pair table.
        product_id: of the catalogue.
        category: its own.
        sha256: its picture.
    """

    row: int
    product_id: str
    category: str
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class Showcase:
    """What is shown: the same in every epoch and every run of a seed.

    Attributes:
        pairs: at most `SCENES`.
        products: at most `PRODUCTS`, by row.
    """

    pairs: tuple[ShownPair, ...]
    products: tuple[ShownProduct, ...]


def read_showcase(
    dataset: epath.Path, split: Split, table: PairTable, *, seed: int
) -> Showcase:
    """Choose what to show of a split.

    Args:
        dataset: a complete data set.
        split: which of its splits.
        table: its pairs, as `pair_table.read_pairs` reads them.
        seed: decides which; not what came out well.
    """
    rows: list[dict[str, Any]] = []
    for part in dataset_tables.read_parts(dataset / "pairs.parquet", _COLUMNS):
        rows += part.filter(pc.equal(part["split"], str(split))).to_pylist()
    return Showcase(
        pairs=_choose_scenes(rows, seed),
        products=_choose_products(dataset, rows, table, seed),
    )


def _choose_scenes(rows: list[dict[str, Any]], seed: int) -> tuple[ShownPair, ...]:
    pairs = {
        row["pair_id"]: ShownPair(
            number,
            row["pair_id"],
            row["scene_group"],
            row["scene_sha256"],
            PixelBox(*row["crop_px"]),
            row["category"],
        )
        for number, row in enumerate(rows)
    }
    chosen = choose_pairs(list(pairs.values()), seed=seed)
    return tuple(pairs[pair_id] for pair_id in chosen[:SCENES])


def _choose_products(
    dataset: epath.Path, rows: list[dict[str, Any]], table: PairTable, seed: int
) -> tuple[ShownProduct, ...]:
    row_of: dict[str, int] = {}
    for number, row in enumerate(rows):
        row_of[row["product_id"]] = int(table.positive[number])
        negatives = table.negatives[number].tolist()
        row_of.update(zip(row["negative_ids"], negatives, strict=True))
    chosen = set(
        heapq.nsmallest(
            PRODUCTS, row_of, key=lambda name: stable_hash(seed, "projector", name)
        )
    )
    found = [
        ShownProduct(
            row_of[row["product_id"]], row["product_id"], row["category"], row["sha256"]
        )
        for row in dataset_tables.read_rows(dataset / "products.parquet")
        if row["product_id"] in chosen
    ]
    return tuple(sorted(found, key=lambda product: product.row))
