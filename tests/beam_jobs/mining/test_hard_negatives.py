"""Hard negatives: of the window first, against distances worked out one by one."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

import numpy as np
import pytest

from beam_jobs.mining.hard_negatives import PairVectors, RankedPool, draw_hard, ring_of
from beam_jobs.mining.negative_draws import CandidatePool
from beam_jobs.mining.negatives import Candidate, NegativeRule, Strategy

DIM = 8
MARGIN = 0.2


def candidate(number: int) -> Candidate:
    """A product whose picture is far from that of every other."""
    name = hashlib.sha256(str(number).encode()).hexdigest()
    return Candidate(f"p{number:04d}", name, int(name[:16], 16))


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype("f4")


class World:
    """A pool with vectors for some of its members, and a pair to draw for."""

    def __init__(self, seed: int, *, size: int = 200, ranked: float = 0.8) -> None:
        generator = np.random.default_rng(seed)
        self.pool = CandidatePool([candidate(number) for number in range(size)])
        self.rows = np.flatnonzero(generator.random(size) < ranked)
        self.vectors = unit(generator.normal(size=(len(self.rows), DIM)))
        self.query = unit(generator.normal(size=DIM)) * np.float32(1.7)
        self.positive = unit(
            self.query + np.float32(0.3) * generator.normal(size=DIM).astype("f4")
        )

    @property
    def ranked(self) -> RankedPool:
        return RankedPool(self.pool, self.rows, self.vectors)

    @property
    def pair(self) -> PairVectors:
        rough = self.ranked.rough_distances(self.query[None])[0]
        return PairVectors(self.query, self.positive, rough)

    def draw(
        self, pair_id: str = "pair", *positives: Candidate, per_pair: int = 10
    ) -> tuple[list[int], int]:
        """Numbers of the products drawn, and how many of them count as hard."""
        rule = NegativeRule(per_pair=per_pair, strategy=Strategy.HARD, margin=MARGIN)
        drawn, n_hard = draw_hard(
            pair_id,
            self.ranked,
            self.pair,
            positives=positives or (candidate(10_000),),
            rule=rule,
        )
        return [int(item.product_id[1:]) for item in drawn], n_hard

    def distance(self, vector: np.ndarray) -> float:
        """2 − q·f, digit by digit."""
        dot = math.fsum(
            float(a) * float(b) for a, b in zip(self.query, vector, strict=True)
        )
        return 2 - dot

    def distances(self) -> dict[int, float]:
        """By number of the product, of those that have a vector."""
        return {
            int(row): self.distance(vector)
            for row, vector in zip(self.rows, self.vectors, strict=True)
        }

    def zones(self) -> tuple[set[int], list[int], set[int]]:
        """The window; the members beyond it by distance; all others."""
        inner = self.distance(self.positive)
        found = self.distances()
        window = {n for n, d in found.items() if inner < d < inner + MARGIN}
        beyond = sorted(
            (n for n, d in found.items() if d >= inner + MARGIN),
            key=lambda n: (found[n], n),
        )
        return window, beyond, set(range(len(self.pool))) - window - set(beyond)


@pytest.mark.parametrize("seed", range(12))
def test_pair_gets_the_window_then_the_nearest_beyond_then_the_rest(seed: int) -> None:
    world = World(seed)
    window, beyond, rest = world.zones()

    drawn, n_hard = world.draw(per_pair=len(world.pool))

    assert n_hard == len(window)
    assert set(drawn[:n_hard]) == window
    assert drawn[n_hard : n_hard + len(beyond)] == beyond
    assert set(drawn[n_hard + len(beyond) :]) == rest


@pytest.mark.parametrize("seed", range(12))
def test_few_are_of_the_window_alone_and_begin_the_many(seed: int) -> None:
    world = World(seed)
    window, _, _ = world.zones()
    few = min(5, len(window))

    drawn, n_hard = world.draw(per_pair=few or 1)

    assert n_hard == few
    assert set(drawn[:few]) <= window
    assert drawn == world.draw(per_pair=60)[0][: few or 1]


def test_every_member_of_the_window_is_drawn_equally_often() -> None:
    world = World(3, size=400)
    window, _, _ = world.zones()
    assert 8 <= len(window) <= 60
    draws = 3_000
    counts = Counter(
        number
        for pair in range(draws)
        for number in world.draw(f"{pair}", per_pair=4)[0]
    )

    expected = draws * 4 / len(window)
    assert set(counts) == window
    chi_square = sum((n - expected) ** 2 / expected for n in counts.values())
    freedom = len(window) - 1
    # Mean and deviation of the distribution; 4.5 deviations.
    assert chi_square < freedom + 4.5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("seed", range(8))
def test_positives_and_what_looks_like_them_are_never_drawn(seed: int) -> None:
    world = World(seed, size=40)
    window, beyond, _ = world.zones()
    matches = [*window, *beyond][:3]
    positives = [
        candidate(matches[0]),
        Candidate("other id", candidate(matches[1]).sha256, 0),
        Candidate("near", "other content", candidate(matches[2]).phash ^ 0b1111),
    ]

    drawn, n_hard = world.draw("pair", *positives, per_pair=40)

    assert set(drawn) == set(range(40)) - set(matches)
    assert n_hard == len(window - set(matches))


def test_pair_whose_positive_is_the_farthest_keeps_its_negatives() -> None:
    world = World(0)
    world.positive = unit(-world.query)

    drawn, n_hard = world.draw(per_pair=32)

    assert n_hard == 0
    assert len(set(drawn)) == 32


def test_pool_without_any_vector_is_drawn_from_all_the_same() -> None:
    world = World(0, ranked=0.0)

    drawn, n_hard = world.draw(per_pair=500)

    assert n_hard == 0
    assert sorted(drawn) == list(range(200))


def test_empty_pool_gives_none() -> None:
    assert World(0, size=0).draw() == ([], 0)


def test_edges_of_the_window_are_the_inner_and_the_outer_distance() -> None:
    # Worked by hand: q = (2, 0), so d = 2 − 2x; the positive at x = 0.75 has d = 0.5.
    query = np.array([2, 0], np.float32)
    x = [1.0, 0.75, 0.7499, 0.6251, 0.625, 0.5]
    vectors = np.array([[value, 0] for value in x], np.float32)
    pair = PairVectors(query, vectors[1], 2 - vectors @ query)

    ring = ring_of(pair, vectors, margin=0.25)

    assert ring.window.tolist() == [False, False, True, True, False, False]
    assert ring.beyond.tolist() == [False, False, False, False, True, True]


def misrounded(
    distances: list[float], error: float = 4e-5
) -> tuple[RankedPool, PairVectors]:
    """A pool at given distances, with rough ones that are off by turns up and down.

    q = (2, 0), and the positive is at 0.5.
    """
    query = np.array([2, 0], np.float32)
    vectors = np.array([[1 - d / 2, 0] for d in distances], np.float32)
    pool = CandidatePool([candidate(number) for number in range(len(distances))])
    rough = 2 - vectors @ query
    rough += np.tile(np.array([error, -error], np.float32), len(distances) // 2)
    positive = np.array([0.75, 0], np.float32)
    ranked = RankedPool(pool, np.arange(len(distances)), vectors)
    return ranked, PairVectors(query, positive, rough)


def test_edges_are_not_moved_by_the_rounding_of_the_matrix_product() -> None:
    ranked, pair = misrounded([0.49999, 0.50001, 0.69999, 0.70001])
    assert (pair.rough > 0.5).tolist()[:2] == [True, False]
    assert (pair.rough < 0.7).tolist()[2:] == [False, True]

    ring = ring_of(pair, ranked.vectors, margin=0.2)

    assert ring.window.tolist() == [False, True, True, False]
    assert ring.beyond.tolist() == [False, False, False, True]


@pytest.mark.parametrize("error", [4e-5, -4e-5])
def test_order_of_the_nearest_is_not_that_of_the_rounded_distances(
    error: float,
) -> None:
    # 300 members 2e-5 apart: also where the first 256 end they lie that close.
    distances = [0.8 + 2e-5 * number for number in range(300)]
    ranked, pair = misrounded(distances, error)
    assert not (np.diff(pair.rough) > 0).all()
    rule = NegativeRule(per_pair=300, strategy=Strategy.HARD, margin=MARGIN)

    drawn, n_hard = draw_hard(
        "pair", ranked, pair, positives=[candidate(10_000)], rule=rule
    )

    assert n_hard == 0
    assert drawn == list(ranked.pool.candidates)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["query", "positive", "vectors"])
def test_vector_that_is_not_finite_is_an_error(field: str, value: float) -> None:
    world = World(0)
    vectors = getattr(world, field).copy()
    vectors.flat[0] = value
    setattr(world, field, vectors)

    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="not finite"):
        world.draw()
