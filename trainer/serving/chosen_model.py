"""Which model an option means, the backbone that goes with it, and its categories.

Without TensorFlow: a wrong name is told at once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from trainer.backbones.backbone_form import MODEL_FILE
from trainer.models.abilities import why_unserved
from trainer.models.pointer import CHAMPION, named_folder, read_pointer
from trainer.pictures.pictures import PREPROCESSING

_RUN_ID = re.compile(r"\w[\w.-]*")  # and no path to somewhere else


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
    if not _RUN_ID.fullmatch(name):
        raise InputError(
            f"--model {name!r} is no run id; they are the names of the folders under "
            f"{root.path / 'models'}"
        )
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


def find_category(name: str, chosen: ChosenModel) -> str:
    """The model's category of that name, or the only one whose path ends in it.

    Raises:
        InputError: there is none, or there are several.
    """
    known: list[str] = chosen.manifest["categories"]
    if name in known:
        return name
    ending = [path for path in known if path.rpartition("|")[2] == name]
    if len(ending) == 1:
        return ending[0]
    if ending:
        told = " or ".join(map(repr, ending))
        raise InputError(f"--category {name!r} may mean {told}; give the whole path")
    raise InputError(
        f"--category {name!r} is none that model {chosen.run_id} knows: "
        + ", ".join(map(repr, known))
    )


def _champion(root: Root) -> str:
    pointer = read_pointer(root.champion)
    if pointer.value is None:
        raise InputError(
            f"there is no champion under {root.path}; promote a model, or name one "
            "with --model"
        )
    return named_folder(root.champion, pointer, pointer.value["run_id"]).name
