"""Mean and deviation of features that are larger than memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_BLOCK = 64  # scenes: 26 MB of ResNet50 regions in float64


def feature_statistics(
    features: np.ndarray, prepare: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, in float64, block by block.

    Args:
        features: [n, ..., dim], or n of what they are made of; may be mapped from a
            file.
        prepare: makes [b, ..., dim] of b of them.

    Returns:
        Both [dim] float32.
    """
    first = np.asarray(prepare(features[:1]), np.float64)
    dim = first.shape[-1]
    count, total, squares = 0, np.zeros(dim), np.zeros(dim)
    # Shifted by a first guess of the mean: the mean is large against the deviation,
    # and the difference of two large sums would lose it.
    shift = first.reshape(-1, dim).mean(axis=0)
    for start in range(0, len(features), _BLOCK):
        block = np.asarray(prepare(features[start : start + _BLOCK]), np.float64)
        block = block.reshape(-1, dim) - shift
        count += len(block)
        total += block.sum(axis=0)
        squares += np.square(block).sum(axis=0)
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0.0)
    return (shift + mean).astype(np.float32), np.sqrt(variance).astype(np.float32)
