"""The pairs of a held-out split and the catalogue each of them is ranked against.

A category is evaluated as a whole and alone: its products, its pairs, each pair's
co-positives and drawn negatives, as columns of one distance matrix. The negatives are
drawn here, once, so that every model answers the same questions.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from etils import epath

from tfrecords_schema import dataset_tables
from tfrecords_schema.box_areas import BoxAreas, read_box_areas
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import RESERVED_SLICES
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import stable_hash
from tfrecords_schema.records import blanked_key, product_key, scene_key
from trainer.evaluation.scene_features import Features, SceneView

_BLOCK_PAIRS = 256
"""A pair's regions are about 100 KB: 25 MB for a block."""

_BLOCK_ENTRIES = 4_000_000
"""Distances held at once, 16 MB of float32."""


@dataclasses.dataclass(frozen=True, slots=True)
class EvalPair:
    """One held-out pair; see `dataset_tables.PAIRS` for the fields.

    `box_px` is the product's box in the scene's picture, grown as for the crop.
    """

    pair_id: str
    scene_id: str
    scene_group: str
    scene_sha256: str
    crop_px: tuple[int, int, int, int]
    box_px: tuple[int, int, int, int]
    category: str
    product_id: str
    product_sha256: str
    product_seen: bool
    co_positive_ids: frozenset[str]

    def scene_key(self, view: SceneView = SceneView.CROP) -> str:
        """Feature key of what is looked at."""
        match view:
            case SceneView.CROP:
                return scene_key(self.scene_sha256, PixelBox(*self.crop_px))
            case SceneView.WHOLE:
                return scene_key(self.scene_sha256)
            case SceneView.BLANKED:
                return blanked_key(self.scene_sha256, PixelBox(*self.box_px))


# Those of a pair that are columns of the table, and the columns that are read: not the
# ids of the mined negatives, which are most of it.
_FIELDS = [
    field.name for field in dataclasses.fields(EvalPair) if field.name != "box_px"
]
_COLUMNS = [*_FIELDS, "split", "box"]


@dataclasses.dataclass(frozen=True, slots=True)
class Product:
    """One product of the catalogue."""

    product_id: str
    sha256: str
    train_positives: int


