"""A disk of a few kilobytes that can be made larger; needs the right to mount."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_PAGE = 4096


def room_of(folder: Path) -> int:
    """Bytes that a folder takes on such a disk, where files take whole pages."""
    return sum(
        _PAGE if path.is_dir() else -(-path.stat().st_size // _PAGE) * _PAGE
        for path in folder.rglob("*")
    )


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes for as long as the context lasts, or skip the test."""
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mounting, capture_output=True, check=False, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount on this machine")
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def enlarge(folder: Path, size: int) -> None:
    """Give a mounted disk so many bytes."""
    resized = f"remount,size={size}"
    subprocess.run(["mount", "-o", resized, str(folder)], check=True)
