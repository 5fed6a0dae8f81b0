"""Splits: the shares, and that no split is empty."""

from __future__ import annotations

import collections
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.dataset.splits import (
    SplitRule,
    assign_splits,
    decisive_groups,
    moved_groups,
    split_of,
)
from tfrecords_schema.codes import Split


def sha(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


@pytest.mark.parametrize("seed", range(3))
def test_split_shares_are_about_80_10_10(seed: int) -> None:
    counts = collections.Counter(
        split_of(sha(number), SplitRule(seed=seed)) for number in range(20_000)
    )

    # 4 standard deviations of a share of 0.1 over 20,000 draws are 0.0085.
    assert counts[Split.TRAIN] / 20_000 == pytest.approx(0.8, abs=0.012)
    assert counts[Split.VALIDATION] / 20_000 == pytest.approx(0.1, abs=0.0085)
    assert counts[Split.TEST] / 20_000 == pytest.approx(0.1, abs=0.0085)


def test_split_follows_the_rule_shares() -> None:
    groups = [sha(number) for number in range(200)]

    assert {split_of(group, SplitRule(0.0, 0.0)) for group in groups} == {Split.TRAIN}
    assert {split_of(group, SplitRule(0.0, 1.0)) for group in groups} == {Split.TEST}
    assert {split_of(group, SplitRule(1.0, 0.0)) for group in groups} == {
        Split.VALIDATION
    }


def test_split_is_another_under_another_seed() -> None:
    groups = [sha(number) for number in range(500)]
    first, second = (
        [split_of(group, SplitRule(seed=seed)) for group in groups] for seed in (0, 1)
    )

    same = sum(a == b for a, b in zip(first, second, strict=True))
    # Independent splits agree in 0.8² + 2 · 0.1² = 0.66 of the groups.
    assert same / 500 == pytest.approx(0.66, abs=0.09)


@given(seed=st.integers(0, 10_000), size=st.integers(3, 40))
def test_no_split_is_empty_with_three_groups_or_more(seed: int, size: int) -> None:
    groups = [f"{seed}-{number}" for number in range(size)]
    rule = SplitRule(seed=seed)
    splits = assign_splits(groups, rule)

    assert set(splits.values()) == set(Split)
    moved = [group for group in groups if splits[group] is not split_of(group, rule)]
    was_complete = {split_of(group, rule) for group in groups} == set(Split)
    assert len(moved) <= (0 if was_complete else 2)


@pytest.mark.parametrize("size", [0, 1, 2])
def test_fewer_than_three_groups_keep_their_splits(size: int) -> None:
    groups = [f"group {number}" for number in range(size)]
    rule = SplitRule()
    assert assign_splits(groups, rule) == {
        group: split_of(group, rule) for group in groups
    }


@given(
    seed=st.integers(0, 10_000),
    size=st.integers(0, 40),
    cuts=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_decisive_groups_of_parts_decide_for_the_whole(
    seed: int, size: int, cuts: tuple[int, int]
) -> None:
    groups = [f"{seed}-{number}" for number in range(size)]
    rule = SplitRule(seed=seed)
    low, high = sorted(cuts)

    parts = (groups[:low], groups[low:high], groups[high:])
    merged = decisive_groups(
        [name for part in parts for name in decisive_groups(part, rule)], rule
    )

    assert merged == decisive_groups(groups, rule)
    assert len(merged) <= 7
    assert moved_groups(merged, rule) == moved_groups(groups, rule)
