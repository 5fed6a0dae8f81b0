"""Scores of models whose distance is no inner product, in NumPy.

Every region of a scene is held against every product, as in `trainer.models.distances`,
which has the formulas: with an attention that depends on the product, or without
squares.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from beam_jobs.ranking.scorers import ProductBlock, finite_norms
from trainer.configuration.config import Distance
from trainer.models.distances import LEAST_SQUARED_DISTANCE

_ENTRIES = 4_000_000  # regions × products of which there are scores at once: 16 MB
_SUMMED = 2_000_000  # numbers of which distances are summed at once: 16 MB in float64
_SQUARED_SLACK = 1e-4
"""Far above what float32 does to distances of unit vectors, about 1e-5."""
_ROOT_SLACK = 5e-3
"""The root of 2e-6, by which the square of a small distance may be off, thrice."""


@dataclasses.dataclass(frozen=True, slots=True)
class PairRule:
    """Which distance; see `trainer.configuration.config.ModelConfig`."""

    distance: Distance
    squared: bool
    near_regions: bool


@dataclasses.dataclass(frozen=True, slots=True)
class SceneArrays:
    """Scenes, each for a category; see `trainer.models.pair_vectors.SceneVectors`."""

    scene: np.ndarray
    local: np.ndarray | None
    keys: np.ndarray | None
    attention: np.ndarray | None


class PairDistances:
    """Scenes of such a model; the score is less the distance. See `scorers.Scorer`."""

    product_rows = 2048

    def __init__(self, scenes: SceneArrays, rule: PairRule) -> None:
        """Take n scenes.

        Raises:
            ValueError: a vector is not finite.
        """
        self._scenes = scenes
        self._rule = rule
        self.n_queries = len(scenes.scene)
        self._uses_regions = (
            rule.distance is not Distance.GLOBAL and scenes.local is not None
        )
        n_regions = 1 if scenes.local is None else scenes.local.shape[1]
        self._n_regions = n_regions
        self.query_rows = max(1, _ENTRIES // (n_regions * self.product_rows))
        finite_norms(scenes.scene)
        for part in (scenes.local, scenes.keys):
            if part is not None:
                finite_norms(part.reshape(-1, part.shape[-1]))

    def score(self, queries: slice, block: ProductBlock, *, out: np.ndarray) -> None:
        """See `scorers.Scorer.score`."""
        scenes, across = self._scenes, block.vectors.T
        out[:] = 0
        if self._rule.distance is not Distance.LOCAL or not self._uses_regions:
            out -= self._far(scenes.scene[queries] @ across)
        if not self._uses_regions:
            return
        assert scenes.local is not None
        # [queries, n_regions, m]
        to_regions = self._far(scenes.local[queries] @ across)
        if scenes.attention is not None:
            weights = scenes.attention[queries, :, None]
        else:
            assert scenes.keys is not None
            assert block.keys is not None
            weights = self._softmax(scenes.keys[queries] @ block.keys.T)
        to_regions *= weights
        out -= to_regions.sum(axis=1)
        if self._rule.distance is Distance.HYBRID:
            out *= np.float32(0.5)

    def above(
        self, queries: slice, block: ProductBlock, floors: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `scorers.Scorer.above`."""
        scores = np.empty((len(floors), len(block.products)), np.float32)
        self.score(queries, block, out=scores)
        found_queries, columns = np.nonzero(scores > floors[:, None])
        yield found_queries, columns

    def slacks(self, queries: slice, block: ProductBlock) -> np.ndarray:
        """See `scorers.Scorer.slacks`."""
        if block.keys is not None:
            finite_norms(block.keys)
        assert np.isfinite(block.largest_norm)
        slack = _SQUARED_SLACK if self._rule.squared else _ROOT_SLACK
        return np.full(queries.stop - queries.start, slack, np.float32)

    def score_of(self, distances: np.ndarray) -> np.ndarray:
        """See `scorers.Scorer.score_of`."""
        return -distances

    def distances(
        self, queries: np.ndarray, block: ProductBlock, columns: np.ndarray
    ) -> np.ndarray:
        """See `scorers.Scorer.distances`."""
        found = np.empty(len(queries), np.float32)
        size = max(1, _SUMMED // (self._n_regions * block.vectors.shape[1]))
        for at in range(0, len(queries), size):
            some = slice(at, at + size)
            found[some] = self._summed(queries[some], block, columns[some])
        return found

    def _summed(
        self, queries: np.ndarray, block: ProductBlock, columns: np.ndarray
    ) -> np.ndarray:
        """[c] float64, every sum in the order of its terms."""
        scenes = self._scenes
        products = block.vectors[columns].astype(np.float64)
        d_global = self._far((products * scenes.scene[queries]).sum(axis=1))
        if not self._uses_regions:
            return d_global
        assert scenes.local is not None
        # [c, n_regions]
        to_regions = self._far(
            (scenes.local[queries] * products[:, None, :]).sum(axis=2)
        )
        if scenes.attention is not None:
            weights = scenes.attention[queries].astype(np.float64)
        else:
            assert scenes.keys is not None
            assert block.keys is not None
            wanted = block.keys[columns].astype(np.float64)
            weights = self._softmax(
                (scenes.keys[queries] * wanted[:, None, :]).sum(axis=2)
            )
        d_local = np.ascontiguousarray(weights * to_regions).sum(axis=1)
        if self._rule.distance is Distance.LOCAL:
            return d_local
        return 0.5 * (d_global + d_local)

    def _far(self, cosines: np.ndarray) -> np.ndarray:
        """Distances of unit vectors, in place."""
        cosines *= -2
        cosines += 2
        if self._rule.squared:
            return cosines
        np.maximum(cosines, LEAST_SQUARED_DISTANCE, out=cosines)
        return np.sqrt(cosines, out=cosines)

    def _softmax(self, cosines: np.ndarray) -> np.ndarray:
        """Over the regions, the second axis; in place, and no larger than e²."""
        cosines *= 2 if self._rule.near_regions else -2
        weights = np.exp(cosines, out=cosines)
        weights /= weights.sum(axis=1, keepdims=True)
        return weights
