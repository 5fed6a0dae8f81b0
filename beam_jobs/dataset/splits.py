"""Which split a scene belongs to: by its content, so that no picture is on two sides.

Scenes whose pictures are equal or nearly so form a group, and a group goes to one split
by a hash of its name. A scene's split therefore seldom changes when the catalogue grows
around it: only where a near-duplicate joins its group and gives it another name, or in
a catalogue so small that a split would be empty by chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from tfrecords_schema.codes import Split
from tfrecords_schema.hashing import unit_interval

MAX_DISTANCE = 4
"""Bits in which the perceptual hashes of near-duplicates may differ."""


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


def decisive_groups(scene_groups: Iterable[str], rule: SplitRule) -> frozenset[str]:
    """The few groups on which it depends whom `assign_splits` moves.

    Those at both ends, and the first of every split. It merges: what is decisive among
    the decisive of two halves is decisive in the whole.

    Returns:
        At most seven groups, for which `assign_splits` gives what it gives for all.
    """
    ordered = sorted(set(scene_groups), key=lambda group: _position(group, rule))
    first_of: dict[Split, str] = {}
    for group in ordered:
        first_of.setdefault(split_of(group, rule), group)
    return frozenset([*ordered[:3], *ordered[-1:], *first_of.values()])


def moved_groups(scene_groups: Iterable[str], rule: SplitRule) -> dict[str, Split]:
    """Those groups that `assign_splits` puts elsewhere than `split_of`."""
    assigned = assign_splits(scene_groups, rule)
    return {
        group: split
        for group, split in assigned.items()
        if split is not split_of(group, rule)
    }
