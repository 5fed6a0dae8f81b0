"""The champion pointer: the one small file that says which model is in use.

Whoever replaces it has read it before and says so: on an object store the replacement
carries the generation it read as a precondition, so of two runs that promote at once
one fails instead of silently undoing the other. A local file is renamed into place.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from trainer.configuration.provenance import digest_in

CHAMPION = "champion"
"""What options call the model that is in use."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer file as it was read.

    Attributes:
        value: its content; None where there is no file.
        generation: the object's generation, 0 where there is none; local files have no
            generation and so always 0.
    """

    value: dict[str, Any] | None
    generation: int = 0


def read_pointer(path: epath.Path) -> Pointer:
    """Read a pointer.

    Raises:
        InputError: the file does not name a model.
    """
    if str(path).startswith("gs://"):
        pointer = _read_gcs(str(path))
    else:
        pointer = Pointer(storage.read_json(path) if path.exists() else None)
    if pointer.value is not None and not pointer.value.get("run_id"):
        raise InputError(f"{path} names no run_id; restore it from a promote receipt")
    return pointer


def named_folder(path: epath.Path, pointer: Pointer, run_id: str) -> epath.Path:
    """The folder of a model that a pointer names, now or as the one before.

    Args:
        path: the pointer file, which lies beside the folders of models.
        pointer: as it was read.
        run_id: of the model.

    Raises:
        InputError: it is gone. A model is promoted when it is complete, so it is no
            use to wait for the job that writes it.
    """
    folder = path.parent / run_id
    if storage.is_complete(folder):
        return folder
    is_there = folder.exists()
    what = f"has lost its {storage.MANIFEST}" if is_there else "is gone"
    value = pointer.value or {}
    named = (value.get("run_id"), value.get("previous"))
    others = [name for name in named if name and name != run_id]
    before = f", such as {others[0]}, which it also names," if others else ""
    raise InputError(
        f"{path} names model {run_id}, and {folder} {what}: restore the folder, or put "
        f"another model{before} in force with python -m trainer.reinstate; see "
        "docs/runbook.md, Roll back a model"
    )


def replace_pointer(path: epath.Path, value: dict[str, Any], *, read: Pointer) -> None:
    """Replace a pointer, provided that it is still what was read.

    Args:
        path: the pointer file.
        value: its new content.
        read: what `read_pointer` gave.

    Raises:
        InputError: another run has replaced it in the meantime (object stores only).
    """
    if str(path).startswith("gs://"):
        _replace_gcs(str(path), storage.to_json_bytes(value), read.generation)
    else:
        storage.write_json(path, value)


def withdrawn_like(run_id: str, champion: Mapping[str, Any]) -> str | None:
    """A model that a person took back and that follows from the same input, or None.

    Args:
        run_id: the model in question.
        champion: content of the pointer, which remembers them.
    """
    of_same_input = (
        name
        for name in champion.get("withdrawn", ())
        if digest_in(name) == digest_in(run_id)
    )
    return next(of_same_input, None)


def _bucket(path: str) -> tuple[Any, str]:
    """The bucket and object name of a `gs://` path."""
    from google.cloud import storage as gcs  # a second's import that local runs spare

    bucket, _, name = path.removeprefix("gs://").partition("/")
    return gcs.Client().bucket(bucket), name


def _read_gcs(path: str) -> Pointer:
    bucket, name = _bucket(path)
    blob = bucket.get_blob(name)
    if blob is None:
        return Pointer(None)
    data = blob.download_as_bytes(if_generation_match=blob.generation)
    return Pointer(json.loads(data), blob.generation)


def _replace_gcs(path: str, data: bytes, generation: int) -> None:
    from google.api_core.exceptions import PreconditionFailed

    bucket, name = _bucket(path)
    try:
        bucket.blob(name).upload_from_string(
            data, content_type="application/json", if_generation_match=generation
        )
    except PreconditionFailed:
        raise InputError(
            f"{path} was replaced by another run since it was read; run this again"
        ) from None
