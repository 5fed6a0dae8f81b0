"""Groups of pictures that are nearly the same, by their perceptual hashes.

Two hashes that differ in at most `max_bits` bits agree in one of `max_bits + 1` bands
of them. So hashes are sorted by each band in turn, and only those that agree in it are
compared: with how many follow each, one comparison of whole arrays a step.
"""

from __future__ import annotations

import numpy as np

_BITS = 64


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
    edges = np.linspace(0, _BITS, max_bits + 2).astype(int)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        mask = np.uint64((1 << (high - low)) - 1)
        bands = values >> np.uint64(low) & mask
        order = np.argsort(bands, kind="stable")
        for a, b in _near_in_band(values[order], bands[order], max_bits):
            _join(parents, order[a], order[b])
    roots = _roots(parents)
    smallest = np.full(len(values), len(hashes), np.int64)
    np.minimum.at(smallest, roots, first)
    return smallest[roots][inverse.reshape(-1)]


def _near_in_band(
    values: np.ndarray, bands: np.ndarray, max_bits: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places of near values that agree in a band, by which the values are sorted."""
    found = []
    ends = np.searchsorted(bands, bands, side="right")
    places, step = np.arange(len(values)), 1
    while len(places := places[places + step < ends[places]]):
        bits = np.bitwise_count(values[places] ^ values[places + step])
        near = places[bits <= max_bits]
        found.append((near, near + step))
        step += 1
    return found


def _join(parents: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Put both of each pair under one root; there are few pairs that differ."""
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        root_a, root_b = _root(parents, a), _root(parents, b)
        parents[max(root_a, root_b)] = min(root_a, root_b)


def _root(parents: np.ndarray, item: int) -> int:
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = int(parents[item])
    return item


def _roots(parents: np.ndarray) -> np.ndarray:
    roots = parents
    while not np.array_equal(roots[roots], roots):
        roots = roots[roots]
    return roots
