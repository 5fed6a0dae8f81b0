"""Which contents are stored already: many millions of hashes in little memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from etils import epath

from tfrecords_schema.parquet_files import read_parquet
from tfrecords_schema.segments import INDEX, SegmentStore, part_paths

_RECENT = 65_536
# Half of a SHA-256: two of 10^9 contents share it with a chance of 10^-21.
_HASH_BYTES = 16


class HeldContents:
    """A set of SHA-256 digests that only grows.

    Most lie in one sorted array; the latest in a set, which is merged in now and then.
    """

    def __init__(self) -> None:
        self._sorted = np.empty(0, f"S{_HASH_BYTES}")
        self._recent: set[bytes] = set()

    def __contains__(self, sha256: str) -> bool:
        """Whether a digest, in hex, has been added."""
        key = _key(sha256)
        if key in self._recent:
            return True
        at = int(np.searchsorted(self._sorted, np.bytes_(key)))
        return at < len(self._sorted) and self._sorted[at] == np.bytes_(key)

    def add(self, digests: Iterable[str]) -> None:
        """Add digests, in hex."""
        self._recent.update(map(_key, digests))
        if len(self._recent) >= _RECENT:
            recent = np.array(sorted(self._recent), self._sorted.dtype)
            self._sorted = np.sort(np.concatenate([self._sorted, recent]))
            self._recent.clear()

    def add_part(self, index_part: epath.Path) -> None:
        """Add the keys of an index part."""
        with index_part.open("rb") as file:
            keys = read_parquet(file, ["key"])["key"]
        self.add(keys.to_pylist())


def held_by(store: epath.Path) -> HeldContents:
    """The contents of a store's complete segments."""
    held = HeldContents()
    for segment in SegmentStore(store).segments():
        for path in part_paths(segment, INDEX):
            held.add_part(path)
    return held


def _key(sha256: str) -> bytes:
    # NumPy leaves zero bytes at the end off, so they are left off everywhere.
    return bytes.fromhex(sha256)[:_HASH_BYTES].rstrip(b"\0")
