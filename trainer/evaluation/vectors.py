"""A model's vectors of the category at hand: each is computed once, whoever asks.

The model and its controls look at the same catalogue and partly at the same scenes.
What they have in common is the network's work, which is nearly all of an evaluation's.

Most models have query vectors, with which a block of scenes is one matrix product.
Where the distance is no inner product every region is held against every product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tfrecords_schema.layout import Root
from trainer.evaluation.eval_set import CategoryTask
from trainer.evaluation.scene_features import Features, SceneView
from trainer.models.abilities import needs_pictures
from trainer.models.pair_vectors import ProductVectors, SceneVectors


class QueryModel(Protocol):
    """An exported model whose distance is 2 − q·f_p."""

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


class PairModel(Protocol):
    """Any exported model."""

    def product_vectors(self, pooled: np.ndarray) -> ProductVectors:
        """[n, global_dim] float16 → vectors of n products."""
        ...

    def scene_vectors(
        self, pooled: np.ndarray, regions: np.ndarray, categories: Sequence[str]
    ) -> SceneVectors:
        """Vectors of scenes, each for its category; arguments as in `embed_scenes`."""
        ...

    def distances(self, scenes: SceneVectors, products: ProductVectors) -> np.ndarray:
        """[n, m] float32."""
        ...

    def attention(self, scenes: SceneVectors, products: ProductVectors) -> np.ndarray:
        """Of n scenes, each for its own of n products: [n, n_regions] float32."""
        ...


class StyleModel(QueryModel, PairModel, Protocol):
    """What `trainer.models.export.load_model` gives."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """With `run_id`, `preset`, `backbone`, `dataset` and `categories`."""
        ...

    @property
    def has_queries(self) -> bool:
        """Whether it may be asked as a `QueryModel`."""
        ...


class CategoryVectors(Protocol):
    """Vectors of one model, those of the last category kept."""

    def distances(
        self, task: CategoryTask, rows: slice, view: SceneView = SceneView.CROP
    ) -> np.ndarray:
        """Distances of pairs' scenes to the category's pictures.

        Args:
            task: the category.
            rows: one of its blocks of pairs.
            view: what of the scenes is looked at.

        Returns:
            [rows, n_pictures] float32.
        """
        ...

    def attention(self, task: CategoryTask, rows: slice) -> np.ndarray:
        """Attention of pairs' scene crops for their products, [rows, n_regions]."""
        ...


def open_vectors(root: Root, model: StyleModel, features: Features) -> CategoryVectors:
    """Those of a model, from what it looks at.

    Args:
        root: where the pictures are, should it need them.
        model: an exported model.
        features: of its backbone.
    """
    if needs_pictures(model.manifest):
        # It imports TensorFlow.
        from trainer.evaluation.picture_vectors import open_picture_vectors

        return open_picture_vectors(root, model)
    return category_vectors(model, features)


def category_vectors(model: StyleModel, features: Features) -> CategoryVectors:
    """Those of a model that looks at features.

    Args:
        model: an exported model.
        features: of its backbone.
    """
    if model.has_queries:
        return QueryVectors(model, features)
    return PairVectors(model, features)


class QueryVectors:
    """Vectors of a model whose distance is 2 − q·f_p."""

    def __init__(self, model: QueryModel, features: Features) -> None:
        """Wrap a model; the features are of its backbone."""
        self._model = model
        self._features = features
        self._pooled = self._products = np.empty((0, 0))
        self._task: CategoryTask | None = None
        self._scenes: dict[
            tuple[int, int, SceneView], tuple[np.ndarray, np.ndarray]
        ] = {}

    def distances(
        self, task: CategoryTask, rows: slice, view: SceneView = SceneView.CROP
    ) -> np.ndarray:
        """See `CategoryVectors.distances`."""
        queries, _ = self.scenes(task, rows, view)
        found: np.ndarray = np.float32(2) - queries @ self.products(task).T
        return found

    def attention(self, task: CategoryTask, rows: slice) -> np.ndarray:
        """See `CategoryVectors.attention`."""
        return self.scenes(task, rows)[1]

    def products(self, task: CategoryTask) -> np.ndarray:
        """Unit vectors of the category's pictures: [n_pictures, dim] float32."""
        if task.pooled is not self._pooled:
            self._products = self._model.embed_products(task.pooled)
            self._pooled = task.pooled
        return self._products

    def scenes(
        self, task: CategoryTask, rows: slice, view: SceneView = SceneView.CROP
    ) -> tuple[np.ndarray, np.ndarray]:
        """Queries [rows, dim] and attention [rows, n_regions] of pairs' scenes."""
        if task is not self._task:
            self._task, self._scenes = task, {}
        key = (rows.start, rows.stop, view)
        if key not in self._scenes:
            pairs = task.pairs[rows]
            pooled, regions = self._features.scenes([p.scene_key(view) for p in pairs])
            self._scenes[key] = self._model.embed_scenes(
                pooled, regions, [task.category] * len(pairs)
            )
        return self._scenes[key]


class PairVectors:
    """Vectors of a model whose distance is no inner product."""

    def __init__(self, model: PairModel, features: Features) -> None:
        """Wrap a model; the features are of its backbone."""
        self._model = model
        self._features = features
        self._task: CategoryTask | None = None
        self._pooled = np.empty((0, 0))
        self._products: ProductVectors | None = None
        # Regions' vectors of a block are 13 MB with 49 of them: one a view is kept.
        self._scenes: dict[SceneView, tuple[slice, SceneVectors]] = {}

    def distances(
        self, task: CategoryTask, rows: slice, view: SceneView = SceneView.CROP
    ) -> np.ndarray:
        """See `CategoryVectors.distances`."""
        self._turn_to(task)
        return self._model.distances(
            self._scenes_of(task, rows, view), self._products_of(task)
        )

    def attention(self, task: CategoryTask, rows: slice) -> np.ndarray:
        """See `CategoryVectors.attention`."""
        self._turn_to(task)
        own = task.picture_of[task.positives[rows]]
        return self._model.attention(
            self._scenes_of(task, rows, SceneView.CROP),
            self._products_of(task).rows(own),
        )

    def _turn_to(self, task: CategoryTask) -> None:
        if task is not self._task:
            self._task, self._scenes = task, {}

    def _products_of(self, task: CategoryTask) -> ProductVectors:
        # Other pairs of the same category share its catalogue.
        if self._products is None or task.pooled is not self._pooled:
            self._products = self._model.product_vectors(task.pooled)
            self._pooled = task.pooled
        return self._products

    def _scenes_of(
        self, task: CategoryTask, rows: slice, view: SceneView
    ) -> SceneVectors:
        if view not in self._scenes or self._scenes[view][0] != rows:
            pairs = task.pairs[rows]
            pooled, regions = self._features.scenes([p.scene_key(view) for p in pairs])
            found = self._model.scene_vectors(
                pooled, regions, [task.category] * len(pairs)
            )
            self._scenes[view] = (rows, found)
        return self._scenes[view][1]
