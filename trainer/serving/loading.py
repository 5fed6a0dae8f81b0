"""A serving folder: what is in it, and how it is loaded when its source is not known.

    saved_model/1/   SavedModel, JPEG bytes in; `1` is the version TF Serving asks for
    model.keras      the heads, over features (see `trainer.models.export`)
    backbone.keras   the frozen backbone, over pixels
    manifest.json    what it was made from, signatures, and the digest of every file

A SavedModel is a program: its operations can read and write files of the process that
runs it. So nothing is loaded that the manifest does not list, and nothing that differs
from its digest; whether the manifest itself is the one that was published, only its own
digest can tell, which the caller may ask for.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from trainer.backbones.backbones import load_model_file
from trainer.evaluation.vectors import StyleModel
from trainer.models.export import MODEL_FILE, load_model
from trainer.serving.serving_graph import PRODUCT, SCENE

SAVED_MODEL = "saved_model/1"
BACKBONE_FILE = "backbone.keras"
FORMAT = 1
"""Version of the folder's layout and signatures."""


def file_digests(folder: Path) -> dict[str, str]:
    """sha256 of every file under a local folder, by its relative path."""
    return {
        path.relative_to(folder).as_posix(): _sha256(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def manifest_digest(folder: epath.Path) -> str:
    """sha256 of a folder's manifest, which through its digests stands for all of it."""
    return _sha256((folder / storage.MANIFEST).read_bytes())


class ServingModel:
    """The signatures of a serving folder as functions of bytes and names.

    Attributes:
        manifest: of the folder.
    """

    def __init__(self, loaded: Any, manifest: dict[str, Any]) -> None:
        """Wrap a loaded SavedModel."""
        self.manifest = manifest
        self._loaded = loaded  # its variables live as long as it does

    def embed_scenes(
        self, jpegs: Sequence[bytes], categories: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Queries [n, dim] and attention [n, rows, cols] of scenes, float32.

        Args:
            jpegs: n JPEG files.
            categories: n names.

        Raises:
            InputError: a picture cannot be used, or a category is not known.
        """
        outputs = self._call(SCENE, images=jpegs, category=categories)
        return outputs["query"], outputs["attention"]

    def embed_products(self, jpegs: Sequence[bytes]) -> np.ndarray:
        """Unit vectors [n, dim] float32 of n JPEG files; raises as `embed_scenes`."""
        return self._call(PRODUCT, images=jpegs)["vector"]

    def _call(
        self, signature: str, **inputs: Sequence[bytes | str]
    ) -> dict[str, np.ndarray]:
        strings = {
            name: tf.constant(list(values), tf.string)
            for name, values in inputs.items()
        }
        try:
            outputs = self._loaded.signatures[signature](**strings)
        except tf.errors.InvalidArgumentError as error:
            raise InputError(f"{signature}: {error.message}") from None
        return {name: value.numpy() for name, value in outputs.items()}


def load_serving(
    folder: epath.Path, *, manifest_sha256: str | None = None
) -> ServingModel:
    """Load the SavedModel of a serving folder.

    Args:
        folder: local or in an object store.
        manifest_sha256: what `manifest_digest` has to be; None to take the folder's
            source on trust.

    Raises:
        InputError: the folder is not a complete serving folder, or differs from its
            manifest.
    """
    with tempfile.TemporaryDirectory(prefix="serving-") as scratch:
        manifest = copy_verified(folder, Path(scratch), manifest_sha256=manifest_sha256)
        try:
            loaded = tf.saved_model.load(str(Path(scratch, SAVED_MODEL)))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise InputError(f"{folder / SAVED_MODEL} does not load: {error}") from None
    missing = {SCENE, PRODUCT} - set(loaded.signatures)
    if missing:
        raise InputError(f"{folder / SAVED_MODEL} lacks signatures {sorted(missing)}")
    return ServingModel(loaded, manifest)


def load_parts(
    folder: epath.Path, *, manifest_sha256: str | None = None
) -> tuple[Any, StyleModel]:
    """The backbone and the model of a serving folder as Keras models, without code.

    Either is loaded in Keras's safe mode, which refuses files that carry code. They run
    on any backend of Keras.

    Args:
        folder: local or in an object store.
        manifest_sha256: see `load_serving`.

    Raises:
        InputError: as `load_serving`, or a file is not safe.
    """
    with tempfile.TemporaryDirectory(prefix="serving-") as scratch:
        copy_verified(folder, Path(scratch), manifest_sha256=manifest_sha256)
        local = epath.Path(scratch)
        return load_model_file(local / BACKBONE_FILE), load_model(local)


def copy_verified(
    folder: epath.Path, target: Path, *, manifest_sha256: str | None = None
) -> dict[str, Any]:
    """Copy what a manifest lists, and only what is as it lists it.

    What is loaded afterwards is the copy: nobody can change it after the check.

    Args:
        folder: a serving folder.
        target: an empty local folder.
        manifest_sha256: see `load_serving`.

    Returns:
        The manifest.
    """
    # Read once: what is parsed is what its digest is of.
    data = storage.read_manifest_bytes(folder)
    found = _sha256(data)
    if manifest_sha256 not in (None, found):
        raise InputError(
            f"{folder / storage.MANIFEST} has sha256 {found}, not {manifest_sha256}: "
            "it is not the export that was asked for"
        )
    manifest = storage.parse_json(data, folder / storage.MANIFEST)
    for name, expected in _listed_files(folder, manifest).items():
        _copy_file(folder, name, expected, target)
    storage.write_manifest(epath.Path(target), manifest)
    return manifest


def _listed_files(folder: epath.Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """The manifest's digests, if it is a manifest of a serving folder at all."""
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or manifest.get("format") != FORMAT:
        raise InputError(
            f"{folder / storage.MANIFEST} is not that of a serving folder of format "
            f"{FORMAT}; write one with python -m trainer.export_serving"
        )
    wanted = {MODEL_FILE, BACKBONE_FILE, f"{SAVED_MODEL}/saved_model.pb"}
    if not wanted <= files.keys():
        raise InputError(
            f"{folder / storage.MANIFEST} does not list {sorted(wanted - files.keys())}"
        )
    return files


def _copy_file(folder: epath.Path, name: str, expected: str, target: Path) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise InputError(f"{folder / storage.MANIFEST} lists {name!r}, outside of it")
    if not (folder / name).is_file():
        raise InputError(f"{folder} lacks {name}, which its manifest lists")
    data = (folder / name).read_bytes()
    if _sha256(data) != expected:
        raise InputError(
            f"{folder / name} has sha256 {_sha256(data)}, its manifest says "
            f"{expected}: it was changed or damaged; export the model again"
        )
    place = target / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
