"""Training on cached features against the article's way: the backbone in every step."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from examples.lookbook.generate import generate
from tests.bench.rows import Row
from tests.small_root import sha, write_segment
from tfrecords_schema.layout import Root
from tfrecords_schema.records import ImageRecord, encode_image
from trainer.backbones.backbones import load_model_file, resolve_backbone
from trainer.configuration.config import TrainConfig
from trainer.configuration.presets import PRESETS, Preset
from trainer.inputs.pair_table import PairTable
from trainer.models.map_keeping import MapKeeper, keep_maps
from trainer.models.picture_model import Trainable
from trainer.pictures.picture_table import PictureStore, PictureTable, Place
from trainer.training.batches import Batches
from trainer.training.optimizers import make_optimizer
from trainer.training.preparation import make_model, make_picture_model
from trainer.training.steps import make_step

PAIRS, PRODUCTS = 1_024, 256
PICTURES = 32
"""Files that the article's rows are of: what a picture shows does not matter here. Of
so few the kept maps, 0.4 GB, are read from memory."""

WARM_STEPS = 1  # in which the step is compiled and memory is taken
CACHED_STEPS, ARTICLE_STEPS, KEPT_STEPS = 200, 2, 20
"""A minute of each on two cores that have nothing else to do."""

CATEGORIES = ["hats", "shoes"]
GLOBAL_DIM, REGIONS = 2_048, (49, 1_024)  # of ResNet50
MIN_RATIO = 100
ARTICLE = PRESETS[Preset.ARTICLE]


def train_cached_vs_article() -> list[Row]:
    """Each as `trainer.task` runs it: batches from tf.data, gradients, the optimizer.

    A triplet is a pair with one mined negative. The backbone is ResNet50 in all
    cases; that of the cached features and of the kept maps ran once, before, and is not
    counted.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = Root.of(f"{scratch}/root")
        cached_s = _step_s(PRESETS[Preset.PAPER], *_cached(), steps=CACHED_STEPS)
        table = _pictures_table(root, Path(scratch))
        kept = resolve_backbone("ResNet50", root)
        backbone = load_model_file(kept.path)
        model = make_picture_model(ARTICLE, backbone, CATEGORIES)
        article_s = _step_s(ARTICLE, model, table, steps=ARTICLE_STEPS)
        keeper = MapKeeper(root, kept.fingerprint, model.sight)
        table = keep_maps({"train": table}, keeper)["train"]
        heads = make_model(ARTICLE, table, CATEGORIES)
        kept_s = _step_s(ARTICLE, heads, table, steps=KEPT_STEPS)
    cached = PRESETS[Preset.PAPER].batch_size / cached_s
    article = ARTICLE.batch_size / article_s
    against = (
        f"preset article, {article:.3f} triplets/s, {article_s:.1f} s a step of "
        f"{ARTICLE.batch_size}"
    )
    return [
        Row(
            name="train_cached_vs_article",
            value=cached,
            unit="triplets/s",
            against=against,
            ratio=cached / article,
            goal=f">= {MIN_RATIO}",
        ),
        Row(
            name="article_on_kept_maps",
            value=ARTICLE.batch_size / kept_s,
            unit="triplets/s",
            against=f"{against}; on kept maps {kept_s:.2f} s",
            ratio=article_s / kept_s,
            goal="none",
        ),
    ]


def _step_s(
    config: TrainConfig, model: Trainable, table: PairTable, *, steps: int
) -> float:
    """Seconds of a step, the mean of some."""
    optimizer = make_optimizer(config, model)
    optimizer.build(model.trainable_variables)
    step = make_step(model, optimizer, config, tf.distribute.get_strategy())
    started, loss = 0.0, tf.constant(0.0)
    batches = Batches(table, config)
    for number, batch in enumerate(batches.dataset(0, WARM_STEPS + steps)):
        if number == WARM_STEPS:
            float(loss)  # until all is done
            started = time.perf_counter()
        loss = step(batch)
    float(loss)
    return (time.perf_counter() - started) / steps


def _cached() -> tuple[Trainable, PairTable]:
    generator = np.random.default_rng(0)

    def features(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32).astype(np.float16)

    table = PairTable(
        scenes=features(PAIRS, GLOBAL_DIM),
        regions=features(PAIRS, *REGIONS),
        products=features(PRODUCTS, GLOBAL_DIM),
        **_columns(),
    )
    keras.utils.set_random_seed(0)
    return make_model(PRESETS[Preset.PAPER], table, CATEGORIES), table


def _pictures_table(root: Root, scratch: Path) -> PairTable:
    files = _pictures(scratch / "catalog")
    records = {}
    for number, file in enumerate(files):
        name = sha(str(number))
        records[name] = encode_image(ImageRecord(name, file.read_bytes(), 400, 600))
    write_segment(root.image_store, records)
    store, names = PictureStore(root.image_store), list(records)

    def places(count: int) -> list[Place]:
        return [Place(names[number % len(names)]) for number in range(count)]

    return PairTable(
        scenes=PictureTable(store, places(PAIRS)),
        regions=PictureTable(store, places(PAIRS), cells=ARTICLE.pictures.cells),
        products=PictureTable(store, places(PRODUCTS)),
        **_columns(),
    )


def _pictures(folder: Path) -> Sequence[Path]:
    generate(folder, scenes=PICTURES // 2, seed=7)
    files = sorted(folder.rglob("*.jpg"))[:PICTURES]
    if len(files) < PICTURES:
        raise AssertionError(f"the look-book has {len(files)} pictures, not {PICTURES}")
    return files


def _columns() -> dict[str, Any]:
    """The rows of both tables: each pair has one product and eight negatives."""
    generator = np.random.default_rng(1)
    drawn = np.array(
        [generator.choice(PRODUCTS, 9, replace=False) for _ in range(PAIRS)]
    )
    return {
        "scene": np.arange(PAIRS),
        "positive": drawn[:, 0],
        "negatives": list(drawn[:, 1:]),
        "alike": [row[:1] for row in drawn],
        "category": np.zeros(PAIRS, np.int32),
        "product_category": np.zeros(PRODUCTS, np.int32),
        "group": np.arange(PAIRS),
    }
