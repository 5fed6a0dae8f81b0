"""A pair table with a planted rule, for tests of what trains on it."""

from __future__ import annotations

import numpy as np

from trainer.inputs.pair_table import PairTable

GLOBAL_DIM, N_REGIONS, REGION_DIM = 8, 4, 6
CATEGORIES = ["hats", "shoes"]
_STYLES = 4


def planted_table(seed: int, *, pairs: int = 40, products: int = 24) -> PairTable:
    """Scenes and products of a style share their first features; the rest is noise."""
    generator = np.random.default_rng(seed)

    def styled(styles: np.ndarray, *shape: int) -> np.ndarray:
        features = generator.normal(0.0, 1.0, (len(styles), *shape))
        features[..., :_STYLES] += 2.0 * np.eye(_STYLES)[styles].reshape(
            len(styles), *[1] * (len(shape) - 1), _STYLES
        )
        return features.astype(np.float16)

    style = np.arange(products) % _STYLES
    category = (np.arange(products) // _STYLES % len(CATEGORIES)).astype(np.int32)
    positive = generator.integers(0, products, pairs)
    others = [
        np.flatnonzero((category == category[own]) & (style != style[own]))
        for own in positive
    ]
    return PairTable(
        scenes=styled(style[positive], GLOBAL_DIM),
        regions=styled(style[positive], N_REGIONS, REGION_DIM),
        products=styled(style, GLOBAL_DIM),
        scene=np.arange(pairs),
        positive=positive,
        negatives=[generator.permutation(rows)[:6] for rows in others],
        alike=[
            np.flatnonzero((category == category[own]) & (style == style[own]))
            for own in positive
        ],
        group=np.arange(pairs) // 2,
        category=category[positive],
        product_category=category,
    )
