"""A training from a data set's receipts to a model's folder."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.codes import Split
from tfrecords_schema.layout import Root
from trainer.backbones.backbone_form import MODEL_FILE as BACKBONE_FILE
from trainer.backbones.tuning import extraction_command, keep_tuned
from trainer.configuration.config import Method, TrainConfig
from trainer.configuration.presets import Preset
from trainer.configuration.provenance import provenance_of, run_id_of
from trainer.configuration.source import Source
from trainer.inputs.pair_table import read_categories
from trainer.models.embedding_model import EmbeddingModel
from trainer.models.export import save_model, weights_digest
from trainer.models.picture_model import PictureModel, Trainable
from trainer.monitoring.showcase import read_showcase
from trainer.monitoring.validation_views import ValidationViews
from trainer.pictures.pictures import PREPROCESSING
from trainer.training.backend import check_backend
from trainer.training.batches import check_shares
from trainer.training.closed_form import fit_model
from trainer.training.loop import WINDOW, Places, train
from trainer.training.preparation import Sources, Tables, read_tables, untrained_model
from trainer.training.steps import check_compiles
from trainer.training.strategy import Where, is_chief, make_strategy
from trainer.training.telemetry import Telemetry
from trainer.training.train_state import best_epoch, history_fields

log = logging.getLogger(__name__)

HISTORY_FILE = "history.json"

COST_FILE = "cost.json"
"""What the training took, of this process: no part of what is the same. Not the whole
of it where a killed one went before."""

_CHECKPOINT_STEPS = 1_000
"""Between two checkpoints, but where the backbone runs in every step: such a step may
take a minute."""

CHECKPOINTS = "checkpoints"
"""Their folder, in the model's until it is complete."""


@dataclasses.dataclass(frozen=True, slots=True)
class Trained:
    """Where a model is.

    Attributes:
        run_id: its folder.
        reused: whether it was there.
        is_writer: whether this process is the one that wrote it, or found it.
        strategy: TensorFlow's, that it was trained with; else `process`.
        counted: steps and rate of this process.
    """

    run_id: str
    reused: bool
    is_writer: bool
    strategy: str = "process"
    counted: Mapping[str, int] = dataclasses.field(default_factory=dict)


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

    Raises:
        InputError: Keras runs on a backend that the method is not written for.
    """
    if config.method is Method.GRADIENT:
        check_backend(keras.backend.backend())
    provenance = provenance_of(preset, config, source)
    run_id = run_id_of(source.run_date, provenance)
    folder = root.model(run_id)
    if storage.is_complete(folder):
        log.info("model %s is complete already", run_id)
        _remove_checkpoints(folder)  # a kill may have come before
        return Trained(run_id, reused=True, is_writer=True)
    provenance |= {
        "run_id": run_id,
        "run_date": source.run_date.isoformat(),
        "backbone_name": source.backbone,
        "backbone_weights": source.weights,
        "notes": list(source.notes),
    }
    return _train_into(folder, root, config, provenance, where)


def _train_into(
    folder: epath.Path,
    root: Root,
    config: TrainConfig,
    provenance: dict[str, Any],
    where: Where,
) -> Trained:
    """Train, and write the model's folder, if this process is the one that does."""
    wall, cpu = time.monotonic(), time.process_time()
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(where)
    _check_replicas(config, strategy.num_replicas_in_sync)
    dataset = root.dataset(provenance["dataset"])
    storage.read_manifest(dataset)
    categories = read_categories(dataset)
    sources = Sources(root, dataset, provenance["backbone"], categories)
    chief = is_chief(strategy)
    trained = Trained(
        provenance["run_id"],
        reused=False,
        is_writer=chief,
        strategy=type(strategy).__name__.lstrip("_"),
    )
    if not chief and config.method is Method.CLOSED_FORM:
        return trained  # there is nothing to share
    goes_on = tf.train.latest_checkpoint(str(folder / CHECKPOINTS)) is not None
    with tempfile.TemporaryDirectory(prefix="training-") as scratch:
        tables = read_tables(config, sources, scratch=Path(scratch))
        counts = {f"pairs_{name}": len(table) for name, table in tables.items()}
        log.info("training on %s in %d categories", counts, len(categories))
        model: Trainable
        if config.method is Method.CLOSED_FORM:
            model, history = fit_model(tables, categories, config)
            _clear(folder)
        else:
            model, history, pace = _train_steps(
                folder,
                tables,
                sources,
                config,
                strategy,
                Path(scratch),
                goes_on=goes_on,
            )
            trained = dataclasses.replace(trained, counted=pace)
    if chief:
        cost = {
            "wall_s": round(time.monotonic() - wall, 3),
            "cpu_s": round(time.process_time() - cpu, 3),
            "is_whole": not goes_on,
        }
        storage.write_json(folder / COST_FILE, cost)
        manifest = provenance | {"counts": counts}
        if isinstance(model, PictureModel):
            if model.tuned:
                manifest |= _keep_backbone(folder, root, model, provenance)
            model = model.heads
        _write_model(folder, model, history, manifest)
    return trained


