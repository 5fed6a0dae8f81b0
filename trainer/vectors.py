"""A model's vectors of the category at hand: each is computed once, whoever asks.

The model and its controls look at the same catalogue and partly at the same scenes.
What they have in common is the network's work, which is nearly all of an evaluation's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from trainer.eval_set import CategoryTask
from trainer.scene_features import Features, SceneView


class StyleModel(Protocol):
    """An exported model; `trainer.export.load_model` gives one."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """With `run_id`, `preset`, `backbone`, `dataset` and `categories`."""
        ...

    def embed_products(self, pooled: np.ndarray) -> np.ndarray:
        """[n, global_dim] float16 → [n, 128] float32, unit vectors."""
        ...

    def embed_scenes(
        self, pooled: np.ndarray, regions: np.ndarray, categories: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Queries and attention of scenes, each for its category.

        Args:
            pooled: [n, global_dim] float16.
            regions: [n, n_regions, region_dim] float16.
            categories: [n] names.

        Returns:
            Queries [n, 128] float32 and attention [n, n_regions] float32.
        """
        ...


class CategoryVectors:
    """Vectors of one model, those of the last category kept.

    Attributes:
        model: the exported model.
    """

    def __init__(self, model: StyleModel, features: Features) -> None:
        """Wrap a model.

        Args:
            model: the exported model.
            features: of its backbone.
        """
        self.model = model
        self._features = features
        self._pooled = self._products = np.empty((0, 0))
        self._task: CategoryTask | None = None
        self._scenes: dict[
            tuple[int, int, SceneView], tuple[np.ndarray, np.ndarray]
        ] = {}

    def products(self, task: CategoryTask) -> np.ndarray:
        """Unit vectors of the category's pictures: [n_pictures, dim] float32."""
        if task.pooled is not self._pooled:
            self._products = self.model.embed_products(task.pooled)
            self._pooled = task.pooled
        return self._products

    def scenes(
        self, task: CategoryTask, rows: slice, view: SceneView = SceneView.CROP
    ) -> tuple[np.ndarray, np.ndarray]:
        """Queries [rows, dim] and attention [rows, n_regions] of pairs' scenes.

        Args:
            task: the category.
            rows: one of its blocks.
            view: what is looked at.
        """
        if task is not self._task:
            self._task, self._scenes = task, {}
        key = (rows.start, rows.stop, view)
        if key not in self._scenes:
            pairs = task.pairs[rows]
            pooled, regions = self._features.scenes([p.scene_key(view) for p in pairs])
            self._scenes[key] = self.model.embed_scenes(
                pooled, regions, [task.category] * len(pairs)
            )
        return self._scenes[key]
