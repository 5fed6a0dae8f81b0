"""Atomic files and complete folders: no reader sees a part of anything."""

from __future__ import annotations

import contextlib
import ctypes
import io
import mmap
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from etils import epath
from hypothesis import given
from hypothesis import strategies as st

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path)


def test_write_makes_missing_folders(folder: epath.Path) -> None:
    path = folder / "a" / "b" / "file"

    storage.write_atomic(path, b"data")

    assert path.read_bytes() == b"data"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_write_replaces_a_file(folder: epath.Path) -> None:
    storage.write_atomic(folder / "file", b"old and longer")
    storage.write_atomic(folder / "file", b"new")

    assert (folder / "file").read_bytes() == b"new"


def test_failed_write_leaves_the_old_file_and_nothing_else(
    folder: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_atomic(folder / "file", b"old")

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        storage.write_atomic(folder / "file", b"new")

    assert [entry.name for entry in folder.iterdir()] == ["file"]
    assert (folder / "file").read_bytes() == b"old"


def test_unwritable_data_leaves_nothing(folder: epath.Path) -> None:
    with pytest.raises(TypeError):
        storage.write_atomic(folder / "file", "text, not bytes")  # type: ignore[arg-type]

    assert list(folder.iterdir()) == []


class Bucket(dict[str, bytes]):
    """Objects by name. Like Google's: closing a writer uploads what it was given."""

    def object(self, name: str) -> Any:
        return _Object(self, name)


class _Object:
    """What `open_atomic` uses of a path."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._path = bucket, PurePosixPath(name)
        self.name = self._path.name

    def __str__(self) -> str:
        return f"gs://bucket/{self._path}"

    @property
    def parent(self) -> _Object:
        return _Object(self._bucket, str(self._path.parent))

    def __truediv__(self, name: str) -> _Object:
        return _Object(self._bucket, str(self._path / name))

    def mkdir(self, **_: object) -> None:
        pass

    @contextlib.contextmanager
    def open(self, mode: str) -> Iterator[io.BytesIO]:
        assert mode == "wb"
        upload = io.BytesIO()
        try:
            yield upload
        finally:
            self._bucket[str(self._path)] = upload.getvalue()

    def replace(self, target: _Object) -> None:
        self._bucket[str(target._path)] = self._bucket.pop(str(self._path))

    def unlink(self, *, missing_ok: bool) -> None:
        if self._bucket.pop(str(self._path), None) is None and not missing_ok:
            raise FileNotFoundError(self)


def test_object_that_is_written_replaces_the_old_one() -> None:
    bucket = Bucket({"folder/file": b"old"})

    with storage.open_atomic(bucket.object("folder/file")) as file:
        file.write(b"new")

    assert bucket == {"folder/file": b"new"}


@pytest.mark.parametrize("before", [{}, {"folder/file": b"old"}])
def test_failure_while_an_object_is_written_changes_nothing(
    before: dict[str, bytes],
) -> None:
    bucket = Bucket(before)

    def write_half() -> None:
        with storage.open_atomic(bucket.object("folder/file")) as file:
            file.write(b"part")
            raise ValueError("record 2 is broken")

    with pytest.raises(ValueError, match="record 2"):
        write_half()

    assert bucket == before


def test_reader_sees_old_or_new_content_while_a_file_is_replaced(
    folder: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_atomic(folder / "file", b"old")
    seen = []
    replace = os.replace

    def observed(source: Any, target: Any) -> None:
        seen.append((Path(source).read_bytes(), Path(target).read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", observed)
    storage.write_atomic(folder / "file", b"new")

    # The new content is whole before its name changes, the old one stays until then.
    assert seen == [(b"new", b"old")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner),
    max_leaves=8,
)


@given(value=json_values)
def test_json_survives_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    path = epath.Path(tmp_path_factory.getbasetemp()) / "value.json"
    storage.write_json(path, value)

    assert storage.read_json(path) == value


def test_json_bytes_do_not_depend_on_the_order_of_keys() -> None:
    first, second = {"b": 1, "a": {"d": 2, "c": 3}}, {"a": {"c": 3, "d": 2}, "b": 1}

    assert storage.to_json_bytes(first) == storage.to_json_bytes(second)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{} {}"])
def test_reading_json_names_the_file_when_it_is_not_json(
    folder: epath.Path, content: bytes
) -> None:
    storage.write_atomic(folder / "odd.json", content)

    with pytest.raises(InputError, match=r"odd\.json is not JSON"):
        storage.read_json(folder / "odd.json")


def test_reading_json_names_the_file_when_it_is_absent(folder: epath.Path) -> None:
    with pytest.raises(InputError, match=r"gone\.json does not exist"):
        storage.read_json(folder / "gone.json")


def test_folder_is_complete_only_with_its_manifest(folder: epath.Path) -> None:
    version = folder / "v1"
    assert not storage.is_complete(version)

    storage.start_folder(version)
    storage.write_atomic(version / "data", b"data")
    assert not storage.is_complete(version)

    storage.write_manifest(version, {"rows": 3})
    assert storage.is_complete(version)
    assert storage.read_manifest(version) == {"rows": 3}


def test_manifest_of_an_unfinished_folder_is_refused(folder: epath.Path) -> None:
    storage.start_folder(folder / "v1")

    with pytest.raises(InputError, match=r"v1 has no manifest\.json.*Run that job"):
        storage.read_manifest(folder / "v1")


def test_start_clears_what_a_killed_run_left(folder: epath.Path) -> None:
    storage.write_atomic(folder / "v1" / "deep" / "left-over", b"half")

    storage.start_folder(folder / "v1")

    assert list((folder / "v1").iterdir()) == []


def test_start_refuses_a_complete_folder_and_leaves_it(folder: epath.Path) -> None:
    storage.start_folder(folder / "v1")
    storage.write_atomic(folder / "v1" / "data", b"data")
    storage.write_manifest(folder / "v1", {})

    with pytest.raises(ValueError, match="is complete"):
        storage.start_folder(folder / "v1")

    assert (folder / "v1" / "data").read_bytes() == b"data"
    assert storage.is_complete(folder / "v1")


def pages_in_memory(path: epath.Path) -> int:
    """How many of a file's pages are in the page cache; skips where nobody can say."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "mincore"):
        pytest.skip("this system does not say what is in memory")
    with open(path, "rb") as file:
        # Private and writable, as ctypes takes the address of nothing else.
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    resident = (ctypes.c_ubyte * -(-len(pages) // mmap.PAGESIZE))()
    first = ctypes.c_ubyte.from_buffer(pages)
    start, size = ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(pages))
    assert libc.mincore(start, size, resident) == 0, os.strerror(ctypes.get_errno())
    return sum(page & 1 for page in resident)


def test_settled_file_is_whole_and_no_longer_in_memory(folder: epath.Path) -> None:
    data = bytes(range(256)) * 4096
    storage.write_atomic(folder / "shard", data)
    if not pages_in_memory(folder / "shard"):
        pytest.skip("this file system keeps nothing in memory")

    storage.settle(folder / "shard")

    # The kernel may keep a page that it is just using.
    assert pages_in_memory(folder / "shard") < len(data) / mmap.PAGESIZE / 2
    assert (folder / "shard").read_bytes() == data


def test_object_of_a_store_is_not_touched_to_settle_it() -> None:
    storage.settle(epath.Path("gs://no-such-bucket/shard"))
