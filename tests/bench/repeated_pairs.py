"""Pairs in any number over features that repeat, in the shapes that ResNet50 gives.

What a step costs does not depend on what the features are; what a table of pairs costs
depends on how many there are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.bench.step_products import RESNET50, Shapes
from trainer.inputs.pair_table import PairTable

CATEGORIES = [f"category-{number}" for number in range(10)]
NEGATIVES = 32
"""A pair, as `build_dataset` mines them."""


def repeated_pairs(
    n_pairs: int, shapes: Shapes = RESNET50, *, scratch: Path | None = None
) -> PairTable:
    """A table of pairs.

    Args:
        n_pairs: how many; features are of `shapes.distinct` scenes and products.
        shapes: of the features.
        scratch: a file to map the regions to, as training does; None for memory.
    """
    generator = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32).astype(np.float16)

    n_products = shapes.distinct
    regions = drawn(shapes.distinct, shapes.n_regions, shapes.region_dim)
    if scratch:
        mapped = np.memmap(scratch, np.float16, "w+", shape=regions.shape)
        mapped[:] = regions
        regions = mapped
    positive = generator.integers(0, n_products, n_pairs)
    product_category = np.arange(n_products, dtype=np.int32) % len(CATEGORIES)
    # Of the same category: as many products farther on as there are categories.
    steps = len(CATEGORIES) * np.arange(1, NEGATIVES + 1)
    return PairTable(
        scenes=drawn(shapes.distinct, shapes.global_dim),
        regions=regions,
        products=drawn(n_products, shapes.global_dim),
        scene=generator.integers(0, shapes.distinct, n_pairs),
        positive=positive,
        negatives=[(own + steps) % n_products for own in positive],
        alike=[own[None] for own in positive],
        group=np.arange(n_pairs),
        category=product_category[positive],
        product_category=product_category,
    )
