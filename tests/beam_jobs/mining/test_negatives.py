"""Negatives: of the pool, never a match of the scene, and as often as they weigh."""

from __future__ import annotations

import collections
import dataclasses
import fractions
import hashlib
import itertools
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.mining.negative_draws import (
    CandidatePool,
    draw_negatives,
    drawing_order,
    running_sum,
)
from beam_jobs.mining.negatives import (
    Candidate,
    NegativeRule,
    pool_order,
    popularity_weight,
)

DISTANCE = 4  # bits within which two pictures are one


def sha(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def candidate(number: int) -> Candidate:
    """A product whose picture is far from that of every other."""
    return Candidate(f"p{number:04d}", sha(number), int(sha(("hash", number))[:16], 16))


def draw(
    pool: Sequence[Candidate],
    *positives: Candidate,
    pair_id: str = "pair",
    seed: int = 0,
    per_pair: int = 3,
    weights: Sequence[int] | None = None,
) -> list[Candidate]:
    return draw_negatives(
        pair_id,
        CandidatePool(pool, weights),
        positives=positives,
        rule=NegativeRule(per_pair=per_pair, seed=seed),
    )


POOL = [candidate(number) for number in range(50)]

# Few products, contents and hashes: ids, bytes and near-duplicates collide often.
colliding = st.builds(
    Candidate,
    product_id=st.integers(0, 15).map(lambda number: f"p{number}"),
    sha256=st.integers(0, 6).map(sha),
    phash=st.integers(0, 10).map(lambda bits: (1 << bits) - 1),
)
pools = st.lists(colliding, max_size=16, unique_by=lambda item: item.product_id)


def is_match(first: Candidate, second: Candidate) -> bool:
    bits = bin(first.phash ^ second.phash).count("1")
    same = first.product_id == second.product_id or first.sha256 == second.sha256
    return same or bits <= DISTANCE


@given(
    pools,
    st.lists(colliding, min_size=1, max_size=4),
    st.integers(1, 5),
    st.text(max_size=4),
)
def test_drawn_are_as_many_as_wanted_of_those_that_match_no_positive(
    pool: list[Candidate], positives: list[Candidate], per_pair: int, pair_id: str
) -> None:
    allowed = [
        item for item in pool if not any(is_match(item, other) for other in positives)
    ]

    drawn = draw(pool, *positives, pair_id=pair_id, per_pair=per_pair)

    assert set(drawn) <= set(allowed)
    assert len(set(drawn)) == len(drawn) == min(per_pair, len(allowed))


def test_co_positives_and_near_duplicates_are_never_drawn() -> None:
    positive, co_positive = POOL[0], POOL[1]
    same_bytes = Candidate("x-bytes", positive.sha256, POOL[2].phash ^ (2**64 - 1))
    near = Candidate("x-near", sha("near"), co_positive.phash ^ 0b1111)
    far = Candidate("x-far", sha("far"), co_positive.phash ^ 0b11111)
    pool = sorted([positive, co_positive, same_bytes, near, far])

    drawn = draw(pool, positive, co_positive, per_pair=10)

    assert drawn == [far]


@given(
    pools,
    st.lists(colliding, min_size=1, max_size=2),
    st.integers(1, 16),
    st.text(max_size=4),
)
def test_copies_of_a_negative_come_after_all_other_pictures(
    pool: list[Candidate], positives: list[Candidate], per_pair: int, pair_id: str
) -> None:
    drawn = draw(pool, *positives, pair_id=pair_id, per_pair=per_pair)

    is_copy = [
        any(is_match(item, other) for other in drawn[:place])
        for place, item in enumerate(drawn)
    ]
    assert is_copy == sorted(is_copy)
    # Whoever was passed over for a copy is a copy as well.
    if any(is_copy):
        different = [
            item for item, copy in zip(drawn, is_copy, strict=True) if not copy
        ]
        for item in set(pool) - set(drawn):
            assert any(is_match(item, other) for other in [*positives, *different])


@pytest.mark.parametrize(
    "twin",
    [
        Candidate("a-near", sha("near"), candidate(5).phash ^ 0b1111),
        Candidate("a-same", candidate(5).sha256, candidate(5).phash ^ 0b11111),
    ],
    ids=lambda twin: twin.product_id,
)
def test_copy_is_passed_over_while_there_are_other_pictures(twin: Candidate) -> None:
    twins = [POOL[5], twin]
    pool = sorted([*twins, *POOL[6:20]])

    for pair in range(200):
        drawn = draw(pool, POOL[0], pair_id=f"{pair}", per_pair=15)
        assert len(drawn) == 15
        assert not set(twins) <= set(drawn)
    assert set(draw(pool, POOL[0], per_pair=16)) == set(pool)


def test_every_candidate_is_drawn_equally_often() -> None:
    pool = POOL[:11]
    draws = 6_000
    counts = collections.Counter(
        item for pair in range(draws) for item in draw(pool, POOL[0], pair_id=f"{pair}")
    )

    expected = draws * 3 / 10
    assert POOL[0] not in counts
    chi_square = sum(
        (counts[item] - expected) ** 2 / expected for item in pool if item != POOL[0]
    )
    # 9 degrees of freedom: above 33.7 once in ten thousand.
    assert chi_square < 33.7


def test_first_place_is_uniform_too() -> None:
    pool = POOL[:8]
    draws = 4_000
    counts = collections.Counter(
        draw(pool, POOL[20], pair_id=f"{pair}")[0] for pair in range(draws)
    )

    chi_square = sum((counts[item] - draws / 8) ** 2 / (draws / 8) for item in pool)
    assert chi_square < 29.9  # 7 degrees of freedom, once in ten thousand


def places(weights: Sequence[int], n_places: int) -> dict[tuple[int, ...], float]:
    """Chance of every outcome of drawing one after the other, in exact fractions."""
    chances = {}
    for outcome in itertools.permutations(range(len(weights)), n_places):
        left, chance = sum(weights), fractions.Fraction(1)
        for item in outcome:
            chance *= fractions.Fraction(weights[item], left)
            left -= weights[item]
        chances[outcome] = float(chance)
    return chances


def test_weighted_draws_have_the_chances_of_drawing_one_after_the_other() -> None:
    # By hand: 5 comes first in half of all, then 3 in three fifths of those.
    weights = [5, 3, 1, 1]
    chances = places(weights, 2)
    assert chances[0, 1] == pytest.approx(0.5 * 0.6)
    draws = 8_000
    counts = collections.Counter(
        tuple(POOL.index(item) for item in found)
        for pair in range(draws)
        for found in [
            draw(POOL[:4], POOL[9], pair_id=f"{pair}", per_pair=2, weights=weights)
        ]
    )

    chi_square = sum(
        (counts[outcome] - draws * chance) ** 2 / (draws * chance)
        for outcome, chance in chances.items()
    )
    # 11 degrees of freedom: above 37.4 once in ten thousand.
    assert chi_square < 37.4


def test_last_places_keep_their_chances_when_nearly_all_weight_is_drawn() -> None:
    # The heavy one comes first, and every further draw from all would hit it again.
    weights = [10**12, 3, 1]
    draws = 4_000
    seconds = collections.Counter(
        draw(POOL[:3], POOL[9], pair_id=f"{pair}", per_pair=2, weights=weights)[1]
        for pair in range(draws)
    )

    assert seconds[POOL[0]] == 0
    expected = {POOL[1]: draws * 3 / 4, POOL[2]: draws / 4}
    chi_square = sum((seconds[i] - n) ** 2 / n for i, n in expected.items())
    assert chi_square < 15.1  # 1 degree of freedom, once in ten thousand


@pytest.mark.parametrize("size", [0, 1, 2, 63, 64, 65, 1_000])
@pytest.mark.parametrize("heavy", [1, 1_000_000])
def test_order_holds_every_member_once(size: int, heavy: int) -> None:
    members = np.arange(100, 100 + size)
    cumulative = running_sum([heavy if n % 7 == 0 else 1 for n in range(size)])

    order = list(drawing_order(members, cumulative, key=("a",)))

    assert sorted(order) == members.tolist()
    assert list(drawing_order(members, cumulative, key=("a",))) == order
    if size > 20:
        assert list(drawing_order(members, cumulative, key=("b",))) != order


def test_order_is_that_of_the_standard_hash_functions() -> None:
    # Another order means other data sets from the same input: raise the code version.
    seed = hashlib.blake2b(b"0\x1fx\x1fp", digest_size=8).digest()
    block = hashlib.shake_128(seed + bytes(8)).digest(512)
    words = [int.from_bytes(block[at : at + 8], "big") for at in range(0, 512, 8)]

    order = drawing_order(np.arange(1000), running_sum([1] * 1000), key=(0, "x", "p"))

    expected = list(dict.fromkeys(word % 1000 for word in words))
    assert list(itertools.islice(order, 30)) == expected[:30]


@pytest.mark.parametrize(
    ("train_positives", "weight"), [(0, 1000), (15, 8000), (80, 27000), (1, 1682)]
)
def test_popularity_is_the_count_plus_one_to_the_power_of_three_quarters(
    train_positives: int, weight: int
) -> None:
    assert popularity_weight(train_positives) == weight


def test_pool_that_is_sent_to_a_worker_draws_the_same() -> None:
    pool = CandidatePool(POOL, range(1, len(POOL) + 1))
    rule = NegativeRule(per_pair=9)

    sent = pickle.loads(pickle.dumps(pool))

    assert sent.candidates == pool.candidates
    assert draw_negatives("p", sent, positives=POOL[:1], rule=rule) == draw_negatives(
        "p", pool, positives=POOL[:1], rule=rule
    )


@given(st.integers(0, 1000), st.text(max_size=5))
def test_same_seed_and_pair_draw_the_same(seed: int, pair_id: str) -> None:
    first = draw(POOL, POOL[3], pair_id=pair_id, seed=seed)

    assert draw(list(POOL), POOL[3], pair_id=pair_id, seed=seed) == first


def test_other_seeds_and_pairs_draw_others() -> None:
    by_pair = {tuple(draw(POOL, POOL[0], pair_id=f"{pair}")) for pair in range(50)}
    by_seed = {tuple(draw(POOL, POOL[0], seed=seed)) for seed in range(50)}

    # 49·48·47 ordered draws: two of fifty agree once in a hundred times.
    assert len(by_pair) >= 48
    assert len(by_seed) >= 48


def test_more_negatives_begin_with_the_fewer() -> None:
    many = draw(POOL, POOL[0], per_pair=20)

    assert draw(POOL, POOL[0], per_pair=3) == many[:3]


def test_small_pool_gives_what_it_has() -> None:
    assert sorted(draw(POOL[:3], POOL[0])) == sorted(POOL[1:3])


def test_pool_of_positives_gives_none() -> None:
    assert draw(POOL[:2], POOL[0], POOL[1]) == []
    assert draw([], POOL[0]) == []


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize(
    ("name", "option"),
    [("per_pair", "--negatives_per_pair"), ("pool_size", "--negative_pool")],
)
def test_rule_below_one_is_refused_with_its_option(
    name: str, option: str, value: int
) -> None:
    with pytest.raises(ValueError, match=f"{option} {value}"):
        dataclasses.replace(NegativeRule(), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("margin", [0.0, -0.1, 4.0, float("nan")])
def test_margin_that_holds_nothing_or_all_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match=f"--negative_margin {margin}"):
        NegativeRule(margin=margin)


def test_pool_sample_depends_on_seed_and_not_on_category_size() -> None:
    def sample(n_products: int, seed: int) -> set[str]:
        rule = NegativeRule(seed=seed)
        ids = [f"p{number}" for number in range(n_products)]
        return set(sorted(ids, key=lambda item: pool_order(item, rule))[:100])

    assert sample(1000, 0) != sample(1000, 1)
    # Of twice as many products about half of the sample is the same.
    assert len(sample(1000, 0) & sample(2000, 0)) == pytest.approx(50, abs=20)
