"""Shards are of the size that was asked for, and scenes are not parted."""

from __future__ import annotations

import bisect
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.catalogs.catalog import Pair
from beam_jobs.dataset.dataset_transforms import LocatedPair, Product, Scene
from beam_jobs.dataset.shard_sizes import (
    FIELD_BYTES,
    ShardRule,
    bucket_of,
    cut_shards,
    estimate_bytes,
    scene_position,
    shard_count,
    shard_of,
)
from beam_jobs.mining.negatives import Candidate
from tfrecords_schema.boxes import Box, PixelBox
from tfrecords_schema.segments import RecordLocation

MIB = 2**20


@pytest.mark.parametrize(
    ("mib", "shards"),
    [(0, 1), (1, 1), (96, 1), (127, 1), (129, 2), (192, 2), (300, 3), (9_600, 100)],
)
def test_number_of_shards_at_the_default_size(mib: int, shards: int) -> None:
    assert shard_count(mib * MIB, ShardRule()) == pytest.approx(shards, rel=0.07)


@given(st.integers(129 * MIB, 10_000 * MIB))
def test_shards_are_of_64_to_128_mib_when_there_are_several(total: int) -> None:
    size = total / shard_count(total, ShardRule())

    assert 64 * MIB <= size <= 128 * MIB


@given(st.integers(0, 2**32), st.integers(1, 400))
def test_cut_shards_are_in_order_and_about_equal(seed: int, n_scenes: int) -> None:
    chance = random.Random(seed)
    sizes: dict[int, int] = {}
    for _ in range(n_scenes):
        bucket = chance.getrandbits(16)
        sizes[bucket] = sizes.get(bucket, 0) + chance.randrange(1, 2 * MIB)
    starts = cut_shards(sizes, ShardRule(mib=8))

    assert list(starts) == sorted(set(starts))
    assert starts[0] == min(sizes)
    shards = [0] * len(starts)
    for bucket, size in sizes.items():
        shards[shard_of(bucket, starts)] += size
    assert min(shards) > 0
    wanted = sum(sizes.values()) / shard_count(sum(sizes.values()), ShardRule(mib=8))
    assert all(abs(size - wanted) <= 2 * max(sizes.values()) for size in shards)


def test_scene_larger_than_a_shard_is_one_shard() -> None:
    starts = cut_shards({1: MIB, 2: 500 * MIB, 3: MIB}, ShardRule(mib=96))

    assert shard_of(2, starts) not in (shard_of(1, starts), shard_of(3, starts)) or (
        len(starts) < 3
    )
    assert len(starts) <= 3


@given(st.lists(st.integers(0, 2**16 - 1), min_size=1, unique=True), st.data())
def test_shard_is_the_last_that_begins_before(
    starts: list[int], data: st.DataObject
) -> None:
    starts.sort()
    bucket = data.draw(st.integers(starts[0], 2**16 - 1))

    assert shard_of(bucket, starts) == bisect.bisect(starts, bucket) - 1


def test_buckets_are_in_the_order_of_positions() -> None:
    positions = sorted(scene_position(f"{number:064x}") for number in range(500))

    buckets = [bucket_of(position) for position in positions]

    assert buckets == sorted(buckets)
    assert min(buckets) < 2_000
    assert max(buckets) > 63_000


@pytest.mark.parametrize("mib", [0.0, -1.0, 5_000.0, float("nan")])
def test_impossible_size_is_refused_by_its_option(mib: float) -> None:
    with pytest.raises(ValueError, match="--shard_mib"):
        ShardRule(mib)


def test_estimate_is_the_pictures_of_every_record() -> None:
    scene = Scene("s", "a", "0", 100, 200, RecordLocation("x", 0, 40_000))
    product = Product("p", "Shoes", "b", "0", RecordLocation("x", 1, 5_000))
    negatives = tuple(
        Candidate(f"n{number}", "c", 0, RecordLocation("x", 2, 1_000 * number))
        for number in (1, 2, 3)
    )
    item = LocatedPair(
        Pair("pair", "s", "p", Box(0, 0.5, 1, 1), "Shoes", 1),
        scene,
        product,
        crop=PixelBox(0, 0, 100, 50),  # a quarter
        negatives=negatives,
    )

    found = estimate_bytes(item, triplets_per_pair=2, crop_ratio=0.5)

    assert found == 2 * (5_000 + 5_000 + FIELD_BYTES) + 1_000 + 2_000
