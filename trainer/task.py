"""Train the style embedding on the cached features of a run's data set.

    python -m trainer.task --root=runs --run_date=2026-11-22 --preset=paper

Takes the data set and features of the run date and writes `{root}/models/<run_id>/`:
the model, its history and TensorBoard logs, and last a manifest. The run id is the date
with a hash of everything that the weights follow from.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.cli import add_run_arguments, configure_logging
from tfrecords_schema.codes import Split
from tfrecords_schema.errors import exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from trainer.config import TrainConfig, parse_preset
from trainer.data import (
    TripletTable,
    feature_statistics,
    read_categories,
    read_triplets,
)
from trainer.export import save_model, weights_digest
from trainer.features import FeatureReader
from trainer.loop import History, train
from trainer.model import StyleModel

log = logging.getLogger(__name__)

CODE_VERSION = 2
"""Raised with every change that gives other weights for the same input."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging()
    arguments = _parser().parse_args(argv)
    root, date = Root.of(arguments.root), parse_run_date(arguments.run_date)
    config = TrainConfig(
        preset=parse_preset(arguments.preset),
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        max_epochs=arguments.max_epochs,
        patience=arguments.patience,
        seed=arguments.seed,
    )
    started = time.monotonic()
    dataset = root.receipt(date, Stage.BUILD_DATASET).outputs["dataset"]
    features = root.receipt(date, Stage.EXTRACT_FEATURES)
    provenance = {
        "code_version": CODE_VERSION,
        "preset": config.preset.value,
        "config": dataclasses.asdict(config),
        "dataset": dataset,
        "backbone": features.outputs["features"],
    }
    run_id = f"{date.isoformat()}-{digest(provenance, 8)}"
    folder = root.model(run_id)
    reused = storage.is_complete(folder)
    if reused:
        log.info("model %s is complete already", run_id)
    else:
        provenance |= {
            "run_id": run_id,
            "run_date": date.isoformat(),
            "backbone_name": features.outputs["backbone"],
            "backbone_weights": features.outputs["weights"],
            "notes": list(features.notes),
        }
        _train_into(folder, root, config, provenance)
    manifest = storage.read_manifest(folder)
    root.write_receipt(
        date,
        Receipt(
            stage=Stage.TRAIN,
            outputs={
                "model": run_id,
                "dataset": dataset,
                "features": features.outputs["features"],
            },
            counts=manifest["counts"],
            seconds=round(time.monotonic() - started, 3),
            reused=reused,
        ),
    )


def _parser() -> argparse.ArgumentParser:
    defaults = TrainConfig()
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add_run_arguments(parser)
    parser.add_argument("--preset", default=defaults.preset.value, help="which model")
    parser.add_argument(
        "--batch_size", type=int, default=defaults.batch_size, help="triplets in a step"
    )
    parser.add_argument(
        "--learning_rate", type=float, default=defaults.learning_rate, help="of AdamW"
    )
    parser.add_argument(
        "--max_epochs", type=int, default=defaults.max_epochs, help="at most"
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=defaults.patience,
        help="epochs without a better validation loss before training stops",
    )
    parser.add_argument(
        "--seed", type=int, default=defaults.seed, help="of weights, order and dropout"
    )
    return parser


def _train_into(
    folder: epath.Path, root: Root, config: TrainConfig, provenance: dict[str, Any]
) -> None:
    storage.start_folder(folder)
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    dataset = root.dataset(provenance["dataset"])
    storage.read_manifest(dataset)
    categories = read_categories(dataset)
    reader = FeatureReader(root.feature_store(provenance["backbone"]))
    global_dim, _, region_dim = reader.dims
    strategy = tf.distribute.get_strategy()
    with tempfile.TemporaryDirectory(prefix="features-") as scratch:
        tables = {
            split.value: read_triplets(
                dataset, split, reader, categories=categories, scratch=Path(scratch)
            )
            for split in (Split.TRAIN, Split.VALIDATION)
        }
        counts = {f"pairs_{name}": len(table) for name, table in tables.items()}
        log.info("training on %s in %d categories", counts, len(categories))
        with strategy.scope():
            model = StyleModel(
                global_dim=global_dim,
                region_dim=region_dim,
                categories=categories,
                sizes=dataclasses.asdict(config.model),
            )
            model.build()
            _standardize(model, tables[Split.TRAIN])
        history = train(
            model,
            tables,
            config,
            strategy=strategy,
            log_dir=str(folder / "tensorboard"),
        )
    _write_model(folder, model, history, provenance | {"counts": counts})


def _standardize(model: StyleModel, table: TripletTable) -> None:
    """Give the model the statistics of the train split, and of nothing else."""
    pooled = np.concatenate([table.scenes, table.products])
    model.standardize_pooled.set_statistics(*feature_statistics(pooled))
    model.standardize_regions.set_statistics(*feature_statistics(table.regions))


def _write_model(
    folder: epath.Path, model: StyleModel, history: History, manifest: dict[str, Any]
) -> None:
    save_model(model, folder)
    storage.write_json(folder / "history.json", dataclasses.asdict(history))
    manifest["counts"] |= {
        "epochs": len(history.epochs),
        "best_epoch": history.best_epoch,
        "parameters": model.count_params(),
    }
    storage.write_manifest(
        folder,
        manifest
        | {"categories": model.categories, "weights_sha256": weights_digest(model)},
    )


if __name__ == "__main__":
    exit_on_input_error(main)
