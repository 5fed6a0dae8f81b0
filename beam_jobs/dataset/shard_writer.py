"""Writing a data set's shards in Beam, each by one worker; see `shard_files`."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import apache_beam as beam
from etils import epath

from beam_jobs.batches import PackByKey, unpack
from beam_jobs.dataset.helpers import start_helpers, wait_for
from beam_jobs.dataset.shard_files import make_shard, mark_path
from beam_jobs.dataset.shard_sizes import ShardRule, bucket_of, cut_shards, shard_of
from beam_jobs.dataset.triplets import Provenance, TripletPlan
from tfrecords_schema.tfds_metadata import shard_name


class PlannedPair(NamedTuple):
    """A pair on its way to its shard.

    Attributes:
        split: its scene's.
        position: of its scene in the split.
        bytes: estimated.
        plan: of its triplets.
    """

    split: str
    position: int
    bytes: int
    plan: TripletPlan


class WriteShards(beam.PTransform):
    """Write pairs as shards of triplet records.

    PCollection in: `PlannedPair`.
    PCollection out: the name of every shard.
    """

    def __init__(
        self,
        folder: str,
        rule: ShardRule,
        provenance: Provenance,
        *,
        helpers: int = 0,
    ) -> None:
        """Set where and how to write.

        Args:
            folder: the data set's; shards that have their mark there are kept.
            rule: how large shards are.
            provenance: what every record says of the job.
            helpers: see `WriteShard`.
        """
        super().__init__()
        self._rule = rule
        self._write = WriteShard(folder, provenance, helpers)

    def expand(self, pairs: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        starts = (
            pairs
            # ((split, bucket), bytes)
            | "MeasurePairs" >> beam.Map(_bucket_bytes)
            | "SumBuckets" >> beam.CombinePerKey(sum)
            | "KeyBySplit" >> beam.MapTuple(lambda key, size: (key[0], (key[1], size)))
            | "GroupBuckets" >> beam.GroupByKey()
            # (split, first bucket of every shard)
            | "CutShards" >> beam.MapTuple(_Cut(self._rule))
        )
        return (
            pairs
            # ((split, position), batch of plans)
            | "KeyByScene" >> beam.Map(_keyed_plan)
            | "PackScenes" >> beam.ParDo(PackByKey())
            | "AssignShards" >> beam.MapTuple(_to_shard, beam.pvalue.AsDict(starts))
            | "GroupShards" >> beam.GroupByKey()
            | "WriteShards" >> beam.ParDo(self._write)
        )


def _bucket_bytes(pair: PlannedPair) -> tuple[tuple[str, int], int]:
    return (pair.split, bucket_of(pair.position)), pair.bytes


class _Cut:
    """`cut_shards` of one split."""

    def __init__(self, rule: ShardRule) -> None:
        self._rule = rule

    def __call__(
        self, split: str, sizes: Iterable[tuple[int, int]]
    ) -> tuple[str, tuple[int, ...]]:
        return split, cut_shards(dict(sizes), self._rule)


def _keyed_plan(pair: PlannedPair) -> tuple[tuple[str, int], TripletPlan]:
    return (pair.split, pair.position), pair.plan


def _to_shard(
    scene: tuple[str, int],
    batch: bytes,
    starts: Mapping[str, Sequence[int]] = types.MappingProxyType({}),
) -> tuple[tuple[str, int, int], tuple[int, bytes]]:
    split, position = scene
    of_split = starts[split]
    shard = shard_of(bucket_of(position), of_split)
    return (split, shard, len(of_split)), (position, batch)


class WriteShard(beam.DoFn):
    """Write one shard, unless its mark is there.

    Element in: ((split, shard, shards of the split), (position of a scene, packed
    `TripletPlan`) of its scenes). Element out: the shard's name.

    With helpers, shards of a bundle are written at once; a bounded number waits.
    """

    def __init__(self, folder: str, provenance: Provenance, helpers: int = 0) -> None:
        """Set where to write.

        Args:
            folder: the data set's.
            provenance: what every record says of the job.
            helpers: processes that do the work; 0 to do it here, which is right
                wherever the runner keeps all processors busy.
        """
        self._folder = folder
        self._provenance = provenance
        self._n_helpers = helpers

    def start_bundle(self) -> None:
        """Begin with no shard under way."""
        self._under_way: list[Future[None]] = []

    def process(
        self,
        element: tuple[tuple[str, int, int], Iterable[tuple[int, bytes]]],
    ) -> Iterator[str]:
        """Write a shard, or have a helper write it."""
        (split, shard, n_shards), scenes = element
        name = shard_name(split, shard, n_shards)
        if not mark_path(epath.Path(self._folder), name).exists():
            # In the order of their scene, then of their id.
            pairs = sorted(
                (position, plan)
                for position, batch in scenes
                for plan in unpack([batch])
            )
            self._write(name, [plan for _, plan in pairs])
        yield name

    def finish_bundle(self) -> None:
        """Wait for the helpers."""
        wait_for(self._under_way)

    def _write(self, name: str, plans: list[TripletPlan]) -> None:
        arguments = (self._folder, name, plans, self._provenance)
        if not self._n_helpers:
            make_shard(*arguments)
            return
        if len(self._under_way) >= 2 * self._n_helpers:
            self._under_way.pop(0).result()
        helpers = start_helpers(self._n_helpers)
        self._under_way.append(helpers.submit(make_shard, *arguments))
