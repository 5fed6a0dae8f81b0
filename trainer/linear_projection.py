"""Scenes and products in one space by two linear maps, in closed form: no training.

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

The distance of unit vectors is 2 − 2 q·p, as that of a model. Each statistic is one
pass over the pairs; nothing is drawn, so nothing depends on a seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

Names = Sequence[str] | np.ndarray

COMPONENTS = 300
DIM = 128
_RIDGE = 0.8  # ρ
_SHRINKAGE = 10.0  # pairs that a category's mean needs to count half
_OTHER_WEIGHT = 0.3  # of the scene's other products, all together over all scenes
_POWER = 1.5  # of the singular values: weak directions are mostly noise
_LEAST_DEVIATION = 1e-6


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Side:
    """From features of scenes, or of products, to vectors.

    Attributes:
        mean: [dim].
        deviation: [dim].
        centres: category → its mean after those two, [dim].
        centre: mean after all three, [dim].
        projection: [dim, n_components], onto the whitened components.
        map: [n_components, embedding_dim].
    """

    mean: np.ndarray
    deviation: np.ndarray
    centres: dict[str, np.ndarray]
    centre: np.ndarray
    projection: np.ndarray
    map: np.ndarray

    def components(self, features: np.ndarray, categories: Names) -> np.ndarray:
        """Whitened components of features [n, dim], [n, n_components] float64."""
        standard = (_roots(features) - self.mean) / self.deviation
        nothing = np.zeros_like(self.mean)
        centres = [self.centres.get(name, nothing) for name in categories]
        return (standard - np.array(centres) - self.centre) @ self.projection

    def vectors(self, features: np.ndarray, categories: Names) -> np.ndarray:
        """Unit vectors of features [n, dim], [n, embedding_dim] float32."""
        if not len(features):
            return np.zeros((0, self.map.shape[1]), np.float32)
        found = self.components(features, categories) @ self.map
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        return (found / np.maximum(norms, np.finfo(float).tiny)).astype(np.float32)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LinearProjection:
    """Both sides."""

    scenes: Side
    products: Side


def fit_projection(
    scenes: np.ndarray,
    products: np.ndarray,
    categories: Names,
    scene_ids: Names,
) -> LinearProjection:
    """Fit pairs.

    Args:
        scenes: [n, dim] pooled features of their scenes.
        products: [n, dim] of their products.
        categories: [n] names.
        scene_ids: [n]; pairs of one scene share its other products.
    """
    sides = [_whitened(features, categories) for features in (scenes, products)]
    x, y = (
        side.components(features, categories)
        for side, features in zip(sides, (scenes, products), strict=True)
    )
    covariance = x.T @ (y + _OTHER_WEIGHT * _others(y, scene_ids)) / len(x)
    left, values, right = np.linalg.svd(covariance)
    kept = min(DIM, len(values))
    # Nothing varies together where there is one pair: then all products tie.
    weights = (values[:kept] / max(values[0], np.finfo(float).tiny)) ** _POWER
    maps = left[:, :kept] * weights, right[:kept].T * weights
    return LinearProjection(
        *(
            dataclasses.replace(side, map=mapped)
            for side, mapped in zip(sides, maps, strict=True)
        )
    )


def _roots(features: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(features.astype(np.float64), 0.0))


def _whitened(features: np.ndarray, categories: Names) -> Side:
    """A side without its map."""
    roots = _roots(features)
    mean, deviation = roots.mean(axis=0), roots.std(axis=0) + _LEAST_DEVIATION
    standard = (roots - mean) / deviation
    names = np.asarray(categories, dtype=str)
    centres = {}
    for name in np.unique(names):
        of_category = names == name
        count = np.count_nonzero(of_category)
        shrunk = count / (count + _SHRINKAGE)
        centres[str(name)] = standard[of_category].mean(axis=0) * shrunk
        standard[of_category] -= centres[str(name)]
    centre = standard.mean(axis=0)
    standard -= centre
    variances, directions = np.linalg.eigh(standard.T @ standard / len(standard))
    kept = np.argsort(variances)[::-1][: min(COMPONENTS, len(standard))]
    variances = np.maximum(variances[kept], 0.0)
    scales = np.sqrt(variances + _RIDGE * variances.mean())
    projection = directions[:, kept] / np.maximum(scales, _LEAST_DEVIATION)
    return Side(mean, deviation, centres, centre, projection, np.zeros((0, 0)))


def _others(values: np.ndarray, scene_ids: Names) -> np.ndarray:
    """For each pair the values of the scene's other pairs, summed.

    Scaled so that over all pairs they weigh as much as the pairs themselves.

    Args:
        values: [n, k].
        scene_ids: [n].
    """
    _, scene_of = np.unique(np.asarray(scene_ids, dtype=str), return_inverse=True)
    sums = np.zeros((scene_of.max(initial=-1) + 1, values.shape[1]))
    np.add.at(sums, scene_of, values)
    sizes = np.bincount(scene_of)
    total = float(np.sum(sizes * (sizes - 1)))
    if total == 0.0:
        return np.zeros_like(values)
    return (sums[scene_of] - values) * (len(values) / total)
