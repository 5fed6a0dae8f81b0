"""Pairs and products to mine negatives for, and a small model with their features."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import keras
import numpy as np
from filled_model import fill_weights
from small_root import BACKBONE, write_features

from beam_jobs.catalogs.catalog import Pair
from beam_jobs.dataset.dataset_transforms import LocatedPair, Product, Scene
from tfrecords_schema import storage
from tfrecords_schema.boxes import Box, PixelBox
from tfrecords_schema.codes import Split
from tfrecords_schema.layout import Root
from tfrecords_schema.records import FeatureRecord, product_key, scene_key
from trainer.models.export import save_model
from trainer.models.model import StyleModel

CATEGORIES = ["shoes", "bags", "hats"]
GLOBAL_DIM, REGIONS = 6, (5, 4)
SIZES = {"embedding_dim": 8, "global_units": 12, "local_units": 10, "dropout": 0.5}
CROP = PixelBox(0, 0, 50, 80)


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def product(name: str) -> Product:
    """`shoes-3` is of the category `shoes`; its picture is like no other."""
    content = sha(name)
    return Product(name, name.partition("-")[0], content, content[:16])


def products(sizes: dict[str, int]) -> list[Product]:
    return [product(f"{c}-{n}") for c, size in sizes.items() for n in range(size)]


def pair(scene: str, of: str, *others: str, split: Split = Split.TRAIN) -> LocatedPair:
    """A scene's pair with the product, and the other products that it wears."""
    found = product(of)
    return LocatedPair(
        Pair(f"{scene}:{of}", scene, of, Box(0.5, 0, 1, 1), found.category, line=1),
        Scene(scene, sha(scene), "0" * 16, 100, 100, group=scene, split=split),
        found,
        co_positives=tuple(product(other).candidate for other in others),
        crop=CROP,
    )


def pooled(name: str) -> np.ndarray:
    generator = np.random.default_rng(list(name.encode()))
    return generator.normal(size=GLOBAL_DIM).astype(np.float16)


def regions(name: str) -> np.ndarray:
    generator = np.random.default_rng([1, *name.encode()])
    return generator.normal(size=REGIONS).astype(np.float16)


def make_model(categories: Sequence[str] = CATEGORIES) -> StyleModel:
    """A model with weights from a seed, statistics of batches included."""
    keras.utils.set_random_seed(3)
    model = StyleModel(
        global_dim=GLOBAL_DIM,
        region_dim=REGIONS[1],
        categories=list(categories),
        sizes=SIZES,
    )
    fill_weights(model)
    return model


def write_model(
    root: Root,
    model: StyleModel,
    run_id: str = "m1",
    categories: Sequence[str] = CATEGORIES,
) -> None:
    """A complete model folder."""
    save_model(model, root.model(run_id))
    manifest = {"run_id": run_id, "backbone": BACKBONE, "categories": list(categories)}
    storage.write_manifest(root.model(run_id), manifest)


def promote(root: Root, run_id: str = "m1") -> None:
    storage.write_json(root.champion, {"run_id": run_id})


def add_features(root: Root, *, crops: Iterable[str], of: Iterable[str]) -> None:
    """A segment of features: of the scenes' crops, and of the products."""
    records = [
        FeatureRecord(scene_key(sha(name), CROP), pooled(name), regions(name))
        for name in crops
    ]
    records += [
        FeatureRecord(product_key(sha(name)), pooled(name), regions(name)[:0])
        for name in of
    ]
    write_features(root, records)
