"""A small root with pictures, a data set of them and a backbone, for tests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from small_root import (
    DATE,
    RUN_DATE,
    pair_row,
    product_row,
    scene_row,
    sha,
    write_dataset,
    write_features,
    write_segment,
)
from tiny_backbone import tiny_backbone

from tfrecords_schema.boxes import PixelBox
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.records import (
    FeatureRecord,
    ImageRecord,
    encode_image,
    product_key,
    scene_key,
)
from trainer import task
from trainer.backbones.backbones import load_model_file, resolve_backbone
from trainer.backbones.forward import compile_forward
from trainer.pictures.picture_views import open_stored
from trainer.pictures.pictures import PREPROCESSING, picture_array

CATEGORIES = ("hats", "shoes")
N_SCENES, N_PRODUCTS, N_STYLES = 20, 4, 2
CROP = (3, 0, 60, 51)
SPLITS = ("train",) * 4 + ("validation",)
COLOURS = ((200, 60, 40), (40, 90, 200))
SIZES = (
    "model.global_units=16",
    "model.local_units=16",
    "model.key_units=8",
    "model.embedding_dim=8",
    "model.dropout=0.1",
    "loss.margin=1",  # or the styles would soon be told apart, and losses all be 0
    "optimizer.learning_rate=0.002",
    "batch_size=8",
    "max_epochs=2",
)
PICTURES = "input=pictures"
VARIED = (PICTURES, "pictures.flip=true", "pictures.crop=0.3")


def jpeg(name: str, size: tuple[int, int] = (64, 52)) -> bytes:
    """Noise over the colour of the style that the name's number says."""
    generator = np.random.default_rng(list(name.encode()))
    colour = COLOURS[int(name.rsplit("-", 1)[1]) % N_STYLES]
    pixels = generator.normal(colour, 40.0, (size[1], size[0], 3))
    buffer = io.BytesIO()
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def pair_rows() -> list[dict[str, Any]]:
    """Each scene with a product of its style, and two negatives of the other."""
    rows = []
    for scene in range(N_SCENES):
        for category in CATEGORIES:
            own = [n for n in range(N_PRODUCTS) if n % N_STYLES == scene % N_STYLES]
            far = [n for n in range(N_PRODUCTS) if n not in own]
            rows.append(
                pair_row(
                    f"scene-{scene}",
                    f"{category}-{own[scene // N_STYLES % len(own)]}",
                    category,
                    split=SPLITS[scene % len(SPLITS)],
                    negatives=[f"{category}-{n}" for n in far],
                    crop=CROP,
                )
            )
    return rows


def names() -> tuple[list[str], list[str]]:
    """Of scenes and of products."""
    return (
        [f"scene-{n}" for n in range(N_SCENES)],
        [f"{category}-{n}" for category in CATEGORIES for n in range(N_PRODUCTS)],
    )


def make_root(path: Path, backbone: keras.Model | None = None) -> Root:
    """Everything but features: those are named in the receipt and are not there.

    Args:
        path: of the root.
        backbone: None for the tiny one with a map.
    """
    root = Root.of(str(path / "root"))
    scenes, products = names()
    write_dataset(
        root,
        products=[product_row(name, name.split("-")[0]) for name in products],
        scenes=[scene_row(name, SPLITS[n % 5]) for n, name in enumerate(scenes)],
        pairs=pair_rows(),
    )
    write_pictures(root, {name: jpeg(name) for name in (*scenes, *products)})
    file = path / "tiny.keras"
    (backbone or tiny_backbone(with_map=True)).save(file)
    kept = resolve_backbone(str(file), root)
    store = f"{kept.fingerprint}-{PREPROCESSING}"
    outputs = {"features": store, "backbone": kept.name, "weights": kept.weights}
    root.write_receipt(RUN_DATE, Receipt(Stage.EXTRACT_FEATURES, outputs, {}, 0.0))
    return root


def write_pictures(root: Root, jpegs: dict[str, bytes]) -> None:
    """A segment of the image store."""
    records = {
        sha(name): encode_image(ImageRecord(sha(name), data, 64, 52))
        for name, data in jpegs.items()
    }
    write_segment(root.image_store, records)


def feature_store(root: Root) -> str:
    """Its name."""
    return root.receipt(RUN_DATE, Stage.EXTRACT_FEATURES).outputs["features"]


def extract(root: Root) -> None:
    """The features, as `beam_jobs.extract_features` makes them."""
    fingerprint = feature_store(root).partition("-")[0]
    forward = compile_forward(
        load_model_file(root.backbone(fingerprint) / "backbone.keras")
    )
    crop = PixelBox(*CROP)
    scenes, products = names()
    images = [picture_array(open_stored(jpeg(name), crop)) for name in scenes]
    images += [picture_array(open_stored(jpeg(name))) for name in products]
    pooled, regions = forward(np.array(images))
    cells = regions.reshape(len(images), -1, regions.shape[-1])
    keys = [scene_key(sha(name), crop) for name in scenes]
    keys += [product_key(sha(name)) for name in products]
    records = [
        FeatureRecord(
            key,
            pooled[n].astype(np.float16),
            cells[n][: None if n < len(scenes) else 0].astype(np.float16),
        )
        for n, key in enumerate(keys)
    ]
    write_features(root, records, backbone=feature_store(root))


def train(root: Root, *changes: str, preset: str = "paper") -> Receipt:
    """Run the training job; of several changes of one field the last counts."""
    last = {change.partition("=")[0]: change for change in (*SIZES, *changes)}
    options = [f"--set={change}" for change in last.values()]
    task.main(
        ["--root", str(root.path), "--run_date", DATE, "--preset", preset, *options]
    )
    return root.receipt(RUN_DATE, Stage.TRAIN)
