"""One integer for a distance and a product, so that lists are sorted as integers.

NumPy sorts rows of integers many times faster than it sorts by several keys.
"""

from __future__ import annotations

import numpy as np

NOTHING = -1
"""The product of a place that a list does not fill."""

_LOW = 0x7FFFFFFF
_PRODUCT = 0xFFFFFFFF
_INFINITE = 0x7F800000

END = _INFINITE << 32 | _PRODUCT
"""The key of a place that a list does not fill; it is above all others."""


def list_keys(distances: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Integers that are ordered by distance, and by product where distances are equal.

    Args:
        distances: [...] float32, none of them NaN.
        products: [...] numbers from 0, below 2³² − 1, or `NOTHING`.

    Returns:
        [...] int64.
    """
    # Adding 0 makes one of the two zeros.
    bits = (distances.astype(np.float32, copy=False) + np.float32(0)).view(np.int32)
    return _ordered(bits).astype(np.int64) << 32 | products & _PRODUCT


def products_of(keys: np.ndarray) -> np.ndarray:
    """[...] int64: the products that keys were made of."""
    products = keys & _PRODUCT
    return np.where(products == _PRODUCT, NOTHING, products)


def distances_of(keys: np.ndarray) -> np.ndarray:
    """[...] float32: the distances that keys were made of."""
    return _ordered((keys >> 32).astype(np.int32)).view(np.float32)


def _ordered(bits: np.ndarray) -> np.ndarray:
    """Bits of float32 as int32 in the order of the numbers; its own inverse."""
    return np.where(bits < 0, bits ^ np.int32(_LOW), bits)


def places(keys: np.ndarray) -> np.ndarray:
    """How many equal keys stand before each, where equal ones lie together."""
    if not len(keys):
        return np.empty(0, np.int64)
    begins = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    lengths = np.diff(np.r_[begins, len(keys)])
    return np.arange(len(keys)) - np.repeat(begins, lengths)


def places_in_groups(queries: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """How many of its query and group stand before each candidate.

    Args:
        queries: [c] numbers from 0, below 2³¹.
        groups: [c] numbers from 0, below 2³².
    """
    keys = queries.astype(np.int64) << 32 | groups.astype(np.int64)
    order = np.argsort(keys, kind="stable")
    found = np.empty(len(keys), np.int64)
    found[order] = places(keys[order])
    return found
