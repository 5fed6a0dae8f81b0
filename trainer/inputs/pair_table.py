"""A split's pairs as rows into tables of cached features, or of pictures."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from tfrecords_schema import dataset_tables
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError
from tfrecords_schema.records import product_key
from trainer.inputs.features import FeatureReader
from trainer.inputs.kept_maps import KeptTable
from trainer.inputs.rows import Rows
from trainer.pictures.picture_table import PictureStore, PictureTable, Place

NEAR_BITS = 4
"""Product pictures so many of 64 bits apart are taken for the same, as in mining."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """A split's pairs.

    Where the input is pictures, `scenes` and `products` are [n, 224, 224, 3] uint8 and
    `regions` is [n_scenes, cells², 224, 224, 3], decoded as they are asked for. Where
    maps are kept, all four are float32, read as they are asked for.

    Attributes:
        scenes: [n_scenes, global_dim] float16.
        regions: [n_scenes, n_regions, region_dim] float16, mapped from a file.
        products: [n_products, global_dim] float16.
        scene: [n_pairs] row of the pair's scene crop.
        positive: [n_pairs] row of its product.
        negatives: n_pairs arrays of rows of its mined negatives, none of them empty.
        alike: n_pairs arrays of rows of products that are no negatives of the pair,
            sorted: its own, its co-positives, and near-duplicates of them.
        group: [n_pairs] number of the pair's scene, near-duplicates of it included.
        category: [n_pairs] int32.
        product_category: [n_products] int32.
        product_maps: [n_products, region_dim], where maps are kept and the attention
            looks for those of products; else None.
    """

    scenes: Rows
    regions: Rows
    products: Rows
    scene: np.ndarray
    positive: np.ndarray
    negatives: Sequence[np.ndarray]
    alike: Sequence[np.ndarray]
    group: np.ndarray
    category: np.ndarray
    product_category: np.ndarray
    product_maps: KeptTable | None = None

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.scene)

    def product_inputs(self, rows: slice | np.ndarray) -> tuple[np.ndarray, ...]:
        """What a model's `product_vectors` makes vectors of some products of."""
        if self.product_maps is None:
            return (self.products[rows],)
        return self.products[rows], self.product_maps[rows]


def read_categories(dataset: epath.Path) -> list[str]:
    """Categories of the catalogue, sorted; those without a training pair as well."""
    products = dataset_tables.read_rows(dataset / "products.parquet")
    return sorted({row["category"] for row in products})


def read_pairs(
    dataset: epath.Path,
    split: Split,
    reader: FeatureReader,
    *,
    categories: Sequence[str],
    scratch: Path,
    with_regions: bool = True,
    cold_negatives: bool = True,
) -> PairTable:
    """Read a split's pairs and their features.

    Args:
        dataset: a complete data set.
        split: which of its splits.
        reader: features of every picture of the data set.
        categories: names, in the order of the model's table.
        scratch: an existing folder for the mapped regions.
        with_regions: whether they are read at all; else there are none of them.
        cold_negatives: see `config.LossConfig`.

    Raises:
        InputError: the split is empty, a pair has no negative, or features are missing.
    """
    rows = _read_rows(dataset, split, categories, cold_negatives)
    keys = [place.scene_key for place in rows.scenes]
    regions = np.empty((len(keys), 0, 0), np.float16)
    if with_regions:
        regions = reader.regions(keys, scratch / f"regions-{split}.f16")
    return PairTable(
        scenes=reader.pooled(keys),
        regions=regions,
        products=reader.pooled([product_key(place.sha256) for place in rows.products]),
        **rows.columns,
    )


