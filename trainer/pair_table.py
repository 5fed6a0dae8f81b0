"""A split's pairs as rows into tables of cached features."""

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
from tfrecords_schema.records import product_key, scene_key
from trainer.features import FeatureReader

NEAR_BITS = 4
"""Product pictures so many of 64 bits apart are taken for the same, as in mining."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """A split's pairs.

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
    """

    scenes: np.ndarray
    regions: np.ndarray
    products: np.ndarray
    scene: np.ndarray
    positive: np.ndarray
    negatives: Sequence[np.ndarray]
    alike: Sequence[np.ndarray]
    group: np.ndarray
    category: np.ndarray
    product_category: np.ndarray

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.scene)


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
) -> PairTable:
    """Read a split's pairs and their features.

    Args:
        dataset: a complete data set.
        split: which of its splits.
        reader: features of every picture of the data set.
        categories: names, in the order of the model's table.
        scratch: an existing folder for the mapped regions.
        with_regions: whether they are read at all; else there are none of them.

    Raises:
        InputError: the split is empty, a pair has no negative, or features are missing.
    """
    rows = [
        row
        for row in dataset_tables.read_rows(dataset / "pairs.parquet")
        if row["split"] == split
    ]
    _check_pairs(rows, dataset, split)
    of_product = {
        row["product_id"]: row
        for row in dataset_tables.read_rows(dataset / "products.parquet")
    }
    wanted = {row["product_id"] for row in rows}.union(
        *(row["negative_ids"] for row in rows)
    )
    product_ids = sorted(wanted)
    product_rows = {product_id: n for n, product_id in enumerate(product_ids)}
    scene_keys = [_crop_key(row) for row in rows]
    scene_rows = {key: n for n, key in enumerate(sorted(set(scene_keys)))}
    numbers = {name: n for n, name in enumerate(categories)}
    kept = [of_product[name] for name in product_ids]
    regions = np.empty((len(scene_rows), 0, 0), np.float16)
    if with_regions:
        regions = reader.regions(list(scene_rows), scratch / f"regions-{split}.f16")
    return PairTable(
        scenes=reader.pooled(list(scene_rows)),
        regions=regions,
        products=reader.pooled([product_key(row["sha256"]) for row in kept]),
        scene=np.array([scene_rows[key] for key in scene_keys]),
        positive=np.array([product_rows[row["product_id"]] for row in rows]),
        negatives=[
            np.array([product_rows[name] for name in row["negative_ids"]])
            for row in rows
        ],
        alike=_alike(rows, of_product, product_rows),
        group=np.unique([row["scene_group"] for row in rows], return_inverse=True)[1],
        category=np.array([numbers[row["category"]] for row in rows], np.int32),
        product_category=np.array([numbers[row["category"]] for row in kept], np.int32),
    )


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


def _crop_key(row: Mapping[str, Any]) -> str:
    return scene_key(row["scene_sha256"], PixelBox(*row["crop_px"]))


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
