"""Mining negatives in Beam: bounded pools per category, and the draw for each pair."""

from __future__ import annotations

import apache_beam as beam

from beam_jobs.dataset.dataset_transforms import REJECTED
from beam_jobs.mining.champion import Champion
from beam_jobs.mining.draw_transforms import DrawHardNegatives, DrawNegatives
from beam_jobs.mining.negative_draws import CandidatePool
from beam_jobs.mining.negative_pools import CountTrainPairs, SamplePools, WeighPools
from beam_jobs.mining.negatives import NegativeRule, Strategy


class MineNegatives(beam.PTransform):
    """Give every pair its negatives.

    Input: the PCollections `pairs` (`LocatedPair` with crop, co-positives and split)
    and `products` (`Product`), by name.
    Output: two PCollections, `LocatedPair` with negatives, how they were drawn and how
    many of them are hard, and the `Rejection` of each pair that has none.

    Every worker holds the pools: at most the number of categories × `pool_size`
    candidates, 200 bytes each.
    """

    def __init__(self, rule: NegativeRule, champion: Champion | None = None) -> None:
        """Set how negatives are drawn.

        Args:
            rule: the strategy and its numbers.
            champion: the model of `Strategy.HARD`.

        Raises:
            ValueError: the strategy needs a model, or has no use for one.
        """
        super().__init__()
        if (rule.strategy is Strategy.HARD) != (champion is not None):
            raise ValueError(
                f"--negative_strategy={rule.strategy} with champion {champion}"
            )
        self._rule = rule
        self._champion = champion

    def expand(
        self, inputs: dict[str, beam.PCollection]
    ) -> tuple[beam.PCollection, beam.PCollection]:
        """Wire the transform."""
        sampled = inputs["products"] | "SamplePools" >> SamplePools(self._rule)
        if self._rule.strategy is Strategy.POPULARITY:
            counts = inputs["pairs"] | "CountTrainPairs" >> CountTrainPairs()
            pools = {
                "samples": sampled,
                "counts": counts,
            } | "WeighPools" >> WeighPools()
        else:
            pools = sampled | "MakePools" >> beam.MapTuple(
                lambda category, sample: (category, CandidatePool(sample))
            )
        drawn = inputs["pairs"] | "DrawNegatives" >> beam.ParDo(
            self._draw(), beam.pvalue.AsDict(pools)
        ).with_outputs(REJECTED, main="pairs")
        return drawn.pairs, drawn[REJECTED]

    def _draw(self) -> beam.DoFn:
        if self._champion is None:
            return DrawNegatives(self._rule)
        return DrawHardNegatives(self._rule, self._champion)
