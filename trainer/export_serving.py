"""Export a trained model so that it works anywhere, from JPEG bytes.

    python -m trainer.export_serving --root R (--run_date D | --model RUN_ID | champion)

Writes `{root}/models/<run_id>/serving/` (see `trainer.serving`), its manifest last, and
prints the folder and the digest of the manifest. A folder that is complete is left as
it is. The same model gives the same bytes in the same environment, run by this command:
TensorFlow numbers functions in the order of a process, so the program of a SavedModel
that another process makes may have other names in it, and nothing else.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Root, Stage, parse_run_date
from trainer import serving
from trainer.backbones import load_model_file
from trainer.chosen_model import ChosenModel, choose_model
from trainer.evaluate import METRICS_FILE
from trainer.export import MODEL_FILE, load_model, weights_digest
from trainer.metric_rows import ALL, difference_name
from trainer.pictures import PREPROCESSING, PictureLimits
from trainer.serving_graph import ServingModule

FOLDER = "serving"
CODE_VERSION = 2
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


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    configure_logging()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="storage root")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run_date", help="export the model that this run trained")
    which.add_argument("--model", help="run id of a model, or `champion`")
    options = parser.parse_args(argv)
    root = Root.of(options.root)
    model = options.model
    if model is None:
        date = parse_run_date(options.run_date)
        model = root.receipt(date, Stage.TRAIN).outputs["model"]
    folder = export_serving(root, model)
    log.info("the model to serve is in %s: %s", folder, _told(folder))
    print(f"{folder}  manifest sha256 {serving.manifest_digest(folder)}")


def export_serving(root: Root, name: str) -> epath.Path:
    """Write a model's serving folder, unless it is there.

    Args:
        root: storage root.
        name: a run id, or `champion`.

    Returns:
        The folder.

    Raises:
        InputError: there is no such model, or it was exported before it was evaluated
            or by other code.
    """
    chosen = choose_model(root, name)
    folder = chosen.folder / FOLDER
    provenance = _provenance(chosen)
    if storage.is_complete(folder):
        _check_same(folder, provenance)
        log.info("model %s is exported already", chosen.run_id)
        return folder
    # Not straight to the folder: TensorFlow has another client for object stores.
    with tempfile.TemporaryDirectory(prefix="serving-") as scratch:
        signatures = _write_files(chosen, Path(scratch))
        files = serving.file_digests(Path(scratch))
        storage.start_folder(folder)
        for file in files:
            storage.write_atomic(folder / file, Path(scratch, file).read_bytes())
    storage.write_manifest(
        folder, provenance | {"signatures": signatures, "files": files}
    )
    return folder


def _told(folder: epath.Path) -> str:
    """Which model an export is, and how good, from its manifest."""
    manifest = storage.read_manifest(folder)
    metrics = manifest["metrics"] or {"figures": {}}
    figure = metrics["figures"].get("binary_accuracy")
    if figure is None:
        return f"{manifest['run_id']}, of which no binary accuracy is known"
    return (
        f"{manifest['run_id']}, binary accuracy {figure['value']:.4f} on "
        f"{metrics['pairs']} pairs of the {metrics['split']} split"
    )


def _provenance(chosen: ChosenModel) -> dict[str, Any]:
    """What the folder is made from; it says whether an earlier export still holds."""
    manifest = chosen.manifest
    return {
        "format": serving.FORMAT,
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
        (chosen.backbone_file, serving.BACKBONE_FILE),
    ):
        (folder / name).write_bytes(source.read_bytes())
    module = ServingModule(backbone, network, LIMITS)
    signatures = module.signatures()
    saved = folder / serving.SAVED_MODEL
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


if __name__ == "__main__":
    exit_on_input_error(main)
