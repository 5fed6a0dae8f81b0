"""Give a model weights that look trained, for tests of what uses models."""

from __future__ import annotations

import keras
import numpy as np


def fill_weights(model: keras.Model) -> None:
    """Weights from a seed, the statistics of batches included."""
    if not model.built:
        model.build()
    generator = np.random.default_rng(3)
    for weight in model.weights:
        spread = weight.path.endswith(("variance", "deviation", "gamma"))
        values = generator.normal(size=weight.shape)
        weight.assign(np.abs(values) + 0.5 if spread else values)
