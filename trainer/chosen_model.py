"""Which model an option means, and the backbone that goes with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.backbones import MODEL_FILE
from trainer.pictures import PREPROCESSING
from trainer.pointer import CHAMPION, read_pointer
from trainer.vectors import why_unserved


@dataclasses.dataclass(frozen=True, slots=True)
class ChosenModel:
    """A trained model and its backbone under a root.

    Attributes:
        run_id: of the model.
        folder: of the model.
        manifest: of the model.
        backbone: fingerprint of its backbone.
        backbone_file: where that is.
    """

    run_id: str
    folder: epath.Path
    manifest: Mapping[str, Any]
    backbone: str
    backbone_file: epath.Path


def choose_model(root: Root, name: str) -> ChosenModel:
    """The model that `--model` names.

    Args:
        root: storage root.
        name: a run id, or `champion`.

    Raises:
        InputError: there is no such model, no champion, or the model's features were
            made from other pixels than this code makes, or it has none.
    """
    run_id = _champion(root) if name == CHAMPION else name
    folder = root.model(run_id)
    if not folder.exists():
        raise InputError(f"--model {run_id}: {folder} does not exist")
    manifest = storage.read_manifest(folder)
    obstacle = why_unserved(manifest)
    if obstacle:
        raise InputError(
            f"--model {run_id} can be evaluated, but neither ranks single pictures nor "
            f"is served: {obstacle}"
        )
    fingerprint, _, preprocessing = manifest["backbone"].partition("-")
    if preprocessing != PREPROCESSING:
        raise InputError(
            f"model {run_id} is for features {manifest['backbone']}, whose pictures "
            f"were prepared as {preprocessing!r}; this code prepares {PREPROCESSING!r}"
        )
    file = root.backbone(fingerprint) / MODEL_FILE
    return ChosenModel(run_id, folder, manifest, fingerprint, file)


def _champion(root: Root) -> str:
    value = read_pointer(root.champion).value
    if value is None:
        raise InputError(
            f"there is no champion under {root.path}; promote a model, or name one "
            "with --model"
        )
    return str(value["run_id"])
