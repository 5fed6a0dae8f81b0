"""Atomic files and manifests under one root, local or `gs://`.

A folder is complete when its `manifest.json` is there: writers put every file in place
by rename and the manifest last, readers refuse a folder without one. What a manifest
covers is not written again; later stages may add files beside it (a model's metrics and
verdict). Only pointers and receipts are replaced, each as one file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import IO, Any

from etils import epath

from tfrecords_schema.errors import InputError, UnreachableError

MANIFEST = "manifest.json"
_TEMPORARY = ".tmp"


@contextlib.contextmanager
def open_atomic(path: epath.Path) -> Iterator[IO[bytes]]:
    """Open a file for writing such that no reader ever sees a part of it.

    A file is renamed into place when the context ends without an error. So is an
    object: one that was written directly would be closed, and thereby uploaded, by an
    error in the context as well. Its new name appears with all of its content, as the
    store copies it by itself.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}{_TEMPORARY}"
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_local(path: epath.Path | str) -> bool:
    """Whether a path is of this machine's file system, not of an object store."""
    return "://" not in str(path)


def path_of_option(value: str, option: str) -> epath.Path:
    """A folder from an option's value, seen to be reachable if it is in a bucket.

    A bucket is asked for once, before the job begins: what is wrong with it is told
    with the option, whoever would have come upon it. A folder need not exist.

    Args:
        value: a local folder or gs://bucket/prefix.
        option: such as `--root`.

    Raises:
        InputError: it is neither.
        UnreachableError: the store does not answer, or refuses access.
    """
    if is_local(value):
        return epath.Path(value)
    if not re.match("gs://[^/]", value):
        raise InputError(f"{option} {value} is neither a folder nor gs://bucket/prefix")
    path = epath.Path(value)
    try:
        path.exists()
    # TensorFlow's client, Google's and the network have no error in common.
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UnreachableError(
            f"{option} {value} cannot be reached; see that the bucket is there, that "
            f"this machine has a network, and that its credentials may read there: "
            f"{said}"
        ) from error
    return path


def write_atomic(path: epath.Path, data: bytes) -> None:
    """Write a file so that no reader ever sees a part of it; see `open_atomic`."""
    with open_atomic(path) as file:
        file.write(data)


def settle(path: epath.Path) -> None:
    """Have a large local file on the disk, and its memory back from the page cache.

    For what is not read again soon. A mark that is written afterwards holds even where
    the power fails, what others read stays in memory, and the pages are written anew:
    on a virtual machine that gets its memory as it touches it, a first touch costs the
    processor six times as much as the copy itself. An object store is left alone.
    """
    if not is_local(path):
        return
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):  # absent on macOS
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def clear_temporary(folder: epath.Path) -> None:
    """Remove what killed processes left half-written in a folder."""
    for path in folder.iterdir():
        if is_temporary(path):
            path.unlink(missing_ok=True)


def is_temporary(path: epath.Path) -> bool:
    """Whether a file is one that is being written, or that a killed process left so."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


def to_json_bytes(value: Any) -> bytes:
    """JSON with sorted keys, for files that people read and hashes compare."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return text.encode() + b"\n"


def write_json(path: epath.Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_atomic(path, to_json_bytes(value))


def read_json(path: epath.Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is absent or is not JSON.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    return parse_json(data, path)


def parse_json(data: bytes, path: epath.Path) -> Any:
    """What the bytes of a JSON file say.

    Args:
        data: UTF-8.
        path: the file's, for the error.

    Raises:
        InputError: they are no JSON.
    """
    try:
        return json.loads(data)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None


def is_complete(folder: epath.Path) -> bool:
    """Whether a folder holds its manifest."""
    return (folder / MANIFEST).exists()


def read_manifest(folder: epath.Path) -> dict[str, Any]:
    """The manifest of a complete folder.

    Raises:
        InputError: the folder has none, so it is absent or was never finished.
    """
    manifest: dict[str, Any] = parse_json(
        read_manifest_bytes(folder), folder / MANIFEST
    )
    return manifest


def read_manifest_bytes(folder: epath.Path) -> bytes:
    """The manifest of a complete folder as it is stored; raises as `read_manifest`."""
    if not is_complete(folder):
        raise InputError(
            f"{folder} has no {MANIFEST}: the job that writes it did not finish. "
            "Run that job again; it goes on where it stopped"
        )
    return (folder / MANIFEST).read_bytes()


def write_manifest(folder: epath.Path, manifest: Mapping[str, Any]) -> None:
    """Declare a folder complete. Call it last."""
    write_json(folder / MANIFEST, dict(manifest))


def start_folder(folder: epath.Path) -> None:
    """Make an empty folder for a job, clearing what a killed run left there.

    Raises:
        ValueError: the folder is complete and so may not be written again.
    """
    if is_complete(folder):
        raise ValueError(f"{folder} is complete and must not be written again")
    if folder.exists():
        folder.rmtree()
    folder.mkdir(parents=True)
