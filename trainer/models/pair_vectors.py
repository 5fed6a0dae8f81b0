"""Vectors of scenes and of products, of which a distance is made; of any backend."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Tensor = Any
"""A backend's tensor, or a NumPy array."""


class SceneVectors(NamedTuple):
    """Scenes, each for a category.

    Attributes:
        scene: f_s, [n, dim] unit vectors.
        local: f_i, [n, n_regions, dim] unit vectors; None where no region counts.
        keys: l̂ of the regions, [n, n_regions, dim] unit vectors; None where the
            attention looks for nothing.
        attention: a, [n, n_regions]; None where it depends on the product.
    """

    scene: Tensor
    local: Tensor | None
    keys: Tensor | None
    attention: Tensor | None


class ProductVectors(NamedTuple):
    """Products.

    Attributes:
        vectors: f_p, [m, dim] unit vectors.
        keys: what the attention looks for with each, [m, dim] unit vectors; None where
            it does not depend on the product.
    """

    vectors: Tensor
    keys: Tensor | None

    def rows(self, chosen: slice | np.ndarray) -> ProductVectors:
        """Some of them."""
        keys = None if self.keys is None else self.keys[chosen]
        return ProductVectors(self.vectors[chosen], keys)
