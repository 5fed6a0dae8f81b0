"""Groups of near hashes against comparing all pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs.ranking.near_groups import near_groups


def by_all_pairs(hashes: list[int], max_bits: int) -> list[int]:
    groups = list(range(len(hashes)))
    for a, first in enumerate(hashes):
        for b, second in enumerate(hashes):
            if (first ^ second).bit_count() <= max_bits and groups[a] != groups[b]:
                old, new = max(groups[a], groups[b]), min(groups[a], groups[b])
                groups = [new if group == old else group for group in groups]
    return groups


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 63), max_size=6))),
    st.integers(0, 16),
)
def test_groups_are_those_of_comparing_all(
    seeds: list[int], changes: list[tuple[int, set[int]]], max_bits: int
) -> None:
    hashes = list(seeds)
    for at, bits in changes:
        if at < len(seeds):
            hashes.append(seeds[at] ^ sum(1 << bit for bit in bits))
    found = near_groups(np.array(hashes, np.uint64), max_bits)
    assert found.tolist() == by_all_pairs(hashes, max_bits)
