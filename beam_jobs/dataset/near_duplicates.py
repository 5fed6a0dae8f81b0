"""Which pictures are nearly the same: pairs of perceptual hashes, and their groups.

Two hashes within `MAX_DISTANCE` differing bits leave one of `MAX_DISTANCE + 1` bands
untouched. So pictures are dealt into buckets band by band, only those of a bucket are
compared, and the answer is that of comparing all pairs.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from beam_jobs.dataset.splits import MAX_DISTANCE

Picture = tuple[int, str]
"""A perceptual hash, and the smallest sha256 of the pictures that have it."""

Edge = tuple[Picture, Picture]
"""Two pictures that are nearly the same; twice the same one where several have it."""

_HASH_BITS = 64
_EDGES = [
    round(band * _HASH_BITS / (MAX_DISTANCE + 1)) for band in range(MAX_DISTANCE + 2)
]
_BANDS = list(itertools.pairwise(_EDGES))
_BUCKETS = 64  # of a band: enough for as many workers, few enough to batch


def _bits(value: int, band: int) -> int:
    low, high = _BANDS[band]
    return value >> low & ((1 << (high - low)) - 1)


def buckets_of(value: int) -> Iterator[tuple[int, int]]:
    """The bucket of a hash in every band."""
    for band in range(len(_BANDS)):
        yield band, _bits(value, band) % _BUCKETS


def near_pairs(band: int, pictures: Iterable[Picture]) -> Iterator[Edge]:
    """Pictures of one bucket that are nearly the same and agree in the band."""
    alike: dict[int, list[Picture]] = defaultdict(list)
    for picture in sorted(pictures):
        alike[_bits(picture[0], band)].append(picture)
    for group in alike.values():
        values = np.array([value for value, _ in group], np.uint64)
        for first in range(len(group) - 1):
            distances = np.bitwise_count(values[first + 1 :] ^ values[first])
            for offset in np.flatnonzero(distances <= MAX_DISTANCE):
                yield group[first], group[first + 1 + int(offset)]


def name_groups(edges: Iterable[Edge]) -> dict[int, str]:
    """Connect pictures through their edges.

    Returns:
        From each hash of an edge to its group's name, which is the smallest sha256 of
        all pictures in the group.
    """
    groups = _Groups()
    names: dict[int, str] = {}
    for first, second in edges:
        names |= (first, second)
        groups.join(first[0], second[0])
    smallest: dict[int, str] = {}
    for value, name in names.items():
        root = groups.find(value)
        smallest[root] = min(name, smallest.get(root, name))
    return {value: smallest[groups.find(value)] for value in names}


class _Groups:
    """Union-find with path halving."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def find(self, item: int) -> int:
        parents = self._parents
        parents.setdefault(item, item)
        while parents[item] != item:
            parents[item] = parents[parents[item]]
            item = parents[item]
        return item

    def join(self, first: int, second: int) -> None:
        self._parents[self.find(second)] = self.find(first)
