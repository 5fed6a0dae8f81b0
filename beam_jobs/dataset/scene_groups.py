"""Grouping scenes by content in Beam, without a worker that sees them all.

What is gathered are the scenes that have a near-duplicate, and the handful of groups
that decide whether a split would be empty; every other scene is its own group.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_jobs.dataset.dataset_transforms import Scene
from beam_jobs.dataset.near_duplicates import (
    Edge,
    Picture,
    buckets_of,
    name_groups,
    near_pairs,
)
from beam_jobs.dataset.splits import SplitRule, decisive_groups, moved_groups, split_of
from tfrecords_schema.codes import Split

_BATCH = 1_000


class GroupScenes(beam.PTransform):
    """Find the groups of scenes with the same content, and their splits.

    PCollection in: `Scene`.
    Output: two PCollections for the side inputs of `place_scene`: (perceptual hash,
    group) of those hashes whose scenes are not alone, and (group, `Split`) of those
    groups that are not where their hash puts them.
    """

    def __init__(self, rule: SplitRule) -> None:
        """Set how groups are dealt out."""
        super().__init__()
        self._rule = rule

    def expand(
        self, scenes: beam.PCollection
    ) -> tuple[beam.PCollection, beam.PCollection]:
        """Wire the transform."""
        # (perceptual hash, (smallest sha256, whether there are several))
        hashes = (
            scenes
            | "KeyByHash" >> beam.Map(_by_hash)
            | "CollapseEqualHashes" >> beam.CombinePerKey(_collapse)
        )
        near = (
            hashes
            | "DealIntoBuckets" >> beam.ParDo(DealIntoBuckets())
            | "GroupBuckets" >> beam.GroupByKey()
            | "FindNearPairs" >> beam.FlatMapTuple(_near_pairs)
        )
        names = (
            (near, hashes | "PairEqualHashes" >> beam.FlatMapTuple(_equal_pairs))
            | "FlattenEdges" >> beam.Flatten()
            | "GatherEdges" >> beam.GroupByKey()
            | "NameGroups" >> beam.FlatMapTuple(_named)
        )
        moves = (
            hashes
            | "TakeGroups" >> beam.MapTuple(_group_of_hash, beam.pvalue.AsDict(names))
            | "KeepDecisive" >> beam.CombinePerKey(_Decisive(self._rule))
            | "FillEmptySplits" >> beam.FlatMapTuple(_Moves(self._rule))
        )
        return names, moves


def place_scene(
    scene: Scene,
    names: Mapping[str, str],
    moves: Mapping[str, Split],
    *,
    rule: SplitRule,
) -> Scene:
    """A scene with its group and split.

    Args:
        scene: without them.
        names: of groups, by perceptual hash.
        moves: splits of groups that are not where their hash puts them.
        rule: how groups are dealt out.
    """
    group = names.get(scene.phash, scene.sha256)
    split = moves.get(group) or split_of(group, rule)
    return dataclasses.replace(scene, group=group, split=split)


class DealIntoBuckets(beam.DoFn):
    """Deal pictures into buckets, each picture into one of every band.

    Element in: (perceptual hash, (sha256, several)).
    Element out: ((band, bucket), list of `Picture`), in batches.
    """

    def start_bundle(self) -> None:
        """Begin with empty buckets."""
        self._buckets: dict[tuple[int, int], list[Picture]] = defaultdict(list)

    def process(self, element: tuple[str, tuple[str, bool]]) -> Iterator[object]:
        """Deal one picture out."""
        phash, (sha256, _) = element
        value = int(phash, 16)
        for key in buckets_of(value):
            self._buckets[key].append((value, sha256))
            if len(self._buckets[key]) == _BATCH:
                yield key, self._buckets.pop(key)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Hand on what is left."""
        window = GlobalWindow()
        for element in self._buckets.items():
            yield WindowedValue(element, window.max_timestamp(), [window])


def _by_hash(scene: Scene) -> tuple[str, tuple[str, bool]]:
    return scene.phash, (scene.sha256, False)


def _collapse(found: Iterable[tuple[str, bool]]) -> tuple[str, bool]:
    """The smallest sha256, and whether there is another; merges."""
    several = False
    smallest: str | None = None
    for sha256, has_others in found:
        several |= has_others or (smallest is not None and sha256 != smallest)
        smallest = sha256 if smallest is None else min(smallest, sha256)
    return smallest or "", several


def _near_pairs(
    bucket: tuple[int, int], batches: Iterable[list[Picture]]
) -> Iterator[tuple[None, Edge]]:
    pictures = [picture for batch in batches for picture in batch]
    for edge in near_pairs(bucket[0], pictures):
        yield None, edge


def _equal_pairs(phash: str, found: tuple[str, bool]) -> Iterator[tuple[None, Edge]]:
    sha256, several = found
    if several:
        picture = (int(phash, 16), sha256)
        yield None, (picture, picture)


def _named(_: None, edges: Iterable[Edge]) -> Iterator[tuple[str, str]]:
    for value, name in name_groups(edges).items():
        yield f"{value:016x}", name


def _group_of_hash(
    phash: str, found: tuple[str, bool], names: Mapping[str, str] | None = None
) -> tuple[None, frozenset[str]]:
    return None, frozenset([(names or {}).get(phash, found[0])])


class _Decisive:
    """`decisive_groups` as a combiner of sets."""

    def __init__(self, rule: SplitRule) -> None:
        self._rule = rule

    def __call__(self, found: Iterable[frozenset[str]]) -> frozenset[str]:
        groups = itertools.chain.from_iterable(found)
        return decisive_groups(groups, self._rule)


class _Moves:
    """`moved_groups` of what is left of the groups."""

    def __init__(self, rule: SplitRule) -> None:
        self._rule = rule

    def __call__(self, _: None, groups: frozenset[str]) -> Iterator[tuple[str, Split]]:
        yield from moved_groups(groups, self._rule).items()
