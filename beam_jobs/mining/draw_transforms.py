"""Drawing negatives in Beam: pair by pair, or in blocks with the champion's help."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from beam_jobs.dataset.dataset_transforms import REJECTED, LocatedPair, reject
from beam_jobs.mining.champion import Champion, ChampionEmbedder, Crop
from beam_jobs.mining.hard_negatives import PairVectors, RankedPool, draw_hard
from beam_jobs.mining.negative_draws import CandidatePool, draw_negatives
from beam_jobs.mining.negatives import Candidate, NegativeRule, Strategy
from tfrecords_schema.codes import PairCode

BLOCK = 128
"""Pairs of a category that are ranked at once; 5 MB of distances to 10,000 members."""

MAX_WAITING = 4_096
"""Pairs that wait for their category's block to fill, whatever the number of
categories."""

_NO_POOL = CandidatePool(())


class DrawNegatives(beam.DoFn):
    """Draw each pair's negatives by the weights of its category's pool.

    Element in: `LocatedPair`; side input: `CandidatePool` by category.
    Main output: with negatives; `REJECTED`: no negative to be had.
    """

    def __init__(self, rule: NegativeRule) -> None:
        """Set how many, and the seed."""
        self._rule = rule

    def process(
        self, item: LocatedPair, pools: dict[str, CandidatePool]
    ) -> Iterator[Any]:
        """Draw for one pair."""
        pool = pools.get(item.product.category, _NO_POOL)
        yield draw_by_weight(item, pool, self._rule, strategy=self._rule.strategy)


def draw_by_weight(
    item: LocatedPair, pool: CandidatePool, rule: NegativeRule, *, strategy: Strategy
) -> Any:
    """A pair's output, drawn without a model."""
    negatives = draw_negatives(
        item.pair.pair_id, pool, positives=positives_of(item), rule=rule
    )
    return mined(item, negatives, strategy=strategy)


def positives_of(item: LocatedPair) -> tuple[Candidate, ...]:
    """What goes with the pair's scene."""
    return (item.product.candidate, *item.co_positives)


def mined(
    item: LocatedPair,
    negatives: Sequence[Candidate],
    *,
    strategy: Strategy,
    n_hard: int = 0,
) -> Any:
    """A pair with its negatives, or its tagged rejection where there are none."""
    if not negatives:
        rejection = reject(item.pair, PairCode.NO_NEGATIVE)
        return beam.pvalue.TaggedOutput(REJECTED, rejection)
    return item._replace(
        negatives=tuple(negatives),
        negative_strategy=strategy,
        hard_negatives=n_hard,
    )


@dataclasses.dataclass(frozen=True, slots=True, weakref_slot=True)
class _Miner:
    """What the threads of a process share.

    Attributes:
        embedder: of the champion.
        ranked: pools by category, as they are met.
    """

    embedder: ChampionEmbedder
    ranked: dict[str, RankedPool] = dataclasses.field(default_factory=dict)


class DrawHardNegatives(beam.DoFn):
    """Draw each pair's negatives with the champion's help.

    Element in: `LocatedPair`; side input: `CandidatePool` by category.
    Main output: with negatives; `REJECTED`: no negative to be had.

    Pairs wait within a bundle until there is a block of one category; what is drawn
    for a pair does not depend on its block. All copies of this step in a process share
    one model, the index of its features, and the vectors of the pools that they have
    met, 5 MB for a pool of 10,000.
    """

    def __init__(self, rule: NegativeRule, champion: Champion) -> None:
        """Set the rule and the model; it is loaded in `setup`."""
        self._rule = rule
        self._champion = champion
        self._shared = Shared()
        self._by_model = Metrics.counter("negatives", "pairs_mined_hard")
        self._by_chance = Metrics.counter("negatives", "pairs_mined_uniform")

    def setup(self) -> None:
        """Load the model, unless this process has it."""
        self._miner: _Miner = self._shared.acquire(
            lambda: _Miner(ChampionEmbedder(self._champion))
        )

    def start_bundle(self) -> None:
        """Begin with no pair waiting."""
        self._waiting: dict[str, list[LocatedPair]] = defaultdict(list)
        self._n_waiting = 0

    def process(
        self, item: LocatedPair, pools: dict[str, CandidatePool]
    ) -> Iterator[Any]:
        """Take a pair, and draw for its block when that is full."""
        self._pools = pools
        category = item.product.category
        if not self._can_rank(item):
            self._by_chance.inc()
            pool = pools.get(category, _NO_POOL)
            yield draw_by_weight(item, pool, self._rule, strategy=Strategy.UNIFORM)
            return
        self._waiting[category].append(item)
        self._n_waiting += 1
        if len(self._waiting[category]) == BLOCK:
            yield from self._draw(category)
        elif self._n_waiting == MAX_WAITING:
            yield from self._draw_all()

    def finish_bundle(self) -> Iterator[Any]:
        """Draw for the pairs that still wait."""
        for output in self._draw_all():
            yield _in_global_window(output)

    def _can_rank(self, item: LocatedPair) -> bool:
        embedder = self._miner.embedder
        return (
            embedder.knows(item.product.category)
            and embedder.has_product(item.product.sha256)
            and embedder.has_crop(_crop_of(item))
        )

    def _draw_all(self) -> Iterator[Any]:
        for category in list(self._waiting):
            yield from self._draw(category)

    def _draw(self, category: str) -> Iterator[Any]:
        items = self._waiting.pop(category)
        self._n_waiting -= len(items)
        self._by_model.inc(len(items))
        ranked = self._ranked_pool(category)
        embedder = self._miner.embedder
        vectors = embedder.embed_products([i.product.sha256 for i in items])
        queries = embedder.embed_crops([_crop_of(i) for i in items], category)
        rough = ranked.rough_distances(queries)
        for row, item in enumerate(items):
            negatives, n_hard = draw_hard(
                item.pair.pair_id,
                ranked,
                PairVectors(queries[row], vectors[row], rough[row]),
                positives=positives_of(item),
                rule=self._rule,
            )
            yield mined(item, negatives, strategy=Strategy.HARD, n_hard=n_hard)

    def _ranked_pool(self, category: str) -> RankedPool:
        # Two threads may rank the same pool at first; both come to the same.
        ranked = self._miner.ranked
        if category not in ranked:
            pool = self._pools.get(category, _NO_POOL)
            ranked[category] = rank_pool(pool, self._miner.embedder)
        return ranked[category]


def rank_pool(pool: CandidatePool, embedder: ChampionEmbedder) -> RankedPool:
    """Embed the members whose features are there."""
    rows = [
        row
        for row, candidate in enumerate(pool.candidates)
        if embedder.has_product(candidate.sha256)
    ]
    contents: Sequence[str] = [pool.candidates[row].sha256 for row in rows]
    return RankedPool(pool, np.array(rows, np.int64), embedder.embed_products(contents))


def _crop_of(item: LocatedPair) -> Crop:
    if item.crop is None:
        raise AssertionError(f"pair {item.pair.pair_id} has no crop yet")
    return item.scene.sha256, item.crop


def _in_global_window(output: Any) -> Any:
    if isinstance(output, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(output.tag, _in_global_window(output.value))
    window = GlobalWindow()
    return WindowedValue(output, window.end, (window,))
