"""Groups of near hashes against comparing all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs.ranking import near_groups as module
from beam_jobs.ranking.near_groups import cut, near_groups


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


def by_whole_matrix(hashes: np.ndarray, max_bits: int) -> np.ndarray:
    """The same, by spreading the smallest place along all near pairs."""
    near = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= max_bits
    groups = np.arange(len(hashes))
    while True:
        spread = np.where(near, groups[None, :], len(hashes)).min(axis=1)
        if np.array_equal(spread, groups):
            return groups
        groups = spread


def some_hashes(seed: int, n: int, *, even: bool) -> np.ndarray:
    """Random hashes, a third of them near others; half with a constant half or not."""
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, 2**64, n, dtype=np.uint64)
    if not even:
        hashes[: n // 2] &= np.uint64(2**32 - 1)
    changed = generator.integers(0, n, (2, n // 3))
    flips = np.zeros(n // 3, np.uint64)
    for _ in range(8):
        flips ^= np.uint64(1) << generator.integers(0, 64, n // 3, dtype=np.uint64)
    hashes[changed[0]] = hashes[changed[1]] ^ flips
    return hashes


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("max_bits", [0, 1, 3, 4, 7, 8, 10, 16])
def test_groups_of_many_are_those_of_comparing_all(max_bits: int, even: bool) -> None:
    hashes = some_hashes(max_bits, 1500, even=even)
    found = near_groups(hashes, max_bits)
    assert found.tolist() == by_whole_matrix(hashes, max_bits).tolist()


def test_groups_are_the_same_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = some_hashes(5, 800, even=False)
    expected = near_groups(hashes, 8)
    monkeypatch.setattr(module, "_CANDIDATES", 7)
    assert near_groups(hashes, 8).tolist() == expected.tolist()


@pytest.mark.parametrize("n", [1, 1000, 100_000, 10_000_000])
@pytest.mark.parametrize("max_bits", range(17))
def test_chunks_cover_all_bits_or_can_do_without(n: int, max_bits: int) -> None:
    chunks = cut(n, max_bits)
    # What may differ without any chunk telling: all but what is left to the others.
    assert sum(chunk.radius + 1 for chunk in chunks) == max_bits + 1
    covered = [
        bit for chunk in chunks for bit in range(chunk.low, chunk.low + chunk.width)
    ]
    assert len(covered) == len(set(covered))
    assert set(covered) <= set(range(64))


def test_work_grows_more_slowly_than_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[int] = []
    pairs = module._pairs

    def counted(*arguments: np.ndarray) -> object:
        for a, b in pairs(*arguments):
            work[-1] += len(a)
            yield a, b

    monkeypatch.setattr(module, "_pairs", counted)
    for n in (4_000, 32_000):
        hashes = some_hashes(1, n, even=True)
        # Every hash is looked up with every change of every chunk.
        work.append(n * sum(chunk.tries for chunk in cut(len(set(hashes)), 8)))
        near_groups(hashes, 8)
    # Eight times as many have 64 times as many pairs.
    assert work[1] < 32 * work[0]
    assert work[1] < 0.02 * 32_000**2 / 2
