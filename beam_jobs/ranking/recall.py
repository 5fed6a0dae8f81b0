"""How much of the exact lists an approximate ranking has found, on a sample of scenes.

The sample follows from the scenes' ids, so a ranking that is made again has the same.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from beam_jobs.ranking.lists import Ranking
from beam_jobs.ranking.ordering import NOTHING
from tfrecords_schema.hashing import stable_hash

SAMPLE_SCENES = 200
"""At 20 places a list that is 4,000 products of each category: a recall of 0.95 is
known to about 0.01."""


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What was found of some exact lists.

    Attributes:
        category: name.
        lists: that were compared.
        products: in the exact ones.
        found: of them, those in the approximate ones.
    """

    category: str
    lists: int
    products: int
    found: int


@dataclasses.dataclass(frozen=True, slots=True)
class Recall:
    """Of a ranking.

    Attributes:
        lists: that were compared.
        products: in the exact ones.
        found: of them, those in the approximate ones.
        by_category: the share found, of categories that have products.
    """

    lists: int
    products: int
    found: int
    by_category: dict[str, float]

    @property
    def lowest(self) -> float:
        """Of the category where least was found; 0 where nothing was compared."""
        return min(self.by_category.values(), default=0.0)

    @property
    def worst(self) -> str:
        """The category where least was found; empty where nothing was compared."""
        return min(
            self.by_category, key=lambda name: self.by_category[name], default=""
        )


def sample_scenes(scene_ids: Sequence[str]) -> tuple[int, ...]:
    """Numbers of the scenes that are compared, ascending."""
    order = sorted(
        range(len(scene_ids)), key=lambda row: stable_hash("recall", scene_ids[row])
    )
    return tuple(sorted(order[:SAMPLE_SCENES]))


def compare(category: str, exact: Ranking, approximate: Ranking) -> Found:
    """Hold lists of the same queries against each other."""
    queries = np.arange(len(exact.products))[:, None] << 32
    wanted = (queries | exact.products)[exact.products != NOTHING]
    listed = (queries | approximate.products)[approximate.products != NOTHING]
    return Found(
        category,
        lists=len(exact.products),
        products=len(wanted),
        found=int(np.isin(wanted, listed).sum()),
    )


def recall_of(parts: Iterable[Found]) -> Recall:
    """Of parts of a sample, in any order."""
    products: dict[str, int] = defaultdict(int)
    found: dict[str, int] = defaultdict(int)
    lists = 0
    for part in parts:
        lists += part.lists
        products[part.category] += part.products
        found[part.category] += part.found
    return Recall(
        lists,
        products=sum(products.values()),
        found=sum(found.values()),
        by_category={
            name: round(found[name] / products[name], 6)
            for name in sorted(products)
            if products[name]
        },
    )
