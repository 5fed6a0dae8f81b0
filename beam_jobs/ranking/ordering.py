"""Bulk ordering of candidates: by query, then by distance, then by product.

A candidate is a query's number, a distance and a product's number, three flat arrays.
Integers are sorted, as NumPy does that many times faster than it sorts by three keys.
"""

from __future__ import annotations

import numpy as np

_LOW = np.int64(0x7FFFFFFF)


def order_candidates(
    queries: np.ndarray, distances: np.ndarray, products: np.ndarray
) -> np.ndarray:
    """What sorts candidates by query, then distance, then product.

    Args:
        queries: [c] numbers from 0, below 2³¹.
        distances: [c] float32, none of them NaN.
        products: [c] numbers from 0, below 2³².

    Returns:
        [c] positions; the order is total where no query has a product twice.
    """
    keys = queries.astype(np.int64) << 32 | _ordered_bits(distances)
    order = np.argsort(keys)
    keys = keys[order]
    is_tied = np.zeros(len(keys), bool)
    np.equal(keys[1:], keys[:-1], out=is_tied[1:])
    # Few are, so these alone are sorted by product, each run of them in its place.
    runs = np.cumsum(~is_tied)
    is_tied[:-1] |= is_tied[1:]
    tied = np.flatnonzero(is_tied)
    by_product = runs[tied] << 32 | products[order[tied]].astype(np.int64)
    order[tied] = order[tied[np.argsort(by_product)]]
    return order


def _ordered_bits(distances: np.ndarray) -> np.ndarray:
    """Whole numbers in 0..2³² that are ordered as the distances are."""
    # Adding 0 makes one of the two zeros.
    bits = (distances.astype(np.float32) + np.float32(0)).view(np.int32)
    signed = bits.astype(np.int64)
    return np.where(signed < 0, signed ^ _LOW, signed) + (1 << 31)


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
