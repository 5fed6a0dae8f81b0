"""Keras files whose bytes follow from the model alone."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from etils import epath

from tfrecords_schema import storage

_SHARED = "shared_object_id"


def write_keras_file(model: keras.Model, path: epath.Path) -> None:
    """Write a model, whole or not at all; equal models give equal files.

    Keras puts the time of saving into its metadata, the zip archive into every entry,
    and objects that layers share are known by where they lay in memory. A job that is
    run again would leave another file.

    Args:
        model: to save.
        path: a `.keras` file.
    """
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch) / path.name
        model.save(saved)
        # Not straight to the path: files of an object store cannot be gone back in.
        timeless = Path(scratch) / "timeless.zip"
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(timeless, "w") as target:
            for name in source.namelist():
                data = source.read(name)
                if name in _REWRITTEN:
                    data = json.dumps(_REWRITTEN[name](json.loads(data))).encode()
                # Without a date of its own, an entry is of the first day of zip.
                target.writestr(zipfile.ZipInfo(name), data)
        storage.write_atomic(path, timeless.read_bytes())


def _without_date(metadata: dict[str, Any]) -> dict[str, Any]:
    """Nothing reads it."""
    return {key: value for key, value in metadata.items() if key != "date_saved"}


def _renumbered(config: dict[str, Any]) -> dict[str, Any]:
    """Shared objects, numbered in the order in which they are met."""
    numbers: dict[int, int] = {}

    def renumber(value: Any) -> Any:
        if isinstance(value, list):
            return [renumber(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            key: numbers.setdefault(item, len(numbers) + 1)
            if key == _SHARED and isinstance(item, int)
            else renumber(item)
            for key, item in value.items()
        }

    renumbered: dict[str, Any] = renumber(config)
    return renumbered


_REWRITTEN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "metadata.json": _without_date,
    "config.json": _renumbered,
}