def read_picture_pairs(
    dataset: epath.Path,
    split: Split,
    store: PictureStore,
    *,
    categories: Sequence[str],
    cells: int,
    cold_negatives: bool = True,
) -> PairTable:
    """Read a split's pairs, and see that all their pictures can be decoded.

    Args:
        dataset: a complete data set.
        split: which of its splits.
        store: with every picture of the data set.
        categories: names, in the order of the model's table.
        cells: that scenes are cut into, in either direction; 0 for none.
        cold_negatives: see `config.LossConfig`.

    Raises:
        InputError: the split is empty, a pair has no negative, or a picture is missing
            or broken.
    """
    rows = _read_rows(dataset, split, categories, cold_negatives)
    store.check(place.sha256 for place in (*rows.scenes, *rows.products))
    return PairTable(
        scenes=PictureTable(store, rows.scenes),
        regions=PictureTable(store, rows.scenes, cells=cells),
        products=PictureTable(store, rows.products),
        **rows.columns,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Rows:
    """A split's pairs, and the pictures that they are about.

    Attributes:
        scenes: crops, in the order of their keys.
        products: in the order of their ids.
        columns: the other fields of `PairTable`.
    """

    scenes: list[Place]
    products: list[Place]
    columns: dict[str, Any]


def _read_rows(
    dataset: epath.Path,
    split: Split,
    categories: Sequence[str],
    cold_negatives: bool,
) -> _Rows:
    pairs = dataset / "pairs.parquet"
    rows = [row for row in dataset_tables.read_rows(pairs) if row["split"] == split]
    _check_pairs(rows, dataset, split)
    if not cold_negatives:
        rows = _with_negatives_of(_trained(pairs), rows)
    of_product = {
        row["product_id"]: row
        for row in dataset_tables.read_rows(dataset / "products.parquet")
    }
    wanted = {row["product_id"] for row in rows}.union(
        *(row["negative_ids"] for row in rows)
    )
    product_ids = sorted(wanted)
    product_rows = {product_id: n for n, product_id in enumerate(product_ids)}
    crops = [Place(row["scene_sha256"], PixelBox(*row["crop_px"])) for row in rows]
    scenes = sorted(set(crops), key=lambda place: place.scene_key)
    scene_rows = {place: n for n, place in enumerate(scenes)}
    numbers = {name: n for n, name in enumerate(categories)}
    kept = [of_product[name] for name in product_ids]
    columns = {
        "scene": np.array([scene_rows[place] for place in crops]),
        "positive": np.array([product_rows[row["product_id"]] for row in rows]),
        "negatives": [
            np.array([product_rows[name] for name in row["negative_ids"]])
            for row in rows
        ],
        "alike": _alike(rows, of_product, product_rows),
        "group": np.unique([row["scene_group"] for row in rows], return_inverse=True)[
            1
        ],
        "category": np.array([numbers[row["category"]] for row in rows], np.int32),
        "product_category": np.array(
            [numbers[row["category"]] for row in kept], np.int32
        ),
    }
    return _Rows(scenes, [Place(row["sha256"]) for row in kept], columns)


def _trained(pairs: epath.Path) -> set[str]:
    """Products that a pair of the train split has."""
    return {
        row["product_id"]
        for part in dataset_tables.read_parts(pairs, ["product_id", "split"])
        for row in part.to_pylist()
        if row["split"] == Split.TRAIN
    }


def _with_negatives_of(
    products: set[str], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Rows with these alone among their negatives; one that has none keeps its own."""
    return [
        {
            **row,
            "negative_ids": [n for n in row["negative_ids"] if n in products]
            or row["negative_ids"],
        }
        for row in rows
    ]


def _check_pairs(
    rows: Sequence[Mapping[str, Any]], dataset: epath.Path, split: Split
) -> None:
    if not rows:
        raise InputError(
            f"split {split} of data set {dataset} is empty; a larger catalogue or "
            "another --seed of beam_jobs.build_dataset fills it"
        )
    for row in rows:
        if not row["negative_ids"]:
            raise InputError(
                f"pair {row['pair_id']} of data set {dataset} has no negative: "
                f"category {row['category']!r} has no other product; build the data "
                "set again with beam_jobs.build_dataset, which rejects such pairs"
            )


def _alike(
    rows: Sequence[Mapping[str, Any]],
    of_product: Mapping[str, Mapping[str, Any]],
    product_rows: Mapping[str, int],
) -> list[np.ndarray]:
    """Rows of products that are no negatives of each pair."""
    numbers: dict[str, list[int]] = defaultdict(list)
    hashes: dict[str, list[int]] = defaultdict(list)
    for product_id, number in product_rows.items():
        row = of_product[product_id]
        numbers[row["category"]].append(number)
        hashes[row["category"]].append(int(row["phash"], 16))
    of_category = {
        name: (np.array(numbers[name]), np.array(hashes[name], np.uint64))
        for name in numbers
    }
    found = []
    for row in rows:
        positives = {row["product_id"], *row["co_positive_ids"]}
        known = [of_product[name] for name in positives if name in of_product]
        candidates, phashes = of_category[row["category"]]
        near = near_any(phashes, [int(product["phash"], 16) for product in known])
        own = [product_rows[name] for name in positives if name in product_rows]
        found.append(np.union1d(candidates[near], own).astype(np.int64))
    return found


def near_any(hashes: np.ndarray, others: Iterable[int]) -> np.ndarray:
    """Which of some perceptual hashes are near to any of the others.

    Args:
        hashes: [n] uint64.
        others: to hold them against.

    Returns:
        [n] bool.
    """
    near = np.zeros(len(hashes), bool)
    for other in others:
        near |= np.bitwise_count(hashes ^ np.uint64(other)) <= NEAR_BITS
    return near
