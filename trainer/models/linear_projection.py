"""Scenes and products in one space by two linear maps, in closed form: no gradients.

Canonical correlation analysis (Hotelling 1936), regularised as ridge regression is
(Vinod 1976): of all directions in which the features of scenes and of their products
vary, those that vary together. The steps, each for scenes and for products apart, with
statistics of the train split alone:

1. The square root of the features, which are mostly small with a few large ones; then
   zero mean and unit deviation.
2. Less the mean of the category (of the queried one for scenes), shrunk where there are
   few pairs of it: what tells categories apart does not help to rank within one.
3. The leading principal components, each divided by √(λ + ρ λ̄).
4. The cross-covariance X'Y / n of the pairs, where a scene's other products count too,
   with a small weight; its singular vectors, times a power of their singular value.

The distance of unit vectors is 2 − 2 q·p, as that of a model. When products are ranked
their category's mean stays in: within a category it moves all of them alike, but for
their length. Each statistic is one pass over the pairs, in blocks, so that memory does
not grow with them; nothing is drawn, so nothing depends on a seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from trainer.configuration.config import ProjectionConfig
from trainer.inputs.feature_statistics import feature_statistics

_BLOCK = 1_024  # pairs: 17 MB of ResNet50 features in float64
_LEAST_DEVIATION = 1e-6


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """One side of the pairs.

    Attributes:
        features: [n_rows, dim], of distinct scenes or products.
        of_pair: [n] which row each pair has.
    """

    features: np.ndarray
    of_pair: np.ndarray

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.of_pair)

    @property
    def dim(self) -> int:
        """Of the features."""
        return int(self.features.shape[1])

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Pairs and the roots of their features, [b, dim] float64."""
        for start in range(0, len(self), _BLOCK):
            pairs = slice(start, min(start + _BLOCK, len(self)))
            yield pairs, roots(self.features[self.of_pair[pairs]])


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Side:
    """From features of scenes, or of products, to vectors.

    Attributes:
        mean: [dim].
        deviation: [dim].
        centres: [n_categories, dim], their means after those two, shrunk.
        centre: [dim], mean after all three.
        projection: [dim, n_components], onto the whitened components.
        map: [n_components, embedding_dim].
    """

    mean: np.ndarray
    deviation: np.ndarray
    centres: np.ndarray
    centre: np.ndarray
    projection: np.ndarray
    map: np.ndarray

    def kernel(self) -> np.ndarray:
        """From standardised features to the common space, [dim, embedding_dim]."""
        return self.projection @ self.map

    def standard(
        self, values: np.ndarray, categories: np.ndarray | None = None
    ) -> np.ndarray:
        """Standardised and centred, [n, dim] float64.

        Args:
            values: roots of features, [n, dim].
            categories: [n] whose mean is taken off; None to leave it in.
        """
        standard = (values - self.mean) / self.deviation - self.centre
        if categories is not None:
            standard -= self.centres[categories]
        return standard

    def vectors(
        self, features: np.ndarray, categories: np.ndarray | None = None
    ) -> np.ndarray:
        """Unit vectors of features [n, dim], [n, embedding_dim] float32."""
        found = self.standard(roots(features), categories) @ self.kernel()
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        return (found / np.maximum(norms, np.finfo(float).tiny)).astype(np.float32)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LinearProjection:
    """Both sides."""

    scenes: Side
    products: Side


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Components:
    """A side without its map, before the ridge.

    Attributes:
        side: with the leading principal components for its projection.
        variances: [n_components] of them.
    """

    side: Side
    variances: np.ndarray

    def scales(self, ridge: float) -> np.ndarray:
        """What whitens each component: 1 / √(λ + ρ λ̄)."""
        deviations = np.sqrt(self.variances + ridge * self.variances.mean())
        found: np.ndarray = 1.0 / np.maximum(deviations, _LEAST_DEVIATION)
        return found


class ProjectionFit:
    """Pairs whose components are known: what is left is small, for any ridge."""

    def __init__(
        self,
        scenes: Rows,
        products: Rows,
        categories: np.ndarray,
        groups: np.ndarray,
        *,
        n_categories: int,
        config: ProjectionConfig,
    ) -> None:
        """Find the components of both sides, and how they vary together.

        Args:
            scenes: n pairs' scenes.
            products: their products.
            categories: [n] numbers.
            groups: [n]; pairs of one group share a scene's other products.
            n_categories: that there are.
            config: how.
        """
        self._config = config
        self._sides = tuple(
            _components(rows, categories, n_categories, config)
            for rows in (scenes, products)
        )
        self._covariance = cross_covariance(
            self._blocks(scenes, products, categories, groups), config.others
        )

    def _blocks(
        self, scenes: Rows, products: Rows, categories: np.ndarray, groups: np.ndarray
    ) -> Iterator[PairBlock]:
        """Principal components of pairs, those of a group together."""
        order = np.argsort(groups, kind="stable")
        for pairs in whole_groups(groups[order]):
            chosen = order[pairs]
            own = _own(categories, chosen, self._config)
            x, y = (
                found.side.standard(roots(rows.features[rows.of_pair[chosen]]), own)
                @ found.side.projection
                for found, rows in zip(self._sides, (scenes, products), strict=True)
            )
            yield PairBlock(x, y, groups[chosen])

    def solve(self, ridge: float) -> LinearProjection:
        """The projection of a ridge ρ."""
        config = self._config
        x, y = (found.scales(ridge) for found in self._sides)
        # To whiten is to scale: the covariance of whitened components is this one.
        left, values, right = np.linalg.svd(x[:, None] * self._covariance * y)
        kept = min(config.dim, len(values))
        # Nothing varies together where there is one pair: then all products tie.
        relative = values[:kept] / max(values[0], np.finfo(float).tiny)
        weights = relative**config.power
        maps = left[:, :kept] * weights, right[:kept].T * weights
        return LinearProjection(
            *(
                dataclasses.replace(
                    found.side, projection=found.side.projection * scales, map=mapped
                )
                for found, scales, mapped in zip(self._sides, (x, y), maps, strict=True)
            )
        )


