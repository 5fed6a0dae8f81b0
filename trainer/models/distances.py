"""How far a product is from a scene, from their vectors.

    d_global = ‖f_s − f_p‖²
    d_local  = Σ_i a_i ‖f_i − f_p‖²
    d        = ½ (d_global + d_local)            (Kang et al. 2019, equations 4, 5, 7)

All f are unit vectors, so ‖f − f_p‖² = 2 − 2 f·f_p; and as Σ a_i = 1, d = 2 − q·f_p
with q = f_s + Σ a_i f_i. Without the squares, or with an attention that depends on the
product, there is no such q, and every region is held against every product.
"""

from __future__ import annotations

import keras
from keras import ops

from trainer.configuration.config import Distance
from trainer.models.pair_vectors import ProductVectors, SceneVectors

LEAST_SQUARED_DISTANCE = 1e-12
"""The root has no derivative at 0, where a product is exactly at a scene."""


def distance_matrix(
    scenes: SceneVectors,
    products: ProductVectors,
    *,
    distance: Distance = Distance.HYBRID,
    squared: bool = True,
    near_regions: bool = True,
) -> keras.KerasTensor:
    """Distances of all scenes to all products.

    Args:
        scenes: n scenes.
        products: m products.
        distance: which parts count.
        squared: whether distances are squared.
        near_regions: whether attention goes to regions near to what is looked for.

    Returns:
        [n, m].
    """
    across = ops.transpose(products.vectors)
    if distance is Distance.GLOBAL or scenes.local is None:
        return _from_cosine(ops.matmul(scenes.scene, across), squared)
    attention = scenes.attention
    if attention is None:
        # [n, n_regions, m]
        attention = product_attention(scenes, products, near_regions=near_regions)
    if squared and len(attention.shape) == 2:
        # Σ a_i (2 − 2 f_i·f_p), with one product instead of one a region.
        attended = attended_regions(scenes.local, attention)
        d_local = _from_cosine(ops.matmul(attended, across), squared)
    else:
        to_regions = _from_cosine(ops.matmul(scenes.local, across), squared)
        if len(attention.shape) == 2:
            attention = ops.expand_dims(attention, -1)
        d_local = ops.sum(attention * to_regions, axis=1)
    if distance is Distance.LOCAL:
        return d_local
    d_global = _from_cosine(ops.matmul(scenes.scene, across), squared)
    return 0.5 * (d_global + d_local)


def query_vectors(
    scenes: SceneVectors, *, distance: Distance = Distance.HYBRID
) -> keras.KerasTensor:
    """Vectors q of scenes, for which squared distances are 2 − q·f_p.

    Args:
        scenes: n scenes, whose attention does not depend on the product.
        distance: which parts count.

    Returns:
        [n, dim].
    """
    if distance is Distance.GLOBAL or scenes.local is None:
        return 2.0 * scenes.scene
    attended = attended_regions(scenes.local, scenes.attention)
    return 2.0 * attended if distance is Distance.LOCAL else scenes.scene + attended


def attended_regions(
    local: keras.KerasTensor, attention: keras.KerasTensor
) -> keras.KerasTensor:
    """Σ a_i f_i: [n, n_regions, dim] and [n, n_regions] to [n, dim]."""
    return ops.sum(ops.expand_dims(attention, -1) * local, axis=1)


def product_attention(
    scenes: SceneVectors, products: ProductVectors, *, near_regions: bool = True
) -> keras.KerasTensor:
    """Attention of each region for each product, [n, n_regions, m]."""
    cosines = ops.matmul(scenes.keys, ops.transpose(products.keys))
    return _attention(cosines, near_regions)


def own_attention(
    scenes: SceneVectors, products: ProductVectors, *, near_regions: bool = True
) -> keras.KerasTensor:
    """Attention of n scenes, each for its own of n products, [n, n_regions]."""
    cosines = ops.sum(scenes.keys * ops.expand_dims(products.keys, 1), axis=-1)
    return _attention(cosines, near_regions)


def _attention(cosines: keras.KerasTensor, near_regions: bool) -> keras.KerasTensor:
    # For unit vectors ∓‖k − p‖² = ±2 k·p ∓ 2, and softmax ignores the constant.
    return ops.softmax(2.0 * cosines if near_regions else -2.0 * cosines, axis=1)


def _from_cosine(cosine: keras.KerasTensor, squared: bool) -> keras.KerasTensor:
    """Distance of unit vectors, squared or not."""
    square = 2.0 - 2.0 * cosine
    return square if squared else ops.sqrt(ops.maximum(square, LEAST_SQUARED_DISTANCE))
