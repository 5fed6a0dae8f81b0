"""The style embedding: scenes and products in one space, close where they match.

f_s, f_p = g(pooled features) of scene and product, f_i = l(region i), a the attention
of the regions for the product's category; the distance is `trainer.distances`'.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from trainer.config import Attention, Distance, ModelConfig
from trainer.config_fields import model_config_from_dict
from trainer.distances import distance_matrix, own_attention, query_vectors
from trainer.grids import averaging_matrix
from trainer.layers import PACKAGE, CategoryAttention, EmbeddingHead, Standardize
from trainer.pair_vectors import ProductVectors, SceneVectors


@keras.saving.register_keras_serializable(PACKAGE)
class StyleModel(keras.Model):
    """The published model over cached features, and what is varied of it."""

    def __init__(
        self,
        *,
        global_dim: int,
        region_dim: int,
        categories: list[str],
        sizes: dict[str, Any] | None = None,
        precision: str = "float32",
        **kwargs: Any,
    ) -> None:
        """Set sizes.

        Args:
            global_dim: of the backbone's pooled features.
            region_dim: of its regions.
            categories: names, in the order of the attention's table.
            sizes: fields of `ModelConfig`.
            precision: dtype policy of the heads; see `config.Precision`.
            **kwargs: as every Keras model takes.
        """
        super().__init__(**kwargs)
        self.global_dim = global_dim
        self.region_dim = region_dim
        self.categories = list(categories)
        self.sizes: ModelConfig = model_config_from_dict(sizes or {})
        self.precision = precision
        self.standardize_pooled = Standardize(name="standardize_pooled")
        self.standardize_regions = Standardize(name="standardize_regions")
        self.global_head = self._head("global_head", self.sizes.global_units)
        if self._uses_regions:
            self.local_head = self._head("local_head", self.sizes.local_units)
        if self._uses_keys:
            self.key_head = self._head("key_head", self.sizes.local_units)
        if self._uses_keys and self.sizes.attention is Attention.CATEGORY:
            self.attention = CategoryAttention(
                len(self.categories),
                self.sizes.embedding_dim,
                near=self.sizes.near_regions,
                name="attention",
            )
        if self._keys_products:
            self.product_key_head = self._head(
                "product_key_head", self.sizes.global_units
            )

    def _head(self, name: str, units: int) -> EmbeddingHead:
        return EmbeddingHead(
            units,
            self.sizes.embedding_dim,
            dropout=self.sizes.dropout,
            name=name,
            dtype=self.precision,
        )

    @property
    def _uses_regions(self) -> bool:
        return self.sizes.distance is not Distance.GLOBAL

    @property
    def _uses_keys(self) -> bool:
        return self._uses_regions and self.sizes.attention is not Attention.UNIFORM

    @property
    def _keys_products(self) -> bool:
        return self._uses_keys and self.sizes.attention is Attention.PRODUCT

    @property
    def is_inner_product(self) -> bool:
        """Whether distances are 2 − q·f_p."""
        return self.sizes.is_inner_product

    def build(self, *_: Any) -> None:
        """Create the weights; the sizes are known without an input."""
        pooled, regions = (None, self.global_dim), (None, None, self.region_dim)
        self.standardize_pooled.build(pooled)
        self.standardize_regions.build(regions)
        self.global_head.build(pooled)
        if self._uses_regions:
            self.local_head.build(regions)
        if self._uses_keys:
            self.key_head.build(regions)
        if self._uses_keys and not self._keys_products:
            self.attention.build()
        if self._keys_products:
            self.product_key_head.build(pooled)
        self.built = True

    def call(
        self, pairs: dict[str, keras.KerasTensor], training: bool = False
    ) -> tuple[SceneVectors, ProductVectors]:
        """Vectors of a batch.

        Args:
            pairs: `scene` [n, global_dim], `regions` [n, n_regions, region_dim],
                `category` [n] int32, `products` [m, global_dim].
            training: whether dropout and batch statistics are in force.

        Returns:
            Of n scenes and of m products.
        """
        # One pass, so that batch statistics see scenes and products alike.
        n_scenes = ops.shape(pairs["scene"])[0]
        pooled = self.standardize_pooled(
            ops.concatenate([pairs["scene"], pairs["products"]])
        )
        vectors = self.global_head(pooled, training=training)
        local, keys, attention = self._regions(
            pairs["regions"], pairs["category"], training=training
        )
        wanted = None
        if self._keys_products:
            wanted = self.product_key_head(pooled[n_scenes:], training=training)
        return (
            SceneVectors(vectors[:n_scenes], local, keys, attention),
            ProductVectors(vectors[n_scenes:], wanted),
        )

    def _regions(
        self,
        regions: keras.KerasTensor,
        category: keras.KerasTensor,
        *,
        training: bool = False,
    ) -> tuple[
        keras.KerasTensor | None, keras.KerasTensor | None, keras.KerasTensor | None
    ]:
        """f_i and l̂ of regions, and their attention; see `SceneVectors`."""
        if not self._uses_regions:
            return None, None, None
        regions = self.standardize_regions(self.regridded(regions))
        local = self.local_head(regions, training=training)
        if not self._uses_keys:
            n_regions = local.shape[1]
            return local, None, ops.ones_like(local[..., 0]) / n_regions
        keys = self.key_head(regions, training=training)
        if self._keys_products:
            return local, keys, None
        return local, keys, self.attention(keys, category)

    def regridded(self, regions: keras.KerasTensor) -> keras.KerasTensor:
        """Regions in the model's grid: [n, n_regions, dim] to [n, grid × grid, dim]."""
        if self.sizes.grid is None or self.sizes.grid**2 == regions.shape[1]:
            return regions
        means = averaging_matrix(regions.shape[1], self.sizes.grid)
        return ops.matmul(means, ops.cast(regions, "float32"))

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

    def product_vectors(self, pooled: keras.KerasTensor) -> ProductVectors:
        """Vectors of products, [n, global_dim]."""
        pooled = self.standardize_pooled(pooled)
        wanted = None
        if self._keys_products:
            wanted = self.product_key_head(pooled, training=False)
        return ProductVectors(self.global_head(pooled, training=False), wanted)

    def scene_vectors(
        self,
        pooled: keras.KerasTensor,
        regions: keras.KerasTensor,
        category: keras.KerasTensor,
    ) -> SceneVectors:
        """Vectors of scenes, each for a category; arguments as in `embed_scenes`."""
        scene = self.global_head(self.standardize_pooled(pooled), training=False)
        return SceneVectors(scene, *self._regions(regions, category))

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
        self._check_inner_product()
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
        """Query vectors of scenes for every category; each region is embedded once.

        Args:
            pooled: [n, global_dim].
            regions: [n, n_regions, region_dim].

        Returns:
            [n, n_categories, embedding_dim].

        Raises:
            ValueError: the model's distance is no inner product.
        """
        self._check_inner_product()
        if not (self._uses_keys and self.sizes.attention is Attention.CATEGORY):
            return self._same_query(pooled, regions)
        scene = self.embed_products(pooled)
        regions = self.standardize_regions(self.regridded(regions))
        local = self.local_head(regions, training=False)
        attention = self.attention.over_categories(
            self.key_head(regions, training=False)
        )
        attended = ops.matmul(attention, local)
        if self.sizes.distance is Distance.LOCAL:
            return 2.0 * attended
        return ops.expand_dims(scene, 1) + attended

    def _same_query(
        self, pooled: keras.KerasTensor, regions: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Queries of a model that does not tell categories apart."""
        any_category = ops.zeros((pooled.shape[0],), "int32")
        scenes = self.scene_vectors(pooled, regions, any_category)
        query = query_vectors(scenes, distance=self.sizes.distance)
        return ops.repeat(ops.expand_dims(query, 1), len(self.categories), axis=1)

    def _check_inner_product(self) -> None:
        if not self.sizes.is_inner_product:
            raise ValueError(
                "no query vector gives the distances of a model with "
                f"attention={self.sizes.attention}, squared={self.sizes.squared}"
            )

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().get_config() | {
            "global_dim": self.global_dim,
            "region_dim": self.region_dim,
            "categories": self.categories,
            "sizes": dataclasses.asdict(self.sizes),
            "precision": self.precision,
        }
