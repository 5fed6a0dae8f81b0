"""A small root to rank, and what came of ranking it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from etils import epath
from filled_model import fill_weights
from runner_flags import ONE_WORKER
from small_root import (
    BACKBONE,
    DATE,
    RUN_DATE,
    product_row,
    scene_row,
    sha,
    write_dataset,
    write_features,
)

from beam_jobs import rank_catalog
from beam_jobs.ranking.plan import BlockSizes
from tfrecords_schema import storage
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import FeatureRecord, product_key, scene_key
from trainer.models.export import save_model
from trainer.models.model import StyleModel

GLOBAL_DIM, REGIONS = 6, (4, 4)
SIZES = {"embedding_dim": 8, "global_units": 12, "local_units": 10, "dropout": 0.5}
# The model knows a category that the catalogue lacks, and in another order.
CATEGORIES = ["shoes", "bags", "hats"]
PRODUCTS = {
    **{f"shoe-{n}": "shoes" for n in range(11)},
    **{f"hat-{n}": "hats" for n in range(3)},
}
COPIES = ("shoe-2", "shoe-7", "shoe-10")  # one picture, in three product blocks
SCENES = [f"scene-{n}" for n in range(7)]
TOP_K = 5


def pooled(name: str) -> np.ndarray:
    name = COPIES[0] if name in COPIES else name
    generator = np.random.default_rng(list(name.encode()))
    return generator.normal(size=GLOBAL_DIM).astype(np.float16)


def regions(name: str) -> np.ndarray:
    generator = np.random.default_rng([1, *name.encode()])
    return generator.normal(size=REGIONS).astype(np.float16)


def random_model(**sizes: Any) -> StyleModel:
    keras.utils.set_random_seed(3)
    model = StyleModel(
        global_dim=GLOBAL_DIM,
        region_dim=REGIONS[1],
        categories=CATEGORIES,
        sizes=SIZES | sizes,
    )
    fill_weights(model)
    return model


def make_champion(root: Root, model: StyleModel, **manifest: Any) -> None:
    folder = root.model("m1")
    save_model(model, folder)
    content = {
        "run_id": "m1",
        "backbone": BACKBONE,
        "backbone_name": "tiny.keras",
        "categories": CATEGORIES,
    }
    storage.write_manifest(folder, content | manifest)
    storage.write_json(root.champion, {"run_id": "m1"})


def write_catalog(
    root: Root,
    products: dict[str, str],
    *,
    without: tuple[str, ...] = (),
    broken: tuple[str, ...] = (),
    phashes: dict[str, str] | None = None,
    pairs: list[dict[str, Any]] | None = None,
) -> None:
    """A data set and features.

    Args:
        root: to write to.
        products: of their categories.
        without: scenes and products that have no features.
        broken: those whose features are infinite.
        phashes: of products.
        pairs: of the data set.
    """
    hashes = {name: f"{n:x}" for n, name in enumerate(products)} | (phashes or {})
    write_dataset(
        root,
        products=[
            product_row(name, category) | {"phash": hashes[name]}
            for name, category in products.items()
        ],
        scenes=[scene_row(name) for name in SCENES],
        pairs=pairs or [],
    )

    def seen(name: str) -> np.ndarray:
        return (
            np.full(GLOBAL_DIM, np.inf, np.float16) if name in broken else pooled(name)
        )

    store = root.feature_store(BACKBONE)
    if store.exists():
        store.rmtree()
    records = [
        FeatureRecord(scene_key(sha(name)), seen(name), regions(name))
        for name in SCENES
        if name not in without
    ]
    records += [
        FeatureRecord(product_key(sha(name)), seen(name), regions(name)[:0])
        for name in products
        if name not in without
    ]
    write_features(root, records)


def in_small_blocks(patch: pytest.MonkeyPatch) -> None:
    # Three blocks of scenes in two groups, three of shoes in two units.
    sizes = BlockSizes(scenes=3, products=4, scene_blocks=2, product_blocks=2)
    patch.setattr(rank_catalog, "SIZES", sizes)


def make_root(path: Path, model: StyleModel) -> Root:
    root = Root.of(str(path))
    write_catalog(root, PRODUCTS)
    make_champion(root, model)
    return root


def run(root: Root, *options: str, top_k: int = TOP_K) -> Receipt:
    arguments = [f"--root={root.path}", f"--run_date={DATE}", f"--top_k={top_k}"]
    workers = any(option.startswith(("--direct", "--runner")) for option in options)
    rank_catalog.main([*arguments, *options, *(() if workers else ONE_WORKER)])
    return root.receipt(RUN_DATE, Stage.RANK_CATALOG)


def folder_of(root: Root) -> epath.Path:
    receipt = root.receipt(RUN_DATE, Stage.RANK_CATALOG)
    return root.rankings(receipt.outputs["rankings"])


def files(root: Root) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder_of(root).iterdir()}


def shards(root: Root, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(Path(folder_of(root)).glob(f"{name}*.parquet")):
        found += pq.read_table(path).to_pylist()
    return found


def rows(root: Root) -> list[dict[str, Any]]:
    return shards(root, "rankings-")


def lists(root: Root) -> dict[tuple[str, str], list[str]]:
    """Products of each (scene, category), in the order of their rank."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in sorted(rows(root), key=lambda row: row["rank"]):
        key = (row["scene_id"], row["category"])
        found.setdefault(key, []).append(row["product_id"])
        assert row["rank"] == len(found[key])
    return found


def by_key(root: Root) -> list[tuple[Any, ...]]:
    """All rows, to the bit, whatever files they lie in."""
    return sorted(tuple(row.values()) for row in rows(root))


def pair_distance(model: StyleModel, scene: str, product: str, category: str) -> float:
    """What the network says about one pair, all by itself."""
    vectors = model(
        {
            "scene": pooled(scene)[None],
            "regions": regions(scene)[None],
            "products": pooled(product)[None],
            "category": np.array([CATEGORIES.index(category)], np.int32),
        }
    )
    return float(model.distances(*vectors)[0, 0])


def all_distances(model: StyleModel) -> dict[tuple[str, str], float]:
    """Distance of every scene to every product, pair by pair."""
    return {
        (scene, product): pair_distance(model, scene, product, category)
        for scene in SCENES
        for product, category in PRODUCTS.items()
    }


def in_order(
    distances: dict[tuple[str, str], float], scene: str, category: str
) -> list[str]:
    """All products of a category, the nearest first; equal ones by id."""
    return sorted(
        (product for product, of in PRODUCTS.items() if of == category),
        key=lambda product: (round(distances[scene, product], 5), product),
    )
