"""What negatives are: the rule, the candidates, and who is in a category's pool.

A negative is a product of the positive's category that does not go with the scene. How
they are drawn from a pool is in `negative_draws` and, with a model, `hard_negatives`.
"""

from __future__ import annotations

import dataclasses
import enum

from tfrecords_schema.hashing import stable_hash
from tfrecords_schema.segments import RecordLocation

POPULARITY_POWER = 0.75
"""Exponent of a product's count. Mikolov et al. 2013, "Distributed Representations of
Words and Phrases and their Compositionality", section 2.2, found negatives drawn by the
counts to the power of 3/4 to beat both the counts themselves and the uniform draw."""

_WEIGHT_SCALE = 1000  # thousandths: integers add up alike on every machine


class Strategy(enum.StrEnum):
    """How negatives are drawn from their category's pool."""

    UNIFORM = "uniform"
    """Every candidate alike."""
    POPULARITY = "popularity"
    """In proportion to (train positives + 1) ** 0.75."""
    HARD = "hard"
    """Those first that the champion takes for nearly as good as the positive."""


@dataclasses.dataclass(frozen=True, slots=True)
class NegativeRule:
    """How negatives are drawn.

    Attributes:
        per_pair: negatives of each pair; fewer where the category has no more.
        pool_size: products of a category that are candidates at all. A bounded sample,
            so that a category of any size needs no hot key and no large memory.
        strategy: how candidates are weighed.
        margin: width of the window of `Strategy.HARD`, in the model's distance; 0.2 is
            that of the triplet loss, which a negative further away adds nothing to.
        seed: another seed draws others.
    """

    per_pair: int = 32
    pool_size: int = 10_000
    strategy: Strategy = Strategy.UNIFORM
    margin: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: naming the option.
        """
        for option, value in (
            ("--negatives_per_pair", self.per_pair),
            ("--negative_pool", self.pool_size),
        ):
            if value < 1:
                raise ValueError(f"{option} {value} is not at least 1")
        if not 0 < self.margin < 4:
            raise ValueError(
                f"--negative_margin {self.margin} is not between 0 and 4, the largest "
                "distance"
            )


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A product of a pool.

    Attributes:
        product_id: catalogue id.
        sha256: content of its picture.
        phash: perceptual hash of its picture.
        location: where its picture lies in the image store.
    """

    product_id: str
    sha256: str
    phash: int
    location: RecordLocation | None = dataclasses.field(default=None, compare=False)


def pool_order(product_id: str, rule: NegativeRule) -> int:
    """Products with the smallest value form their category's pool."""
    return stable_hash(rule.seed, "pool", product_id)


def popularity_weight(train_positives: int) -> int:
    """Weight of a product by how often it is a positive of the train split.

    One is added, so that a product that no train scene wears can be drawn as well.
    """
    return round(_WEIGHT_SCALE * (train_positives + 1) ** POPULARITY_POWER)
