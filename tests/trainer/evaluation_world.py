"""A small synthetic world for the tests of evaluation; model and features are fakes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath

from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from trainer import evaluate
from trainer.evaluation import lineup
from trainer.evaluation.eval_set import EvalPair

DATE = "2026-11-20"
DATASET = "d1"
BACKBONE = "b1"
CATEGORIES = ("bags", "hats", "shoes")
N_STYLES = 3
N_SCENES, N_PRODUCTS = 26, 21
CROP = [0, 0, 50, 80]
BOX_PX = [0, 109, 56, 200]  # the box, grown and rounded outwards, in 100 × 200 pixels
RULES = {"crop": {"box_margin": 0.05}}
OUTPUTS = ("gallery.json", "metrics.txt", "metrics.json")


def features_of(sha256: str, style: int) -> list[float]:
    """Three dimensions of style and three of noise that only a model ignores."""
    noise = np.random.default_rng(int(sha256[:8], 16)).normal(0.0, 1.5, N_STYLES)
    return [*np.eye(N_STYLES)[style].tolist(), *noise.tolist()]


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def style_of(name: str) -> int:
    return int(name.rsplit("-", 1)[1]) % N_STYLES


class FakeFeatures:
    """Features of everything in the world; a scene's regions are four times its own."""

    def __init__(self, styles: dict[str, int]) -> None:
        self._styles = styles
        self.asked: list[str] = []

    def pooled(self, keys: Sequence[str]) -> np.ndarray:
        shas = [key.split(":")[0] for key in keys]
        rows = [features_of(name, self._styles[name]) for name in shas]
        return np.array(rows, np.float16)

    def regions(self, keys: Sequence[str]) -> np.ndarray:
        return np.repeat(self.pooled(keys)[:, None], 4, axis=1)

    def scenes(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        self.asked += keys
        return self.pooled(keys), self.regions(keys)


class FakeModel:
    """Looks at the given dimensions only."""

    has_queries = True

    def __init__(self, run_id: str, dimensions: slice, **manifest: Any) -> None:
        self._dimensions = dimensions
        self.manifest = {
            "run_id": run_id,
            "preset": "paper",
            "backbone": BACKBONE,
            "dataset": DATASET,
            "categories": list(CATEGORIES),
        } | manifest

    def embed_products(self, pooled: np.ndarray) -> np.ndarray:
        wide = pooled[:, self._dimensions].astype(np.float32)
        return wide / np.linalg.norm(wide, axis=1, keepdims=True)

    def embed_scenes(
        self, pooled: np.ndarray, regions: np.ndarray, categories: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        attention = np.full(regions.shape[:2], 0.25, np.float32)
        return 2 * self.embed_products(pooled), attention


GOOD, NOISE = slice(0, 3), slice(3, 6)


@dataclasses.dataclass
class World:
    root: Root
    models: dict[str, FakeModel]
    features: FakeFeatures

    def run(self, *options: str) -> None:
        evaluate.main(["--root", str(self.root.path), "--run_date", DATE, *options])

    def trained(self, run_id: str) -> None:
        outputs = {"model": run_id, "dataset": DATASET, "features": BACKBONE}
        self.root.write_receipt(
            parse_run_date(DATE), Receipt(Stage.TRAIN, outputs, {}, 1.0)
        )

    def metrics(self, run_id: str = "r1") -> dict[str, Any]:
        return storage.read_json(self.root.model(run_id) / "metrics.json")

    def row(self, model: str, metric: str, name: str = "all") -> dict[str, Any]:
        (found,) = [
            row
            for row in self.metrics()["metrics"]
            if (row["model"], row["metric"], row["slice"]) == (model, metric, name)
        ]
        return found

    def bytes(self) -> list[bytes]:
        return [(self.root.model("r1") / name).read_bytes() for name in OUTPUTS]


def product_rows() -> list[dict[str, Any]]:
    return [
        {
            "product_id": f"{category}-{number}",
            "domain": "fashion",
            "category": category,
            "sha256": sha(f"{category}-{number}"),
            "phash": "0",
            "train_positives": number % 4,
        }
        for category in CATEGORIES
        for number in range(N_PRODUCTS)
    ]


def pair_row(scene: int, category: str, split: str = "test") -> dict[str, Any]:
    """The scene's positive is the product of its number; of a co-positive, 3 more."""
    product = scene % N_PRODUCTS
    return {
        "pair_id": f"pair-{scene:02d}-{category}",
        "split": split,
        "domain": "fashion",
        "scene_id": f"scene-{scene}",
        "scene_group": f"group-{scene // 2}",
        "scene_sha256": sha(f"scene-{scene}"),
        "crop_px": CROP,
        "box": [0.0, 0.6, 0.5, 1.0],
        "product_id": f"{category}-{product}",
        "product_sha256": sha(f"{category}-{product}"),
        "category": category,
        "product_seen": scene % 3 > 0,
        "negative_ids": [],
        "negative_strategy": "uniform",
        "hard_negatives": 0,
        "co_positive_ids": [f"{category}-{(scene + 3) % N_PRODUCTS}"],
        "source_file": "fashion.json",
        "source_line": scene,
    }


def pair_rows() -> list[dict[str, Any]]:
    rows = [pair_row(s, c) for c in CATEGORIES for s in range(20) if s != 5]
    rows += [pair_row(s, "shoes", "validation") for s in range(20, 26)]
    return [*rows, pair_row(5, "shoes", "train")]


def scene_rows() -> list[dict[str, Any]]:
    return [
        {
            "scene_id": f"scene-{scene}",
            "domain": "fashion",
            "scene_group": f"group-{scene // 2}",
            "sha256": sha(f"scene-{scene}"),
            "phash": "0",
            "width": 100,
            "height": 200,
            "split": "test",
        }
        for scene in range(N_SCENES)
    ]


def write_dataset(root: Root, pairs: list[dict[str, Any]]) -> None:
    folder = root.dataset(DATASET)
    tables = {
        "pairs": (pairs, dataset_tables.PAIRS),
        "products": (product_rows(), dataset_tables.PRODUCTS),
        "scenes": (scene_rows(), dataset_tables.SCENES),
    }
    for name, (rows, schema) in tables.items():
        dataset_tables.write_table(folder / f"{name}.parquet", rows, schema)
    storage.write_manifest(folder, {"version": DATASET, "rules": RULES})


def make_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A data set, its features and four models, with `r1` trained for the date."""
    root = Root.of(str(tmp_path))
    write_dataset(root, pair_rows())
    names = [row["scene_id"] for row in scene_rows()]
    names += [row["product_id"] for row in product_rows()]
    features = FakeFeatures({sha(name): style_of(name) for name in names})
    models = {
        "r1": FakeModel("r1", GOOD),
        "r0": FakeModel("r0", NOISE),
        "rx": FakeModel("rx", NOISE, backbone="b0"),
        "ry": FakeModel("ry", NOISE, categories=["bags", "hats"]),
    }

    def open_model(folder: epath.Path) -> FakeModel:
        return models[folder.name]

    monkeypatch.setattr(lineup, "open_features", lambda folder: features)
    monkeypatch.setattr(lineup, "open_model", open_model)
    found = World(root, models, features)
    found.trained("r1")
    return found


def eval_pair(pair_id: str, group: str) -> EvalPair:
    return EvalPair(
        pair_id=pair_id,
        scene_id=group,
        scene_group=group,
        scene_sha256=sha(group),
        crop_px=(0, 0, 50, 80),
        box_px=(0, 109, 56, 200),
        category="shoes",
        product_id="shoes-1",
        product_sha256=sha("shoes-1"),
        product_seen=True,
        co_positive_ids=frozenset(),
    )
