"""Vectors that cluster as embeddings of pictures do, from a seed.

Looks are directions, and styles directions near a look's. How many products a style has
falls with its place, nearly as one over it (Zipf): a few large styles and many small
ones. The products of a style differ along a dozen directions of the style's own and a
little in all; one in thirty is nearly another's copy. All directions are drawn with a
falling spectrum, as the dimensions of trained embeddings are unequal. Queries are sums
of two vectors of the same styles, a scene's and that of the regions it looks at, but
spread wider: scenes are no product pictures.
"""

from __future__ import annotations

import numpy as np

_LOOKS, _STYLES, _OWN = 40, 2000, 12
_CHUNK = 50_000
_ZIPF = 0.9
_SPECTRUM = -0.4
_STYLE_SPREAD = 0.7
_PRODUCTS = (0.9, 0.25)  # along a style's own directions, and in all
_SCENES = (1.3, 0.5)
_COPIES = 30


class ClusteredVectors:
    """A catalogue's worth of vectors; the next that are drawn are others."""

    def __init__(self, seed: int, dim: int) -> None:
        """Draw looks and styles."""
        self._random = np.random.default_rng(seed)
        scale = np.arange(1, dim + 1, dtype=np.float32) ** _SPECTRUM
        self._scale = scale / np.sqrt((scale**2).mean())
        look = self._random.integers(0, _LOOKS, _STYLES)
        self._centres = self._directions(_LOOKS)[look]
        self._centres += _STYLE_SPREAD * self._directions(_STYLES)
        self._own = self._directions(_STYLES, _OWN) / np.sqrt(_OWN)
        shares = np.arange(1, _STYLES + 1) ** -_ZIPF
        self._shares = self._random.permutation(shares / shares.sum())

    def products(self, n: int) -> np.ndarray:
        """[n, dim] float32, unit vectors."""
        vectors = self._draw(n, *_PRODUCTS)
        copies = self._random.choice(n, n // _COPIES, replace=False)
        vectors[copies] = vectors[self._random.choice(n, len(copies))]
        vectors[copies] += 0.002 * self._directions(len(copies))
        return _unit(vectors)

    def queries(self, n: int) -> np.ndarray:
        """[n, dim] float32, sums of two unit vectors."""
        return _unit(self._draw(n, *_SCENES)) + _unit(self._draw(n, *_SCENES))

    def _directions(self, *shape: int) -> np.ndarray:
        drawn = self._random.standard_normal(
            (*shape, len(self._scale)), dtype=np.float32
        )
        return drawn * self._scale

    def _draw(self, n: int, along: float, around: float) -> np.ndarray:
        out = np.empty((n, len(self._scale)), np.float32)
        for at in range(0, n, _CHUNK):
            rows = out[at : at + _CHUNK]
            style = self._random.choice(_STYLES, len(rows), p=self._shares)
            rows[:] = self._centres[style]
            for own in range(_OWN):
                far = self._random.standard_normal((len(rows), 1), dtype=np.float32)
                rows += along * far * self._own[style, own]
            rows += around * self._random.standard_normal(rows.shape, dtype=np.float32)
        return out


def _unit(vectors: np.ndarray) -> np.ndarray:
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found
