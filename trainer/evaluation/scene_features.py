"""Cached features as an evaluation asks for them: of pictures, crops and scenes."""

from __future__ import annotations

import enum
import functools
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np


class SceneView(enum.StrEnum):
    """What of a pair's scene is looked at."""

    CROP = "crop"  # off the product, as in training
    WHOLE = "whole"  # with the product in it
    BLANKED = "blanked"  # whole, the product's grown box covered


class Features(Protocol):
    """Cached backbone features; `trainer.inputs.features.FeatureReader` is one."""

    def pooled(self, keys: Sequence[str]) -> np.ndarray:
        """[n, global_dim] float16, in the order of the keys."""
        ...

    def regions(self, keys: Sequence[str]) -> np.ndarray:
        """[n, n_regions, region_dim] float16, in the order of the keys."""
        ...

    def scenes(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Both of scenes, in one pass over their records."""
        ...


class RecentScenes:
    """Features of scenes, those last read kept: several scorers ask for the same block.

    A scene's pooled features lie in one record with its regions, which are nearly all
    of it, so reading either reads both.

    Attributes:
        read_s: seconds spent reading.
    """

    def __init__(self, features: Features) -> None:
        """Wrap a source.

        Args:
            features: of scenes and products; the products are read as they are.
        """
        self.read_s = 0.0
        self._features = features
        # A block of each view: three times 26 MB of ResNet50 features.
        self._recent = functools.lru_cache(maxsize=len(SceneView))(self._read)

    def pooled(self, keys: Sequence[str]) -> np.ndarray:
        """See `Features.pooled`."""
        return self.scenes(keys)[0]

    def regions(self, keys: Sequence[str]) -> np.ndarray:
        """See `Features.regions`."""
        return self.scenes(keys)[1]

    def scenes(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Features.scenes`; the arrays are shared and cannot be written to."""
        return self._recent(tuple(keys))

    def _read(self, keys: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        started = time.perf_counter()
        pooled, regions = self._features.scenes(keys)
        for shared in (pooled, regions):
            shared.flags.writeable = False
        self.read_s += time.perf_counter() - started
        return pooled, regions
