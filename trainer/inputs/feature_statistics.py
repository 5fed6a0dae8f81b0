"""Mean and deviation of features that are larger than memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.inputs.rows import Rows

_BLOCK = 64  # scenes: 26 MB of ResNet50 regions in float64


class RunningStatistics:
    """Mean and standard deviation of each feature, in float64, from block to block."""

    def __init__(self) -> None:
        self._count = 0
        self._shift = self._total = self._squares = np.zeros(0)

    def add(self, features: np.ndarray) -> None:
        """Take account of a block [n, ..., dim]; n may be 0."""
        if not len(features):
            return
        dim = features.shape[-1]
        if not self._count:
            # Shifted by a first guess of the mean: the mean is large against the
            # deviation, and the difference of two large sums would lose it.
            first = np.asarray(features[:1], np.float64).reshape(-1, dim)
            self._shift = first.mean(axis=0)
            self._total, self._squares = np.zeros(dim), np.zeros(dim)
        block = np.asarray(features, np.float64).reshape(-1, dim) - self._shift
        self._count += len(block)
        self._total += block.sum(axis=0)
        self._squares += np.square(block).sum(axis=0)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation, both [dim] float32."""
        mean = self._total / self._count
        variance = np.maximum(self._squares / self._count - np.square(mean), 0.0)
        mean = self._shift + mean
        return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def feature_statistics(
    features: Rows, prepare: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, block by block.

    Args:
        features: [n, ..., dim], or n of what they are made of; may be larger than
            memory.
        prepare: makes [b, ..., dim] of b of them.

    Returns:
        Both [dim] float32.
    """
    running = RunningStatistics()
    for start in range(0, len(features), _BLOCK):
        running.add(np.asarray(prepare(features[start : start + _BLOCK])))
    return running.result()