@dataclasses.dataclass(frozen=True, slots=True)
class EvalSet:
    """A split's pairs by category, and the products of those categories.

    Attributes:
        pairs: category → its pairs, by pair_id; categories sorted.
        products: category → its whole catalogue, by product_id.
    """

    pairs: Mapping[str, tuple[EvalPair, ...]]
    products: Mapping[str, tuple[Product, ...]]

    def all_pairs(self) -> list[EvalPair]:
        """All pairs, category after category: the row order of every result."""
        return [pair for pairs in self.pairs.values() for pair in pairs]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CategoryTask:
    """What a scorer needs to rank one category, and the metrics to judge it.

    Products with the same picture share a row of `pooled`, and so get exactly equal
    distances, whatever order a matrix product sums in.

    Attributes:
        category: its name.
        pairs: n pairs.
        product_ids: m products, sorted.
        popularity: [m] float32, positives in the train split.
        pictures: sha256 of the distinct product pictures.
        pooled: [len(pictures), global_dim] float16, their features.
        picture_of: [m] which of the pictures each product has.
        positives: [n] column of each pair's positive.
        excluded: n arrays of columns: each pair's co-positives.
        negatives: [n, k] columns of the drawn negatives, filled up with -1.
    """

    category: str
    pairs: tuple[EvalPair, ...]
    product_ids: tuple[str, ...]
    popularity: np.ndarray
    pictures: tuple[str, ...]
    pooled: np.ndarray
    picture_of: np.ndarray
    positives: np.ndarray
    excluded: tuple[np.ndarray, ...]
    negatives: np.ndarray

    def blocks(self) -> Iterator[slice]:
        """Rows of pairs whose distances fit in memory together."""
        fitting = max(1, _BLOCK_ENTRIES // len(self.product_ids))
        size = min(_BLOCK_PAIRS, fitting)
        for start in range(0, len(self.pairs), size):
            yield slice(start, min(start + size, len(self.pairs)))

    def candidates_only(self, distances: np.ndarray, rows: slice) -> np.ndarray:
        """A copy of [rows, m] distances with co-positives infinitely far away."""
        kept = distances.copy()
        for row, columns in zip(kept, self.excluded[rows], strict=True):
            row[columns] = np.inf
        return kept


def load_eval_set(folder: epath.Path, split: str) -> EvalSet:
    """Read a split of a complete data set.

    Raises:
        InputError: the data set is incomplete, the split is empty, or a category has
            the name of another slice.
    """
    pairs = read_pairs(folder, split)
    if not pairs:
        raise InputError(
            f"--split {split} of dataset version {folder.name} has no pairs; choose "
            "another --split, or build the data set from more scenes"
        )
    for name in sorted(RESERVED_SLICES & pairs.keys()):
        raise InputError(f"category {name!r} has the name of a slice; rename it")
    products = defaultdict(list)
    for row in dataset_tables.read_rows(folder / "products.parquet"):
        if row["category"] in pairs:
            products[row["category"]].append(
                Product(row["product_id"], row["sha256"], row["train_positives"])
            )
    return EvalSet(
        pairs, {name: _sorted(products[name], "product_id") for name in pairs}
    )


def read_pairs(folder: epath.Path, split: str) -> dict[str, tuple[EvalPair, ...]]:
    """A split's pairs by category, both sorted; none where the split is empty.

    Raises:
        InputError: the data set is incomplete.
    """
    areas = read_box_areas(folder)
    pairs = defaultdict(list)
    for part in dataset_tables.read_parts(folder / "pairs.parquet", _COLUMNS):
        for row in part.filter(pc.equal(part["split"], str(split))).to_pylist():
            pairs[row["category"]].append(_pair(row, areas))
    return {name: _sorted(pairs[name], "pair_id") for name in sorted(pairs)}


def _pair(row: Mapping[str, Any], areas: BoxAreas) -> EvalPair:
    fields = {name: row[name] for name in _FIELDS}
    fields["crop_px"] = tuple(fields["crop_px"])
    fields["box_px"] = tuple(areas.pixels(row["scene_sha256"], row["box"]))
    # A product is never its own co-positive, however the list was made.
    fields["co_positive_ids"] = frozenset(row["co_positive_ids"]) - {row["product_id"]}
    return EvalPair(**fields)


def _sorted(rows: list[Any], field: str) -> tuple[Any, ...]:
    return tuple(sorted(rows, key=lambda row: getattr(row, field)))


def category_task(
    eval_set: EvalSet, category: str, *, features: Features, negatives: int, seed: int
) -> CategoryTask:
    """Lay out one category.

    Args:
        eval_set: the split.
        category: one of its categories.
        features: where the products' pooled features are.
        negatives: how many to draw per pair; all candidates where there are fewer.
        seed: of the draws.

    Raises:
        InputError: a pair's product is not in the catalogue of its category.
    """
    products = eval_set.products[category]
    pictures = sorted({product.sha256 for product in products})
    row_of = {sha256: i for i, sha256 in enumerate(pictures)}
    catalogue = CategoryTask(
        category=category,
        pairs=(),
        product_ids=tuple(product.product_id for product in products),
        popularity=np.array([p.train_positives for p in products], np.float32),
        pictures=tuple(pictures),
        pooled=features.pooled([product_key(sha256) for sha256 in pictures]),
        picture_of=np.array([row_of[p.sha256] for p in products], np.int64),
        positives=np.empty(0, np.int64),
        excluded=(),
        negatives=np.empty((0, negatives), np.int64),
    )
    return with_pairs(
        catalogue, eval_set.pairs[category], negatives=negatives, seed=seed
    )


def with_pairs(
    task: CategoryTask, pairs: Sequence[EvalPair], *, negatives: int, seed: int
) -> CategoryTask:
    """The same catalogue for other pairs of its category; see `category_task`.

    Raises:
        InputError: a pair's product is not in the catalogue of its category.
    """
    column_of = {product_id: i for i, product_id in enumerate(task.product_ids)}
    for pair in pairs:
        if pair.product_id not in column_of:
            raise InputError(
                f"pair {pair.pair_id}: product {pair.product_id} is not in category "
                f"{task.category!r} of products.parquet; build the data set again"
            )
    positives = np.array([column_of[pair.product_id] for pair in pairs], np.int64)
    excluded = tuple(_columns(pair.co_positive_ids, column_of) for pair in pairs)
    drawn = np.full((len(pairs), negatives), -1, np.int64)
    for i, pair in enumerate(pairs):
        others = np.delete(np.arange(len(column_of)), [*excluded[i], positives[i]])
        columns = draw(others, negatives, key=stable_hash(seed, pair.pair_id))
        drawn[i, : len(columns)] = columns
    return dataclasses.replace(
        task,
        pairs=tuple(pairs),
        positives=positives,
        excluded=excluded,
        negatives=drawn,
    )


def _columns(product_ids: frozenset[str], column_of: Mapping[str, int]) -> np.ndarray:
    """Sorted columns of those products that are in the category."""
    found = sorted(column_of[name] for name in product_ids if name in column_of)
    return np.array(found, np.int64)


def draw(items: np.ndarray, n: int, *, key: int) -> np.ndarray:
    """Draw up to n distinct items, the same for the same key; all if there are fewer.

    Args:
        items: [m] whatever to draw from.
        n: how many.
        key: seed.
    """
    if len(items) <= n:
        return items
    generator = np.random.Generator(np.random.Philox(key=key))
    return generator.choice(items, size=n, replace=False)
