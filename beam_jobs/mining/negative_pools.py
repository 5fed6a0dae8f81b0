"""Pools of negatives in Beam: a bounded sample of each category, weighed if need be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from beam_jobs.dataset.dataset_transforms import Product
from beam_jobs.mining.negative_draws import CandidatePool
from beam_jobs.mining.negatives import (
    Candidate,
    NegativeRule,
    pool_order,
    popularity_weight,
)
from tfrecords_schema.codes import Split


class SamplePools(beam.PTransform):
    """A bounded sample of every category's products.

    PCollection in: `Product`.
    PCollection out: (category, list of `Candidate` in the order of their id).
    """

    def __init__(self, rule: NegativeRule) -> None:
        """Set the size and seed of the sample."""
        super().__init__()
        self._rule = rule

    def expand(self, products: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        return (
            products
            | "KeyByCategory" >> beam.Map(_keyed_by_category, self._rule)
            # Partial samples are merged, so that a large category is no hot key.
            | "KeepSmallestHashes"
            >> beam.combiners.Top.SmallestPerKey(self._rule.pool_size)
            | "OrderPools"
            >> beam.MapTuple(
                lambda category, ordered: (
                    category,
                    sorted(candidate for _, candidate in ordered),
                )
            )
        )


def _keyed_by_category(
    product: Product, rule: NegativeRule
) -> tuple[str, tuple[int, Candidate]]:
    return product.category, (pool_order(product.product_id, rule), product.candidate)


class CountTrainPairs(beam.PTransform):
    """How often each product is the positive of a pair of the train split.

    PCollection in: `LocatedPair`. PCollection out: (product_id, count), above 0.
    Other splits do not count: what is drawn for training must not tell what is worn in
    the scenes of the test.
    """

    def expand(self, pairs: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        return (
            pairs
            | "KeepTrainPairs"
            >> beam.Filter(lambda item: item.scene.split == Split.TRAIN)
            | "TakePositives" >> beam.Map(lambda item: item.product.product_id)
            | "CountPositives" >> beam.combiners.Count.PerElement()
        )


class WeighPools(beam.PTransform):
    """Give the members of pools the weights of their popularity.

    Input: the PCollections `samples` (category, list of `Candidate`) and `counts`
    (product_id, count), by name.
    PCollection out: (category, `CandidatePool`). Counts meet the members one by one;
    only a pool's are gathered.
    """

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        """Wire the transform."""
        members = (
            inputs["samples"]
            # (product_id, (category, candidate))
            | "ListMembers"
            >> beam.FlatMapTuple(
                lambda category, sample: [
                    (candidate.product_id, (category, candidate))
                    for candidate in sample
                ]
            )
        )
        return (
            {"members": members, "counts": inputs["counts"]}
            | "JoinCounts" >> beam.CoGroupByKey()
            # (category, (candidate, weight))
            | "WeighMembers" >> beam.FlatMapTuple(_weighted)
            | "GroupPools" >> beam.GroupByKey()
            | "MakeWeightedPools" >> beam.MapTuple(_weighted_pool)
        )


def _weighted(
    _: str, joined: dict[str, Iterable[Any]]
) -> Iterator[tuple[str, tuple[Candidate, int]]]:
    weight = popularity_weight(sum(joined["counts"]))
    for category, candidate in joined["members"]:
        yield category, (candidate, weight)


def _weighted_pool(
    category: str, members: Iterable[tuple[Candidate, int]]
) -> tuple[str, CandidatePool]:
    candidates, weights = zip(*sorted(members), strict=True)
    return category, CandidatePool(candidates, weights)