def _train_steps(
    folder: epath.Path,
    tables: Tables,
    sources: Sources,
    config: TrainConfig,
    strategy: tf.distribute.Strategy,
    scratch: Path,
    *,
    goes_on: bool,
) -> tuple[Trainable, dict[str, Any], dict[str, int]]:
    """Train by gradient.

    Returns:
        The model, what `history.json` says of it, and how much was done how fast.
    """
    chief = is_chief(strategy)
    model = untrained_model(config, sources, tables, strategy, goes_on=goes_on)
    telemetry = None
    if chief:
        # Not before: what was wrong with the input so far leaves no folder behind.
        _clear(folder)
        validation = tables[Split.VALIDATION.value]
        showcase = read_showcase(
            sources.dataset, Split.VALIDATION, validation, seed=config.seed
        )
        views = ValidationViews(validation, showcase, sources.root.image_store)
        telemetry = Telemetry(folder, views)
    # Workers but the chief leave theirs where nobody looks; all go on from the chief's.
    places = Places(
        restore=str(folder / CHECKPOINTS),
        save=str(folder / CHECKPOINTS if chief else scratch / "unused"),
        telemetry=telemetry,
        every=WINDOW if isinstance(model, PictureModel) else _CHECKPOINT_STEPS,
    )
    results = train(model, tables, config, strategy=strategy, places=places)
    pace = {}
    if telemetry:
        telemetry.close(model, best_epoch(results))
        pace = {
            "training.steps": telemetry.pairs // config.batch_size,
            "training.pairs_per_second": telemetry.pairs_per_second,
        }
    return model, history_fields(results), pace


def _check_replicas(config: TrainConfig, replicas: int) -> None:
    if config.method is Method.GRADIENT:
        check_shares(config, replicas)
        check_compiles(config, replicas)


def _clear(folder: epath.Path) -> None:
    """Remove what a killed run left, unless there is something to go on from."""
    if tf.train.latest_checkpoint(str(folder / CHECKPOINTS)):
        storage.clear_temporary(folder)
    else:
        storage.start_folder(folder)


def _keep_backbone(
    folder: epath.Path, root: Root, model: PictureModel, provenance: dict[str, Any]
) -> dict[str, Any]:
    """Keep a backbone that was trained on; returns what the manifest says of it.

    Its features are other ones: whoever ranks with the model needs them.
    """
    kept = keep_tuned(
        model.backbone,
        root,
        name=provenance["backbone_name"],
        tuned_from=provenance["backbone"],
        run_id=provenance["run_id"],
    )
    storage.write_atomic(folder / BACKBONE_FILE, kept.path.read_bytes())
    features = f"{kept.fingerprint}-{PREPROCESSING}"
    command = extraction_command(root, provenance["run_date"], features)
    log.info("the backbone was trained on; for its features run: %s", command)
    return {
        "backbone": features,
        "backbone_weights": kept.weights,
        "tuned_from": provenance["backbone"],
    }


def _write_model(
    folder: epath.Path,
    model: EmbeddingModel,
    history: dict[str, Any],
    manifest: dict[str, Any],
) -> None:
    save_model(model, folder)
    storage.write_json(folder / HISTORY_FILE, history)
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
    _remove_checkpoints(folder)


def _remove_checkpoints(folder: epath.Path) -> None:
    """Remove what nobody goes on from any more."""
    # Several hosts may come upon a complete model at once.
    with contextlib.suppress(FileNotFoundError):
        (folder / CHECKPOINTS).rmtree(missing_ok=True)
