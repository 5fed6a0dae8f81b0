"""What all models have in common: vectors of scenes and products, and their distances.

A model says how the vectors come about (`scene_vectors`, `product_vectors`); what is
ranked with is made of them here.
"""

from __future__ import annotations

import abc
from typing import Any

import keras
from keras import ops

from trainer.configuration.config import ModelConfig
from trainer.models.distances import distance_matrix, own_attention, query_vectors
from trainer.models.grids import averaging_matrix
from trainer.models.pair_vectors import ProductVectors, SceneVectors


class EmbeddingModel(keras.Model, abc.ABC):
    """A model over cached features.

    Attributes:
        global_dim: of the backbone's pooled features.
        categories: names, in the order of the model's tables.
        sizes: which distance, and what its vectors are like.
    """

    def __init__(
        self,
        *,
        global_dim: int,
        categories: list[str],
        sizes: ModelConfig,
        **kwargs: Any,
    ) -> None:
        """Set the attributes; `kwargs` are those that every Keras model takes."""
        super().__init__(**kwargs)
        self.global_dim = global_dim
        self.categories = list(categories)
        self.sizes = sizes

    @abc.abstractmethod
    def product_vectors(self, pooled: keras.KerasTensor) -> ProductVectors:
        """Vectors of products, [n, global_dim]."""

    @abc.abstractmethod
    def scene_vectors(
        self,
        pooled: keras.KerasTensor,
        regions: keras.KerasTensor,
        category: keras.KerasTensor,
    ) -> SceneVectors:
        """Vectors of scenes, each for a category; arguments as in `embed_scenes`."""

    @property
    def is_inner_product(self) -> bool:
        """Whether distances are 2 − q·f_p."""
        return self.sizes.is_inner_product

    def distances(
        self, scenes: SceneVectors, products: ProductVectors
    ) -> keras.KerasTensor:
        """Distances of all scenes to all products, [n, m]."""
        return distance_matrix(
            scenes,
            products,
            distance=self.sizes.distance,
            squared=self.sizes.squared,
            near_regions=self.sizes.near_regions,
        )

    def attention_for(
        self, scenes: SceneVectors, products: ProductVectors
    ) -> keras.KerasTensor:
        """Attention of n scenes, each for its own of n products, [n, n_regions].

        Uniform over one region where none counts.
        """
        if scenes.local is None:
            return ops.ones_like(scenes.scene[:, :1])
        if scenes.attention is not None:
            return scenes.attention
        return own_attention(scenes, products, near_regions=self.sizes.near_regions)

    def regridded(self, regions: keras.KerasTensor) -> keras.KerasTensor:
        """Regions in the model's grid: [n, n_regions, dim] to [n, grid × grid, dim]."""
        if self.sizes.grid is None or self.sizes.grid**2 == regions.shape[1]:
            return regions
        means = averaging_matrix(regions.shape[1], self.sizes.grid)
        return ops.matmul(means, ops.cast(regions, "float32"))

    def embed_products(self, pooled: keras.KerasTensor) -> keras.KerasTensor:
        """f_p: [n, global_dim] to unit vectors [n, embedding_dim]."""
        return self.product_vectors(pooled).vectors

    def embed_scenes(
        self,
        pooled: keras.KerasTensor,
        regions: keras.KerasTensor,
        category: keras.KerasTensor,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Query vectors q and attention a of scenes, each for a category.

        Args:
            pooled: [n, global_dim].
            regions: [n, n_regions, region_dim].
            category: [n] int32.

        Returns:
            q [n, embedding_dim], for which the distance is 2 − q·f_p, and
            a [n, n_regions], uniform where no region counts.

        Raises:
            ValueError: the model's distance is no inner product.
        """
        self.check_inner_product()
        scenes = self.scene_vectors(pooled, regions, category)
        attention = scenes.attention
        if attention is None:
            regions = self.regridded(regions)
            n_regions = regions.shape[1]
            attention = ops.ones_like(regions[..., 0], dtype="float32") / n_regions
        return query_vectors(scenes, distance=self.sizes.distance), attention

    def embed_queries(
        self, pooled: keras.KerasTensor, regions: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The query vectors of `queries_and_attention`."""
        return self.queries_and_attention(pooled, regions)[0]

    def queries_and_attention(
        self, pooled: keras.KerasTensor, regions: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor | None]:
        """Query vectors of scenes for every category, and where they come from.

        Args:
            pooled: [n, global_dim].
            regions: [n, n_regions, region_dim].

        Returns:
            q [n, n_categories, embedding_dim] and a [n, n_categories, n_regions]; None
            of a model that pays no attention, or the same to all regions.

        Raises:
            ValueError: the model's distance is no inner product.
        """
        # Of a model that does not tell categories apart.
        any_category = ops.zeros((pooled.shape[0],), "int32")
        query, _ = self.embed_scenes(pooled, regions, any_category)
        many = ops.repeat(ops.expand_dims(query, 1), len(self.categories), axis=1)
        return many, None

    def check_inner_product(self) -> None:
        """Raise where there are no query vectors."""
        if not self.sizes.is_inner_product:
            raise ValueError(
                "no query vector gives the distances of a model with "
                f"attention={self.sizes.attention}, squared={self.sizes.squared}"
            )
