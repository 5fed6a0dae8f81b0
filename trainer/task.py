"""Train the style embedding on the cached features of a run's data set.

    python -m trainer.task --root=runs --run_date=2026-11-22 --preset=paper

Takes the data set and features of the run date and writes `{root}/models/<run_id>/`:
the model, its history and TensorBoard logs, and last a manifest. The run id is the date
with a hash of everything that the weights follow from.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
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
from trainer.closed_form import fit_model
from trainer.config import Method, TrainConfig
from trainer.config_fields import with_changes
from trainer.embedding_model import EmbeddingModel
from trainer.export import save_model, weights_digest
from trainer.feature_statistics import feature_statistics
from trainer.features import FeatureReader
from trainer.loop import Places, train
from trainer.model import StyleModel
from trainer.pair_table import PairTable, read_categories, read_pairs
from trainer.presets import PRESETS, Preset, parse_preset
from trainer.strategy import Where, is_chief, make_strategy, parse_where
from trainer.telemetry import Telemetry
from trainer.train_state import history_fields

log = logging.getLogger(__name__)

CODE_VERSION = 5
"""Raised with every change that gives other weights for the same input."""

COST_FILE = "cost.json"
"""What the training took, of the process that ended it: no part of what is the same."""

CHECKPOINTS = "checkpoints"
"""Their folder, in the model's until it is complete."""

_OPTIONS = {
    "batch_size": (int, "batch_size", "pairs in a step, over all replicas"),
    "learning_rate": (float, "optimizer.learning_rate", "of AdamW"),
    "max_epochs": (int, "max_epochs", "at most"),
    "patience": (
        int,
        "patience",
        "epochs without a better validation loss before training stops",
    ),
    "seed": (int, "seed", "of weights, order and dropout"),
}
"""Options for what is changed most: type, field of the configuration, help."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging()
    arguments = _parser().parse_args(argv)
    root, date = Root.of(arguments.root), parse_run_date(arguments.run_date)
    preset = parse_preset(arguments.preset)
    config = _config(preset, arguments)
    where = parse_where(arguments.strategy)
    started = time.monotonic()
    source = Source.of(root, date)
    trained = train_model(root, source, preset, config, where)
    if not trained.is_writer:
        return
    root.write_receipt(
        date,
        Receipt(
            stage=Stage.TRAIN,
            outputs={
                "model": trained.run_id,
                "dataset": source.dataset,
                "features": source.features,
            },
            counts=storage.read_manifest(root.model(trained.run_id))["counts"],
            seconds=round(time.monotonic() - started, 3),
            reused=trained.reused,
        ),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """What models of a date are trained on.

    Attributes:
        run_date: the date.
        dataset: version of the data set.
        features: name of the feature store.
        backbone: its name.
        weights: of the backbone: `imagenet`, `file` or `seeded`.
        notes: what a reader of any figure has to know of the features.
    """

    run_date: datetime.date
    dataset: str
    features: str
    backbone: str
    weights: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, root: Root, date: datetime.date) -> Source:
        """Those of the date's receipts.

        Raises:
            InputError: a stage before has not run.
        """
        features = root.receipt(date, Stage.EXTRACT_FEATURES)
        return cls(
            run_date=date,
            dataset=root.receipt(date, Stage.BUILD_DATASET).outputs["dataset"],
            features=features.outputs["features"],
            backbone=features.outputs["backbone"],
            weights=features.outputs["weights"],
            notes=tuple(features.notes),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Trained:
    """Where a model is.

    Attributes:
        run_id: its folder.
        reused: whether it was there.
        is_writer: whether this process is the one that wrote it, or found it.
    """

    run_id: str
    reused: bool
    is_writer: bool


def train_model(
    root: Root, source: Source, preset: Preset, config: TrainConfig, where: Where
) -> Trained:
    """Train a model into its folder, unless it is there.

    Args:
        root: storage root.
        source: what it is trained on.
        preset: that the configuration departs from.
        config: how.
        where: on which devices.
    """
    provenance: dict[str, Any] = {
        "code_version": CODE_VERSION,
        "preset": preset.value,
        "config": dataclasses.asdict(config),
        "dataset": source.dataset,
        "backbone": source.features,
    }
    run_id = f"{source.run_date.isoformat()}-{digest(provenance, 8)}"
    folder = root.model(run_id)
    if storage.is_complete(folder):
        log.info("model %s is complete already", run_id)
        return Trained(run_id, reused=True, is_writer=True)
    provenance |= {
        "run_id": run_id,
        "run_date": source.run_date.isoformat(),
        "backbone_name": source.backbone,
        "backbone_weights": source.weights,
        "notes": list(source.notes),
    }
    is_writer = _train_into(folder, root, config, provenance, where)
    return Trained(run_id, reused=False, is_writer=is_writer)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--preset", default=Preset.PAPER.value, help="which model (default: paper)"
    )
    for name, (kind, _, text) in _OPTIONS.items():
        parser.add_argument(
            f"--{name}", type=kind, help=f"{text} (default: the preset's)"
        )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="any other field of the configuration, such as model.distance=local; "
        "see trainer/config.py",
    )
    parser.add_argument(
        "--strategy",
        default=Where.AUTO.value,
        help=f"where to train: {', '.join(Where)} (default: auto)",
    )
    return parser


def _config(preset: Preset, arguments: argparse.Namespace) -> TrainConfig:
    changes = [
        f"{field}={getattr(arguments, name)}"
        for name, (_, field, _) in _OPTIONS.items()
        if getattr(arguments, name) is not None
    ]
    return with_changes(PRESETS[preset], [*changes, *arguments.set])


def _train_into(
    folder: epath.Path,
    root: Root,
    config: TrainConfig,
    provenance: dict[str, Any],
    where: Where,
) -> bool:
    """Train, and write the model's folder; whether this process is the one that did."""
    wall, cpu = time.monotonic(), time.process_time()
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(where)
    dataset = root.dataset(provenance["dataset"])
    storage.read_manifest(dataset)
    categories = read_categories(dataset)
    reader = FeatureReader(root.feature_store(provenance["backbone"]))
    by_gradient = config.method is Method.GRADIENT
    chief = is_chief(strategy)
    if not (chief or by_gradient):
        return False  # there is nothing to share
    if chief:
        _clear(folder)
    with tempfile.TemporaryDirectory(prefix="training-") as scratch:
        tables = {
            split.value: read_pairs(
                dataset,
                split,
                reader,
                categories=categories,
                scratch=Path(scratch),
                with_regions=by_gradient,
            )
            for split in (Split.TRAIN, Split.VALIDATION)
        }
        counts = {f"pairs_{name}": len(table) for name, table in tables.items()}
        log.info("training on %s in %d categories", counts, len(categories))
        model: EmbeddingModel
        if by_gradient:
            model, history = _train_steps(
                folder, tables, categories, config, strategy, Path(scratch)
            )
        else:
            model, history = fit_model(tables, categories, config)
    if chief:
        cost = {
            "wall_s": round(time.monotonic() - wall, 3),
            "cpu_s": round(time.process_time() - cpu, 3),
        }
        storage.write_json(folder / COST_FILE, cost)
        _write_model(folder, model, history, provenance | {"counts": counts})
    return chief