class PairBlock(NamedTuple):
    """Some pairs.

    Attributes:
        x: [b, k], of their scenes.
        y: [b, l], of their products.
        groups: [b]; pairs of a group follow each other, and are in one block.
    """

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray


def cross_covariance(blocks: Iterable[PairBlock], others: float) -> np.ndarray:
    """X'(Y + w O) / n: each scene with its product, and with its group's others.

    O has for each pair the sum of y over the other pairs of its group, scaled so that
    over all pairs it weighs as much as Y.

    Args:
        blocks: of n pairs.
        others: w.

    Returns:
        [k, l].
    """
    n, n_others = 0, 0
    own: np.ndarray | float = 0.0
    together: np.ndarray | float = 0.0
    for x, y, groups in blocks:
        starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
        sizes = np.diff(np.r_[starts, len(groups)])
        n, n_others = n + len(x), n_others + int(np.sum(sizes * (sizes - 1)))
        own = own + x.T @ y
        # Σ_i x_i (Σ_j y_j)' over pairs i, j of a group is a product of two sums.
        together = together + np.add.reduceat(x, starts).T @ np.add.reduceat(y, starts)
    more = others * n / n_others if n_others else 0.0
    return np.asarray(own + more * (together - own)) / n


def whole_groups(groups: np.ndarray) -> Iterator[slice]:
    """Slices of sorted groups, none of which is cut.

    They are about as long as a block; one larger than a block is a slice of its own.
    """
    edges = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1], True])
    start = 0
    while start < len(groups):
        stop = edges[np.searchsorted(edges, start + _BLOCK, side="right") - 1]
        if stop <= start:
            stop = edges[np.searchsorted(edges, start, side="right")]
        yield slice(start, int(stop))
        start = int(stop)


def roots(features: np.ndarray) -> np.ndarray:
    """√max(x, 0), in float64."""
    return np.sqrt(np.maximum(features.astype(np.float64), 0.0))


def _own(
    categories: np.ndarray, pairs: slice | np.ndarray, config: ProjectionConfig
) -> np.ndarray | None:
    return categories[pairs] if config.centred else None


def _components(
    rows: Rows, categories: np.ndarray, n_categories: int, config: ProjectionConfig
) -> _Components:
    mean, deviation = feature_statistics(
        rows.of_pair, lambda of_pair: roots(rows.features[of_pair])
    )
    side = Side(
        mean=mean.astype(np.float64),
        deviation=deviation.astype(np.float64) + _LEAST_DEVIATION,
        centres=np.zeros((n_categories, rows.dim)),
        centre=np.zeros(rows.dim),
        projection=np.zeros((rows.dim, 0)),
        map=np.zeros((0, 0)),
    )
    sums = np.zeros((n_categories, rows.dim))
    for pairs, values in rows.blocks():
        np.add.at(sums, categories[pairs], side.standard(values))
    counts = np.bincount(categories, minlength=n_categories).astype(float)[:, None]
    if config.centred:
        # A mean times its share of certainty: count / (count + shrinkage).
        side = dataclasses.replace(
            side, centres=sums / np.maximum(counts + config.shrinkage, 1e-9)
        )
    return _principal(rows, categories, side, config)


def _principal(
    rows: Rows, categories: np.ndarray, side: Side, config: ProjectionConfig
) -> _Components:
    """The leading components of what is left when the categories' means are off."""
    total, products = np.zeros(rows.dim), np.zeros((rows.dim, rows.dim))
    for pairs, values in rows.blocks():
        standard = side.standard(values, _own(categories, pairs, config))
        total += standard.sum(axis=0)
        products += standard.T @ standard
    centre = total / len(rows)
    covariance = products / len(rows) - np.outer(centre, centre)
    variances, directions = np.linalg.eigh(covariance)
    kept = np.argsort(variances)[::-1][: min(config.components, len(rows))]
    return _Components(
        dataclasses.replace(side, centre=centre, projection=directions[:, kept]),
        np.maximum(variances[kept], 0.0),
    )
