"""Arrow's view of files, local or `gs://`, through the paths that everything else uses.

Arrow has clients of its own for object stores, which look for credentials in places of
their own. Only what reading a data set takes is here.
"""

from __future__ import annotations

import contextlib
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.fs as pafs
from etils import epath

from tfrecords_schema import storage


def arrow_filesystem(folder: epath.Path) -> pafs.FileSystem:
    """A read-only file system for Arrow, of a folder's kind.

    Arrow's own where it is local: a thread of Arrow's that still holds a Python file
    when the process ends may abort it, see `tfrecords_schema.parquet_files`.
    """
    if storage.is_local(folder):
        return pafs.LocalFileSystem()
    return remote_filesystem()


def remote_filesystem() -> pafs.FileSystem:
    """One that opens whatever `epath` opens."""
    return pafs.PyFileSystem(_PathFiles())


class _OpenFile:
    """An open file as Arrow wants it; TensorFlow's do not say whether they are open."""

    def __init__(self, path: epath.Path) -> None:
        self._opened = contextlib.ExitStack()
        file = self._opened.enter_context(path.open("rb"))
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self.closed = False

    def close(self) -> None:
        self.closed = True
        self._opened.close()


class _PathFiles(pafs.FileSystemHandler):
    """Opens files by their names, when they are read and not before."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _PathFiles)

    __hash__ = None  # type: ignore[assignment]

    def get_type_name(self) -> str:
        return "epath"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [_info(path) for path in paths]

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(_OpenFile(epath.Path(path)), mode="r")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def _refuse(self, *_: Any) -> NoReturn:
        raise NotImplementedError("tables are only read here, by their names")

    get_file_info_selector = _refuse
    create_dir = delete_dir = delete_dir_contents = _refuse
    delete_root_dir_contents = delete_file = move = copy_file = _refuse
    open_output_stream = open_append_stream = _refuse


def _info(path: str) -> pafs.FileInfo:
    found = epath.Path(path)
    if found.is_dir():
        return pafs.FileInfo(path, pafs.FileType.Directory)
    kind = pafs.FileType.File if found.exists() else pafs.FileType.NotFound
    return pafs.FileInfo(path, kind)