def _train_steps(
    folder: epath.Path,
    tables: dict[str, PairTable],
    categories: Sequence[str],
    config: TrainConfig,
    strategy: tf.distribute.Strategy,
    scratch: Path,
) -> tuple[StyleModel, dict[str, Any]]:
    """Train by gradient; the model, and what `history.json` says of it."""
    chief = is_chief(strategy)
    with strategy.scope():
        model = make_model(config, tables["train"], categories)
    telemetry = Telemetry(folder) if chief else None
    # Workers but the chief leave theirs where nobody looks; all go on from the chief's.
    places = Places(
        restore=str(folder / CHECKPOINTS),
        save=str(folder / CHECKPOINTS if chief else scratch / "unused"),
        telemetry=telemetry,
    )
    results = train(model, tables, config, strategy=strategy, places=places)
    if telemetry:
        telemetry.close()
    return model, history_fields(results)


def _clear(folder: epath.Path) -> None:
    """Remove what a killed run left, unless there is something to go on from."""
    if tf.train.latest_checkpoint(str(folder / CHECKPOINTS)):
        storage.clear_temporary(folder)
    else:
        storage.start_folder(folder)


def make_model(
    config: TrainConfig, table: PairTable, categories: Sequence[str]
) -> StyleModel:
    """An untrained model for a train split, which gives it its statistics."""
    model = StyleModel(
        global_dim=table.scenes.shape[1],
        region_dim=table.regions.shape[2],
        categories=list(categories),
        sizes=dataclasses.asdict(config.model),
        precision=config.optimizer.precision.value,
    )
    model.build()
    pooled = np.concatenate([table.scenes, table.products])
    model.standardize_pooled.set_statistics(*feature_statistics(pooled))
    model.standardize_regions.set_statistics(
        *feature_statistics(table.regions, model.regridded)
    )
    return model


def _write_model(
    folder: epath.Path,
    model: EmbeddingModel,
    history: dict[str, Any],
    manifest: dict[str, Any],
) -> None:
    save_model(model, folder)
    storage.write_json(folder / "history.json", history)
    manifest["counts"] |= {
        "epochs": len(history["epochs"]),
        "parameters": model.count_params(),
    }
    if history["best_epoch"]:
        manifest["counts"]["best_epoch"] = history["best_epoch"]
    # The checkpoints go last: until the manifest is there, they are what is gone on
    # from.
    manifest |= {
        "categories": model.categories,
        "weights_sha256": weights_digest(model),
    }
    storage.write_manifest(folder, manifest)
    (folder / CHECKPOINTS).rmtree(missing_ok=True)


if __name__ == "__main__":
    exit_on_input_error(main)
