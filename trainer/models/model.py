"""The style embedding: scenes and products in one space, close where they match.

f_s, f_p = g(pooled features) of scene and product, f_i = l(region i), a the attention
of the regions for the product's category; the distance is `trainer.models.distances`'.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from trainer.configuration.config import BY_PRODUCT, Attention, Distance
from trainer.configuration.config_fields import model_config_from_dict
from trainer.models.embedding_model import EmbeddingModel
from trainer.models.layers import PACKAGE, CategoryAttention, EmbeddingHead, Standardize
from trainer.models.pair_vectors import ProductVectors, SceneVectors


@keras.saving.register_keras_serializable(PACKAGE)
class StyleModel(EmbeddingModel):
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
        super().__init__(
            global_dim=global_dim,
            categories=categories,
            sizes=model_config_from_dict(sizes or {}),
            **kwargs,
        )
        self.region_dim = region_dim
        self.precision = precision
        self.standardize_pooled = Standardize(name="standardize_pooled")
        self.standardize_regions = Standardize(name="standardize_regions")
        self.global_head = self._head("global_head", self.sizes.global_units)
        if self._uses_regions:
            self.local_head = self._head("local_head", self.sizes.local_units)
        if self._uses_keys:
            units = self.sizes.key_units or self.sizes.local_units
            self.key_head = self._head("key_head", units)
        if self._uses_keys and self.sizes.attention is Attention.CATEGORY:
            self.attention = CategoryAttention(
                len(self.categories),
                self.sizes.embedding_dim,
                near=self.sizes.near_regions,
                name="attention",
            )
        if self._keys_pooled:
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
        return self._uses_keys and self.sizes.attention in BY_PRODUCT

    @property
    def _keys_pooled(self) -> bool:
        return self._keys_products and self.sizes.attention is Attention.PRODUCT

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
        if self._keys_pooled:
            self.product_key_head.build(pooled)
        self.built = True

    def call(
        self, pairs: dict[str, keras.KerasTensor], training: bool = False
    ) -> tuple[SceneVectors, ProductVectors]:
        """Vectors of a batch.

        Args:
            pairs: `scene` [n, global_dim], `regions` [n, n_regions, region_dim],
                `category` [n] int32, `products` [m, global_dim], and
                `product_regions` [m, region_dim] where they are looked for.
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
        local, keys, attention, wanted = self._regions(
            pairs["regions"],
            pairs["category"],
            pairs.get("product_regions"),
            training=training,
        )
        if self._keys_pooled:
            wanted = self.product_key_head(pooled[n_scenes:], training=training)
        return (
            SceneVectors(vectors[:n_scenes], local, keys, attention),
            ProductVectors(vectors[n_scenes:], wanted),
        )

    def _regions(
        self,
        regions: keras.KerasTensor,
        category: keras.KerasTensor,
        of_products: keras.KerasTensor | None = None,
        *,
        training: bool = False,
    ) -> tuple[keras.KerasTensor | None, ...]:
        """f_i, l̂ and attention of regions (see `SceneVectors`), and l̂ of products.

        The last is None unless there are regions of products.
        """
        if not self._uses_regions:
            return None, None, None, None
        regions = self.standardize_regions(self.regridded(regions))
        local = self.local_head(regions, training=training)
        if not self._uses_keys:
            n_regions = local.shape[1]
            return local, None, ops.ones_like(local[..., 0]) / n_regions, None
        if of_products is None or not self._keys_products:
            keys, wanted = self.key_head(regions, training=training), None
        else:
            keys, wanted = self._both_keys(regions, of_products, training=training)
        if self._keys_products:
            return local, keys, None, wanted
        return local, keys, self.attention(keys, category), None

    def _both_keys(
        self,
        regions: keras.KerasTensor,
        of_products: keras.KerasTensor,
        *,
        training: bool,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """l̂ of scenes' regions and of products, in one pass as pooled features are.

        Args:
            regions: [n, n_regions, region_dim], standardised.
            of_products: [m, region_dim].
            training: whether dropout and batch statistics are in force.

        Returns:
            [n, n_regions, embedding_dim] and [m, embedding_dim].
        """
        n_regions = regions.shape[1]
        rows = ops.reshape(regions, (1, -1, self.region_dim))
        more = ops.expand_dims(self.standardize_regions(of_products), 0)
        keys = self.key_head(ops.concatenate([rows, more], axis=1), training=training)
        n_rows, dim = ops.shape(rows)[1], self.sizes.embedding_dim
        return ops.reshape(keys[:, :n_rows], (-1, n_regions, dim)), keys[0, n_rows:]

    def product_vectors(
        self, pooled: keras.KerasTensor, regions: keras.KerasTensor | None = None
    ) -> ProductVectors:
        """Vectors of products.

        Args:
            pooled: [n, global_dim].
            regions: [n, region_dim], where the attention looks for them.
        """
        pooled = self.standardize_pooled(pooled)
        wanted = None
        if self._keys_pooled:
            wanted = self.product_key_head(pooled, training=False)
        elif self._keys_products:
            cells = ops.expand_dims(self.standardize_regions(regions), 1)
            wanted = self.key_head(cells, training=False)[:, 0]
        return ProductVectors(self.global_head(pooled, training=False), wanted)

    def scene_vectors(
        self,
        pooled: keras.KerasTensor,
        regions: keras.KerasTensor,
        category: keras.KerasTensor,
    ) -> SceneVectors:
        """Vectors of scenes, each for a category; arguments as in `embed_scenes`."""
        scene = self.global_head(self.standardize_pooled(pooled), training=False)
        return SceneVectors(scene, *self._regions(regions, category)[:3])

    def queries_and_attention(
        self, pooled: keras.KerasTensor, regions: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor | None]:
        """See `EmbeddingModel`; each region is embedded once for all categories."""
        self.check_inner_product()
        if not (self._uses_keys and self.sizes.attention is Attention.CATEGORY):
            return super().queries_and_attention(pooled, regions)
        scene = self.embed_products(pooled)
        regions = self.standardize_regions(self.regridded(regions))
        local = self.local_head(regions, training=False)
        attention = self.attention.over_categories(
            self.key_head(regions, training=False)
        )
        attended = ops.matmul(attention, local)
        if self.sizes.distance is Distance.LOCAL:
            return 2.0 * attended, attention
        return ops.expand_dims(scene, 1) + attended, attention

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().get_config() | {
            "global_dim": self.global_dim,
            "region_dim": self.region_dim,
            "categories": self.categories,
            "sizes": dataclasses.asdict(self.sizes),
            "precision": self.precision,
        }
