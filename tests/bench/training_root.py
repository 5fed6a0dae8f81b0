"""A storage root with a data set and cached features to train on and to evaluate.

The features are noise, in the shapes that ResNet50 gives: what training and evaluating
cost does not depend on what there is to learn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.repeated_pairs import CATEGORIES, NEGATIVES
from tests.bench.step_products import RESNET50, Shapes
from tests.small_root import (
    pair_row,
    product_row,
    scene_row,
    write_dataset,
    write_features,
)
from tfrecords_schema.boxes import Box, PixelBox, to_pixels
from tfrecords_schema.codes import Split
from tfrecords_schema.layout import Root
from tfrecords_schema.records import (
    FeatureRecord,
    blanked_key,
    product_key,
    scene_key,
)

PAIRS_A_SCENE = 4
_MARGIN = 0.05  # that of the data set, `small_root.RULES`


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """Of a data set.

    Attributes:
        pairs: of each split.
        products: in all categories together.
    """

    pairs: Mapping[Split, int]
    products: int


def write_training_root(path: Path, size: Size, shapes: Shapes = RESNET50) -> Root:
    """Write it."""
    root = Root.of(str(path))
    products = [
        product_row(f"product-{n:06d}", CATEGORIES[n % len(CATEGORIES)])
        # Or all would be near-duplicates.
        | {"phash": f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}"}
        for n in range(size.products)
    ]
    pairs = [
        _pair(split, number, products)
        for split, count in size.pairs.items()
        for number in range(count)
    ]
    scenes = {pair["scene_id"]: pair["split"] for pair in pairs}
    write_dataset(
        root,
        products=products,
        scenes=[scene_row(name, split) for name, split in scenes.items()],
        pairs=pairs,
    )
    write_features(root, list(_features(pairs, products, shapes)))
    return root


def _pair(split: Split, number: int, products: list[dict[str, Any]]) -> dict[str, Any]:
    """Pairs of a scene differ in product and crop."""
    own = products[number % len(products)]
    same_category = len(CATEGORIES) * np.arange(1, NEGATIVES + 1)
    return pair_row(
        f"{split}-{number // PAIRS_A_SCENE}",
        own["product_id"],
        own["category"],
        split=split,
        negatives=[
            products[other]["product_id"]
            for other in (number + same_category) % len(products)
        ],
        crop=(0, 0, 50 + number % PAIRS_A_SCENE, 80),
    )


def _features(
    pairs: list[dict[str, Any]], products: list[dict[str, Any]], shapes: Shapes
) -> Iterator[FeatureRecord]:
    """Of crops and products; of the test split what the controls look at as well."""
    generator = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32).astype(np.float16)

    keys: dict[str, None] = {}  # in order, each once
    for pair in pairs:
        sha256 = pair["scene_sha256"]
        keys[scene_key(sha256, PixelBox(*pair["crop_px"]))] = None
        if pair["split"] == Split.TEST:
            covered = to_pixels(Box(*pair["box"]).grown(_MARGIN), 100, 100)
            keys[scene_key(sha256)] = keys[blanked_key(sha256, covered)] = None
    for key in keys:
        regions = drawn(shapes.n_regions, shapes.region_dim)
        yield FeatureRecord(key, drawn(shapes.global_dim), regions)
    for product in products:
        nothing = np.empty((0, shapes.region_dim), np.float16)
        key = product_key(product["sha256"])
        yield FeatureRecord(key, drawn(shapes.global_dim), nothing)
