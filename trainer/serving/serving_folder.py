"""Write the serving folder of a model: `{root}/models/<run_id>/serving/`.

What is in it is `trainer.serving.loading`'s to say. The manifest comes last, and a
folder that is complete is left as it is.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from trainer.backbones.backbones import load_model_file
from trainer.evaluation.metric_rows import ALL, METRICS_FILE, difference_name
from trainer.models.export import MODEL_FILE, load_model, weights_digest
from trainer.pictures.pictures import PREPROCESSING, PictureLimits
from trainer.serving import loading
from trainer.serving.chosen_model import ChosenModel
from trainer.serving.serving_graph import ServingModule

FOLDER = "serving"
CODE_VERSION = 3
"""Raised with every change of what is exported for the same model."""

LIMITS = PictureLimits()

_FROM_TRAINING = (
    "run_id",
    "run_date",
    "preset",
    "config",
    "dataset",
    "categories",
    "weights_sha256",
    "notes",
)

log = logging.getLogger(__name__)


def write_serving(chosen: ChosenModel) -> epath.Path:
    """Write a model's serving folder, unless it is there.

    Args:
        chosen: the model.

    Returns:
        The folder.

    Raises:
        InputError: the model was exported before it was evaluated or by other code.
    """
    folder = chosen.folder / FOLDER
    provenance = _provenance(chosen)
    if storage.is_complete(folder):
        _check_same(folder, provenance)
        log.info("model %s is exported already", chosen.run_id)
        return folder
    # Not straight to the folder: TensorFlow has another client for object stores.
    with tempfile.TemporaryDirectory(prefix="serving-") as scratch:
        signatures = _write_files(chosen, Path(scratch))
        files = loading.file_digests(Path(scratch))
        storage.start_folder(folder)
        for file in files:
            storage.write_atomic(folder / file, Path(scratch, file).read_bytes())
    storage.write_manifest(
        folder, provenance | {"signatures": signatures, "files": files}
    )
    return folder


def _provenance(chosen: ChosenModel) -> dict[str, Any]:
    """What the folder is made from; it says whether an earlier export still holds."""
    manifest = chosen.manifest
    return {
        "format": loading.FORMAT,
        **{name: manifest[name] for name in _FROM_TRAINING},
        "code_version": {"train": manifest["code_version"], "export": CODE_VERSION},
        "made_with": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "backbone": {
            "name": manifest["backbone_name"],
            "weights": manifest["backbone_weights"],
            "fingerprint": chosen.backbone,
        },
        "preprocessing": PREPROCESSING,
        "limits": {
            "min_side_px": LIMITS.min_side_px,
            "max_pixels": LIMITS.max_pixels,
        },
        "metrics": _headline(chosen.folder),
    }


def _headline(folder: epath.Path) -> dict[str, Any] | None:
    """The model's figures over all pairs; None where it has not been evaluated."""
    if not (folder / METRICS_FILE).exists():
        return None
    metrics = storage.read_json(folder / METRICS_FILE)
    evaluation = metrics["evaluation"]
    rows = [
        row
        for row in metrics["metrics"]
        if row["model"] == evaluation["model"]
        and row["slice"] == ALL
        and not row["metric"].startswith(difference_name(""))
    ]
    return {
        "dataset": evaluation["dataset"],
        "split": str(evaluation["split"]),
        "pairs": evaluation["n_pairs"],
        "figures": {
            row["metric"]: {name: row[name] for name in ("value", "low", "high")}
            for row in rows
        },
    }


def _check_same(folder: epath.Path, provenance: Mapping[str, Any]) -> None:
    """Refuse to pass off an earlier export as one of what there is now."""
    exported = storage.read_manifest(folder)
    for name, value in provenance.items():
        if exported.get(name) != value:
            raise InputError(
                f"{folder} was exported with {name} {exported.get(name)}, which is "
                f"{value} now, and exports are not replaced; remove the folder to "
                "export again"
            )


def _write_files(chosen: ChosenModel, folder: Path) -> dict[str, Any]:
    """Write everything but the manifest; returns the signatures."""
    backbone = load_model_file(chosen.backbone_file)
    network = load_model(chosen.folder).network
    found, expected = weights_digest(network), chosen.manifest["weights_sha256"]
    if found != expected:
        raise InputError(
            f"{chosen.folder / MODEL_FILE} has weights {found}, its manifest says "
            f"{expected}: it was changed or damaged; train the model again"
        )
    for source, name in (
        (chosen.folder / MODEL_FILE, MODEL_FILE),
        (chosen.backbone_file, loading.BACKBONE_FILE),
    ):
        (folder / name).write_bytes(source.read_bytes())
    module = ServingModule(backbone, network, LIMITS)
    signatures = module.signatures()
    saved = folder / loading.SAVED_MODEL
    saved.parent.mkdir()
    tf.saved_model.save(module, str(saved), signatures=signatures)
    # It holds a random number and nothing that loading needs.
    (saved / "fingerprint.pb").unlink(missing_ok=True)
    return {name: _shapes(function) for name, function in signatures.items()}


def _shapes(function: Any) -> dict[str, Any]:
    """Inputs and outputs of a signature: name → type and shape, null for any size."""
    inputs, _ = function.structured_input_signature
    outputs = function.structured_outputs
    return {
        "inputs": {spec.name: _shape(spec) for spec in inputs},
        "outputs": {name: _shape(spec) for name, spec in outputs.items()},
    }


def _shape(spec: Any) -> dict[str, Any]:
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
