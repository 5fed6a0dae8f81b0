"""Which split a scene belongs to: by its content, so that no picture is on two sides.

Scenes whose pictures are equal or nearly so form a group, and a group goes to one split
by a hash of its name. A scene's split therefore seldom changes when the catalogue grows
around it: only where a near-duplicate joins its group and gives it another name, or in
a catalogue so small that a split would be empty by chance.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tfrecords_schema.codes import Split
from tfrecords_schema.hashing import unit_interval

MAX_DISTANCE = 4
"""Bits in which the perceptual hashes of near-duplicates may differ."""

_HASH_BITS = 64
_BANDS = MAX_DISTANCE + 1  # with d differing bits, one of d + 1 bands is untouched


@dataclasses.dataclass(frozen=True, slots=True)
class SplitRule:
    """How scene groups are dealt out.

    Attributes:
        validation: share of the validation split.
        test: share of the test split.
        seed: another seed deals them out otherwise.
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0


def split_of(scene_group: str, rule: SplitRule) -> Split:
    """The split of a scene group."""
    position = _position(scene_group, rule)
    if position < rule.test:
        return Split.TEST
    if position < rule.test + rule.validation:
        return Split.VALIDATION
    return Split.TRAIN


def _position(scene_group: str, rule: SplitRule) -> float:
    return unit_interval(rule.seed, "split", scene_group)


def assign_splits(scene_groups: Iterable[str], rule: SplitRule) -> dict[str, Split]:
    """The split of every scene group, with no split empty if there are three groups.

    In a small catalogue chance may leave a split empty; then the groups nearest to its
    share, in the order of their hash, are moved there.
    """
    ordered = sorted(set(scene_groups), key=lambda group: _position(group, rule))
    splits = {group: split_of(group, rule) for group in ordered}
    if len(ordered) < len(Split):
        return splits
    # In this order test groups come first and train groups last.
    if Split.TEST not in splits.values():
        splits[ordered[0]] = Split.TEST
    if Split.TRAIN not in splits.values():
        splits[ordered[-1]] = Split.TRAIN
    if Split.VALIDATION not in splits.values():
        splits[ordered[1]] = Split.VALIDATION
    return splits


def hamming(first: int, second: int) -> int:
    """Number of differing bits."""
    return (first ^ second).bit_count()


def near_duplicate_groups(pictures: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Group pictures that are equal or nearly so.

    Candidates share one of `MAX_DISTANCE + 1` bands of their hashes, which no pair
    within the distance can avoid; so the answer is that of comparing all pairs.

    Args:
        pictures: sha256 and perceptual hash (16 hex digits) of each.

    Returns:
        sha256 to the group's name, which is the smallest sha256 in it.
    """
    hashes: dict[int, list[str]] = defaultdict(list)
    for sha256, phash in pictures:
        hashes[int(phash, 16)].append(sha256)
    values = sorted(hashes)
    groups = _Groups(len(values))
    for first, second in _band_candidates(values):
        if hamming(values[first], values[second]) <= MAX_DISTANCE:
            groups.join(first, second)
    members: dict[int, list[str]] = defaultdict(list)
    for index, value in enumerate(values):
        members[groups.find(index)] += hashes[value]
    return {sha256: min(names) for names in members.values() for sha256 in names}


def _band_candidates(values: Sequence[int]) -> Iterator[tuple[int, int]]:
    edges = [round(band * _HASH_BITS / _BANDS) for band in range(_BANDS + 1)]
    for low, high in itertools.pairwise(edges):
        buckets: dict[int, list[int]] = defaultdict(list)
        for index, value in enumerate(values):
            bucket = buckets[value >> low & ((1 << (high - low)) - 1)]
            for other in bucket:
                yield other, index
            bucket.append(index)


class _Groups:
    """Union-find with path halving."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def find(self, item: int) -> int:
        parents = self._parents
        while parents[item] != item:
            parents[item] = parents[parents[item]]
            item = parents[item]
        return item

    def join(self, first: int, second: int) -> None:
        self._parents[self.find(second)] = self.find(first)
