"""Triplets of cached features as `tf.data`, in an order that follows from the seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tfrecords_schema import dataset_tables
from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError
from tfrecords_schema.hashing import stable_hash
from tfrecords_schema.records import product_key, scene_key
from trainer.features import FeatureReader

_STATISTICS_BLOCK = 64  # scenes: 26 MB of ResNet50 regions in float64


@dataclasses.dataclass(frozen=True, slots=True)
class TripletTable:
    """A split's pairs as rows into tables of features.

    Attributes:
        scenes: [n_scenes, global_dim] float16.
        regions: [n_scenes, n_regions, region_dim] float16, mapped from a file.
        products: [n_products, global_dim] float16.
        scene: [n_pairs] row of the pair's scene crop.
        positive: [n_pairs] row of its product.
        negatives: n_pairs arrays of rows of its negatives.
        category: [n_pairs] int32.
    """

    scenes: np.ndarray
    regions: np.ndarray
    products: np.ndarray
    scene: np.ndarray
    positive: np.ndarray
    negatives: list[np.ndarray]
    category: np.ndarray

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.scene)

    def gather(
        self, pairs: np.ndarray, negatives: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Features of triplets: scene, regions, positive, negative, category."""
        scene = self.scene[pairs]
        return (
            self.scenes[scene],
            np.asarray(self.regions[scene]),
            self.products[self.positive[pairs]],
            self.products[negatives],
            self.category[pairs],
        )


def read_categories(dataset: epath.Path) -> list[str]:
    """Categories of the catalogue, sorted; those without a training pair as well."""
    products = dataset_tables.read_rows(dataset / "products.parquet")
    return sorted({row["category"] for row in products})


def read_triplets(
    dataset: epath.Path,
    split: Split,
    reader: FeatureReader,
    *,
    categories: Sequence[str],
    scratch: Path,
) -> TripletTable:
    """Read a split's pairs and their features.

    Args:
        dataset: a complete data set.
        split: which of its splits.
        reader: features of every picture of the data set.
        categories: names, in the order of the model's table.
        scratch: an existing folder for the mapped regions.

    Raises:
        InputError: the split is empty, or features are missing.
    """
    rows = [
        row
        for row in dataset_tables.read_rows(dataset / "pairs.parquet")
        if row["split"] == split
    ]
    if not rows:
        raise InputError(
            f"split {split} of data set {dataset} is empty; a larger catalogue or "
            "another --seed of beam_jobs.build_dataset fills it"
        )
    sha256 = {
        row["product_id"]: row["sha256"]
        for row in dataset_tables.read_rows(dataset / "products.parquet")
    }
    wanted = {row["product_id"] for row in rows}.union(
        *(row["negative_ids"] for row in rows)
    )
    product_rows = {product_id: n for n, product_id in enumerate(sorted(wanted))}
    scene_keys = [_crop_key(row) for row in rows]
    scene_rows = {key: n for n, key in enumerate(sorted(set(scene_keys)))}
    numbers = {name: n for n, name in enumerate(categories)}
    return TripletTable(
        scenes=reader.pooled(list(scene_rows)),
        regions=reader.regions(list(scene_rows), scratch / f"regions-{split}.f16"),
        products=reader.pooled([product_key(sha256[name]) for name in product_rows]),
        scene=np.array([scene_rows[key] for key in scene_keys]),
        positive=np.array([product_rows[row["product_id"]] for row in rows]),
        negatives=[
            np.array([product_rows[name] for name in row["negative_ids"]])
            for row in rows
        ],
        category=np.array([numbers[row["category"]] for row in rows], np.int32),
    )


def _crop_key(row: dict[str, Any]) -> str:
    return scene_key(row["scene_sha256"], PixelBox(*row["crop_px"]))


def feature_statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, in float64, block by block.

    Args:
        features: [n, ..., dim]; may be mapped from a file.

    Returns:
        Both [dim] float32.
    """
    dim = features.shape[-1]
    count, total, squares = 0, np.zeros(dim), np.zeros(dim)
    # Shifted by a first guess of the mean: the mean is large against the deviation,
    # and the difference of two large sums would lose it.
    shift = np.asarray(features[:1], np.float64).reshape(-1, dim).mean(axis=0)
    for start in range(0, len(features), _STATISTICS_BLOCK):
        block = np.asarray(features[start : start + _STATISTICS_BLOCK], np.float64)
        block = block.reshape(-1, dim) - shift
        count += len(block)
        total += block.sum(axis=0)
        squares += np.square(block).sum(axis=0)
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0.0)
    return (shift + mean).astype(np.float32), np.sqrt(variance).astype(np.float32)


def epoch_triplets(
    table: TripletTable, epoch: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The order of an epoch and the negative that each pair shows in it.

    A pair goes through its negatives in turn, from one that differs between pairs.

    Returns:
        Pairs in order, and the product row of each one's negative, both [n_pairs].
    """
    generator = np.random.Generator(np.random.Philox(stable_hash(seed, "epoch", epoch)))
    order = generator.permutation(len(table))
    chosen = [
        table.negatives[pair][(pair + epoch) % len(table.negatives[pair])]
        for pair in order
    ]
    return order, np.array(chosen)


def make_dataset(
    table: TripletTable, pairs: np.ndarray, negatives: np.ndarray, *, batch_size: int
) -> tf.data.Dataset:
    """Batches of triplets as `model.StyleModel` takes them, in the order given.

    Args:
        table: features of the split.
        pairs: [n] rows of pairs.
        negatives: [n] product rows.
        batch_size: triplets in a batch; the last one may be smaller.
    """
    global_dim, (_, n_regions, region_dim) = table.scenes.shape[1], table.regions.shape
    types = (tf.float16, tf.float16, tf.float16, tf.float16, tf.int32)
    shapes = {
        "scene": (None, global_dim),
        "regions": (None, n_regions, region_dim),
        "positive": (None, global_dim),
        "negative": (None, global_dim),
        "category": (None,),
    }

    def gather(pairs: tf.Tensor, negatives: tf.Tensor) -> dict[str, tf.Tensor]:
        tensors = tf.numpy_function(
            table.gather, [pairs, negatives], types, stateful=False
        )
        return {
            name: tf.ensure_shape(tensor, shape)
            for (name, shape), tensor in zip(shapes.items(), tensors, strict=True)
        }

    return (
        tf.data.Dataset.from_tensor_slices((pairs, negatives))
        .batch(batch_size)
        .map(gather, num_parallel_calls=2, deterministic=True)
        .prefetch(2)
    )
