"""Arrays of embedded blocks as files: written whole or not at all, mapped when read."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from beam_jobs.ranking.plan import with_suffix
from tfrecords_schema import storage

_RECORD = "json"


@dataclasses.dataclass(frozen=True, slots=True)
class Rejected:
    """A scene or product that could not be embedded, or may not be ranked.

    Attributes:
        kind: `scene` or `product`.
        id: of it.
        code: why; see `codes.RankCode`.
        detail: for people.
    """

    kind: str
    id: str
    code: str
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class BlockRecord:
    """What came of a block.

    Attributes:
        listed: in it.
        embedded: of them.
        rejected: the others.
        arrays: names of the block's arrays.
    """

    listed: int
    embedded: int
    rejected: tuple[Rejected, ...]
    arrays: tuple[str, ...]

    def __post_init__(self) -> None:
        """Hold what came out against what went in."""
        if self.listed != self.embedded + len(self.rejected):
            raise AssertionError(f"{self.listed} in a block, and out of it {self}")


def write_block(
    stem: epath.Path,
    arrays: Mapping[str, np.ndarray],
    *,
    listed: int,
    rejected: Sequence[Rejected],
) -> None:
    """Write a block's arrays, and last what came of it.

    Args:
        stem: of the files' names.
        arrays: by name; `numbers` are of those that were embedded.
        listed: in the block.
        rejected: of them.
    """
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        storage.write_atomic(with_suffix(stem, f"{name}.npy"), buffer.getvalue())
    record = BlockRecord(
        listed, len(arrays["numbers"]), tuple(rejected), tuple(sorted(arrays))
    )
    storage.write_json(with_suffix(stem, _RECORD), dataclasses.asdict(record))


def is_written(stem: epath.Path) -> bool:
    """Whether a block is whole, and not half removed by a run killed at its end."""
    return with_suffix(stem, _RECORD).exists() and all(
        with_suffix(stem, f"{name}.npy").exists() for name in read_record(stem).arrays
    )


def read_record(stem: epath.Path) -> BlockRecord:
    """What came of a block."""
    value = storage.read_json(with_suffix(stem, _RECORD))
    return BlockRecord(
        value["listed"],
        value["embedded"],
        tuple(Rejected(**row) for row in value["rejected"]),
        tuple(value["arrays"]),
    )


def read_array(stem: epath.Path, name: str) -> np.ndarray:
    """An array of a block; of a local file only what is looked at is read."""
    path = with_suffix(stem, f"{name}.npy")
    if storage.is_local(path):
        return np.load(str(path), mmap_mode="r", allow_pickle=False)
    with path.open("rb") as file:
        return np.load(io.BytesIO(file.read()), allow_pickle=False)


def read_arrays(stem: epath.Path) -> dict[str, np.ndarray]:
    """All arrays of a block by name."""
    return {name: read_array(stem, name) for name in read_record(stem).arrays}
