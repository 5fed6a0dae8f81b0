"""Statistics of features against float64."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.inputs.feature_statistics import feature_statistics


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(1, 5), (63, 5), (64, 5), (150, 7, 5)])
def test_statistics_are_those_of_float64(seed: int, shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(seed)
    features = generator.normal(3.0, 2.0, shape).astype(np.float16)
    wide = features.astype(np.float64).reshape(-1, shape[-1])
    mean, deviation = feature_statistics(features)
    assert mean.dtype == deviation.dtype == np.float32
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, wide.std(axis=0), rtol=1e-6)


def test_statistics_keep_a_small_deviation_about_a_large_mean() -> None:
    generator = np.random.default_rng(0)
    # In float32 a sum of squares of these keeps nothing of the deviation.
    features = (1e6 + generator.normal(0.0, 0.25, (3000, 2))).astype(np.float32)
    features[:, 1] = 60_000.0
    mean, deviation = feature_statistics(features)
    wide = features.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(deviation[0], wide[:, 0].std(), rtol=1e-5)
    assert deviation[1] == 0.0
