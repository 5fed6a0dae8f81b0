"""Groups of pictures that are nearly the same, by their perceptual hashes.

Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): a hash is cut into chunks.
Where two hashes differ in few bits, they differ in fewer in one of the chunks, so for
each chunk only those hashes are compared that are that near to each other in it. Which
they are is looked up: every way to change few bits of a chunk is tried. It is exact.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

_BITS = 64
_MAX_CHUNK_BITS = 22  # the table of a chunk's values then takes 32 MB
_CANDIDATES = 1 << 20  # compared at once, in some 30 MB

# Rough costs of numpy, in nanoseconds; they choose between cuts, all of them exact.
_CALL_NS, _LOOKUP_NS, _COMPARISON_NS = 30_000, 20, 20


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """Some neighbouring bits of a hash.

    Attributes:
        low: the first.
        width: how many.
        radius: in how many of them near hashes may differ.
    """

    low: int
    width: int
    radius: int

    @property
    def tries(self) -> int:
        """Ways to change at most `radius` bits."""
        return sum(math.comb(self.width, bits) for bits in range(self.radius + 1))


def near_groups(hashes: np.ndarray, max_bits: int) -> np.ndarray:
    """The group of each picture: what is near to a third is in one group with it.

    Args:
        hashes: [m] uint64.
        max_bits: in which near ones differ at most.

    Returns:
        [m] int64, the first place of a picture of the group.
    """
    values, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    parents = np.arange(len(values))
    chunks = cut(len(values), max_bits)
    mixed = _deal(values, len(chunks))
    for chunk in chunks:
        for a, b in _candidates(mixed, chunk):
            near = np.bitwise_count(mixed[a] ^ mixed[b]) <= max_bits
            parents = _join(parents, a[near], b[near])
    smallest = np.full(len(values), len(hashes), np.int64)
    np.minimum.at(smallest, parents, first)
    return smallest[parents][inverse.reshape(-1)]


@functools.cache
def cut(n: int, max_bits: int) -> tuple[Chunk, ...]:
    """The cheapest chunks for so many hashes."""
    fewest = -(-_BITS // _MAX_CHUNK_BITS)
    return min(
        (_cut(parts, max_bits) for parts in range(fewest, _BITS // 2)),
        key=lambda chunks: sum(_cost_ns(n, chunk) for chunk in chunks),
    )


def _cut(parts: int, max_bits: int) -> tuple[Chunk, ...]:
    """Chunks of nearly the same width, in one of which near hashes are near.

    Of d = parts · r + a differing bits, either one of the first a + 1 chunks has at
    most r, or one of the others at most r − 1: else there were (a + 1)(r + 1) +
    (parts − a − 1) r = d + 1 of them.
    """
    radius, left = divmod(max_bits, parts)
    edges = np.linspace(0, _BITS, parts + 1).astype(int).tolist()
    chunks = (
        Chunk(low, high - low, radius if part <= left else radius - 1)
        for part, (low, high) in enumerate(itertools.pairwise(edges))
    )
    return tuple(chunk for chunk in chunks if chunk.radius >= 0)


def _cost_ns(n: int, chunk: Chunk) -> float:
    """What a chunk of hashes that are spread evenly costs."""
    compared = n * n / 2 ** (chunk.width + 1)
    each = _CALL_NS + n * _LOOKUP_NS + compared * _COMPARISON_NS
    return chunk.tries * each


def _deal(values: np.ndarray, hands: int) -> np.ndarray:
    """The hashes with their bits in another order, the same for all.

    Bits that hardly tell hashes apart, such as those of a white margin, often lie side
    by side; in one chunk they would be near in all hashes. So bits are dealt out to as
    many hands as there are chunks, the most even ones first.
    """
    if not len(values):
        return values
    one = np.uint64(1)
    bits = [(values >> np.uint64(bit) & one) for bit in range(_BITS)]
    uneven = [abs(float(found.mean()) - 0.5) for found in bits]
    order = sorted(range(_BITS), key=lambda bit: (uneven[bit], bit))
    dealt = [bit for hand in range(hands) for bit in order[hand::hands]]
    mixed = np.zeros_like(values)
    for place, bit in enumerate(dealt):
        mixed |= bits[bit] << np.uint64(place)
    return mixed


def _candidates(
    values: np.ndarray, chunk: Chunk
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of pairs of hashes that are near in a chunk, each once, in batches."""
    mask = np.uint64((1 << chunk.width) - 1)
    keys = (values >> np.uint64(chunk.low) & mask).astype(np.int64)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    # Hashes with key k are those in starts[k]:starts[k + 1] of the order.
    counts = np.bincount(keys, minlength=1 << chunk.width)
    starts = np.concatenate([[0], np.cumsum(counts)])
    for change in _changes(chunk):
        if change:
            places = np.flatnonzero(keys < keys ^ change)
            others = keys[places] ^ change
            low, high = starts[others], starts[others + 1]
        else:
            places = np.arange(len(keys))
            low, high = places + 1, starts[keys + 1]
        filled = high > low
        for a, b in _pairs(places[filled], low[filled], high[filled]):
            yield order[a], order[b]


def _changes(chunk: Chunk) -> Iterator[int]:
    """Every way to change at most `radius` bits, as what is to be XORed."""
    for bits in range(chunk.radius + 1):
        for places in itertools.combinations(range(chunk.width), bits):
            yield sum(1 << place for place in places)


def _pairs(
    places: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each place with all of its range low:high, a bounded number at once."""
    ends = np.cumsum(high - low)
    first = 0
    while first < len(places):
        before = ends[first - 1] if first else 0
        last = np.searchsorted(ends, before + _CANDIDATES, side="right")
        some = slice(first, max(int(last), first + 1))
        sizes = high[some] - low[some]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        yield np.repeat(places[some], sizes), np.repeat(low[some], sizes) + within
        first = some.stop


def _join(parents: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Put both of each pair under one root.

    Args:
        parents: [n], the root of each.
        first: [m] places.
        second: [m] places.

    Returns:
        [n], the roots then: the smallest place of each group.
    """
    while True:
        a, b = parents[first], parents[second]
        apart = a != b
        if not apart.any():
            return parents
        first, second, a, b = first[apart], second[apart], a[apart], b[apart]
        parents = parents.copy()
        np.minimum.at(parents, np.maximum(a, b), np.minimum(a, b))
        parents = _roots(parents)


def _roots(parents: np.ndarray) -> np.ndarray:
    roots = parents
    while not np.array_equal(roots[roots], roots):
        roots = roots[roots]
    return roots
