"""Negatives: other products of the positive's category that do not go with the scene.

Deterministic in (seed, pair). A co-positive (another product known to be in the same
scene) is never drawn, nor is a product whose picture is that of a positive or nearly
so: the same garment under two ids would teach the model to push a match away.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Sequence

from beam_jobs.splits import MAX_DISTANCE, hamming
from tfrecords_schema.hashing import stable_hash


class Strategy(enum.StrEnum):
    """How candidates are weighed."""

    UNIFORM = "uniform"


@dataclasses.dataclass(frozen=True, slots=True)
class NegativeRule:
    """How negatives are drawn.

    Attributes:
        per_pair: negatives of each pair; fewer where the category has no more.
        pool_size: products of a category that are candidates at all. A bounded sample,
            so that a category of any size needs no hot key and no large memory.
        strategy: how candidates are weighed.
        seed: another seed draws others.
    """

    per_pair: int = 32
    pool_size: int = 10_000
    strategy: Strategy = Strategy.UNIFORM
    seed: int = 0

    def __post_init__(self) -> None:
        for option, value in (
            ("--negatives_per_pair", self.per_pair),
            ("--negative_pool", self.pool_size),
        ):
            if value < 1:
                raise ValueError(f"{option} {value} is not at least 1")


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A product of a pool."""

    product_id: str
    sha256: str
    phash: int


def pool_order(product_id: str, rule: NegativeRule) -> int:
    """Products with the smallest value form their category's pool."""
    return stable_hash(rule.seed, "pool", product_id)


def draw_negatives(
    pair_id: str,
    pool: Sequence[Candidate],
    *,
    positives: Sequence[Candidate],
    rule: NegativeRule,
) -> list[Candidate]:
    """Draw a pair's negatives uniformly, without replacement.

    Args:
        pair_id: the pair; with the rule's seed it decides the draw.
        pool: candidates of the pair's category, in an order that does not depend on
            how they were gathered.
        positives: the pair's product and its co-positives of that category.
        rule: how many, and the seed.

    Returns:
        At most `rule.per_pair` candidates, in drawing order; empty where every
        candidate is a positive or nearly one.
    """
    positive_ids = {positive.product_id for positive in positives}
    drawn: list[Candidate] = []
    for candidate in _shuffled(pool, rule.seed, pair_id):
        if candidate.product_id in positive_ids:
            continue
        if any(_is_near_duplicate(candidate, positive) for positive in positives):
            continue
        drawn.append(candidate)
        if len(drawn) == rule.per_pair:
            break
    return drawn


def _shuffled(pool: Sequence[Candidate], *key: object) -> Iterator[Candidate]:
    """The pool in a random order, made only as far as it is consumed.

    Fisher-Yates with the swaps in a dictionary: a pair looks at a handful of a pool of
    thousands.
    """
    moved: dict[int, int] = {}
    for index in range(len(pool)):
        chosen = index + stable_hash(*key, index) % (len(pool) - index)
        yield pool[moved.get(chosen, chosen)]
        moved[chosen] = moved.get(index, index)


def _is_near_duplicate(first: Candidate, second: Candidate) -> bool:
    is_same = first.sha256 == second.sha256
    return is_same or hamming(first.phash, second.phash) <= MAX_DISTANCE
