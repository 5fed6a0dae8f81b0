"""Near-duplicates: the groups are those of comparing every two pictures."""

from __future__ import annotations

import collections
import hashlib
import itertools
import random
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs.dataset.near_duplicates import Edge, buckets_of, name_groups, near_pairs

DISTANCE = 4  # bits, as the data card says


def sha(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def edges_of(pictures: Iterable[tuple[int, str]]) -> set[Edge]:
    """What the buckets of all bands find together."""
    buckets = collections.defaultdict(list)
    for value, name in pictures:
        for band, bucket in buckets_of(value):
            buckets[band, bucket].append((value, name))
    return {
        edge
        for (band, _), members in buckets.items()
        for edge in near_pairs(band, members)
    }


def flip(value: int, bits: Iterable[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def clouds(seed: int, n_centres: int, n_pictures: int) -> list[tuple[int, str]]:
    """Pictures around few centres at 0 to 9 bits: near, far and chained ones."""
    chance = random.Random(seed)
    centres = [chance.getrandbits(64) for _ in range(n_centres)]
    values = {
        flip(chance.choice(centres), chance.sample(range(64), chance.randrange(10)))
        for _ in range(n_pictures)
    }
    return [(value, sha((seed, value))) for value in values]


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 40))
def test_edges_are_those_of_comparing_all_pairs(
    seed: int, n_centres: int, n_pictures: int
) -> None:
    pictures = clouds(seed, n_centres, n_pictures)

    expected = {
        frozenset((first, second))
        for first, second in itertools.combinations(pictures, 2)
        if bin(first[0] ^ second[0]).count("1") <= DISTANCE
    }

    assert {frozenset(edge) for edge in edges_of(pictures)} == expected


@given(
    st.integers(0, 2**64 - 1),
    st.sets(st.integers(0, 63), min_size=1, max_size=8),
)
def test_two_pictures_are_near_up_to_four_bits(value: int, bits: set[int]) -> None:
    pictures = [(value, sha("a")), (flip(value, bits), sha("b"))]

    assert bool(edges_of(pictures)) == (len(bits) <= DISTANCE)


def test_pictures_are_chained_through_what_lies_between() -> None:
    chain = [((1 << (4 * step)) - 1, sha(step)) for step in range(10)]

    assert len(set(name_groups(edges_of(chain)).values())) == 1
    broken = name_groups(edges_of(chain[:4] + chain[5:]))
    assert len(set(broken.values())) == 2


@given(st.integers(0, 2**32), st.randoms())
def test_names_do_not_depend_on_the_order_of_the_edges(
    seed: int, order: random.Random
) -> None:
    edges = sorted(edges_of(clouds(seed, 2, 20)))
    shuffled = [edge[::-1] if order.random() < 0.5 else edge for edge in edges]
    order.shuffle(shuffled)

    assert name_groups(shuffled) == name_groups(edges)


def test_group_is_named_after_its_smallest_picture() -> None:
    pictures = [(1 << number, sha(number)) for number in range(5)]

    names = name_groups(edges_of(pictures))

    assert names == {value: min(name for _, name in pictures) for value, _ in pictures}


def test_edge_to_itself_names_a_hash_that_several_pictures_have() -> None:
    picture = (7, sha("the smallest of several"))

    assert name_groups([(picture, picture)]) == {7: picture[1]}


def test_no_edges_make_no_groups() -> None:
    assert name_groups([]) == {}
