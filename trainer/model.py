"""The style embedding: scenes and products in one space, close where they match.

    d_global = ‖f_s − f_p‖²
    d_local  = Σ_i a_i ‖f_i − f_p‖²
    d        = ½ (d_global + d_local)            (Kang et al. 2019, equations 4, 5, 7)

f_s, f_p = g(pooled features) of scene and product, f_i = l(region i), a the attention
of the regions for the product's category, all f unit vectors. Because of that, and as
Σ a_i = 1, d = 2 − q·f_p with q = f_s + Σ a_i f_i: ranking needs one vector a query.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from trainer.config import ModelConfig
from trainer.layers import (
    PACKAGE,
    CategoryAttention,
    EmbeddingHead,
    Standardize,
    squared_distance,
)


@keras.saving.register_keras_serializable(PACKAGE)
class StyleModel(keras.Model):
    """Preset `paper`: the published model over cached features."""

    def __init__(
        self,
        *,
        global_dim: int,
        region_dim: int,
        categories: list[str],
        sizes: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Set sizes.

        Args:
            global_dim: of the backbone's pooled features.
            region_dim: of its regions.
            categories: names, in the order of the attention's table.
            sizes: fields of `ModelConfig`.
            **kwargs: as every Keras model takes.
        """
        super().__init__(**kwargs)
        self.global_dim = global_dim
        self.region_dim = region_dim
        self.categories = list(categories)
        self.sizes = ModelConfig(**(sizes or {}))
        dim, rate = self.sizes.embedding_dim, self.sizes.dropout
        self.standardize_pooled = Standardize(name="standardize_pooled")
        self.standardize_regions = Standardize(name="standardize_regions")
        self.global_head = EmbeddingHead(
            self.sizes.global_units, dim, dropout=rate, name="global_head"
        )
        self.local_head = EmbeddingHead(
            self.sizes.local_units, dim, dropout=rate, name="local_head"
        )
        self.key_head = EmbeddingHead(
            self.sizes.local_units, dim, dropout=rate, name="key_head"
        )
        self.attention = CategoryAttention(len(self.categories), dim, name="attention")

    def build(self, *_: Any) -> None:
        """Create the weights; the sizes are known without an input."""
        self.standardize_pooled.build((None, self.global_dim))
        self.standardize_regions.build((None, None, self.region_dim))
        self.global_head.build((None, self.global_dim))
        self.local_head.build((None, None, self.region_dim))
        self.key_head.build((None, None, self.region_dim))
        self.attention.build()
        self.built = True

    def call(
        self, triplets: dict[str, keras.KerasTensor], training: bool = False
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Distances of triplets.

        Args:
            triplets: `scene` [n, global_dim], `regions` [n, n_regions, region_dim],
                `category` [n] int32, `positive` and `negative` [n, global_dim].
            training: whether dropout and batch statistics are in force.

        Returns:
            Distance of scene to positive and of scene to negative, each [n].
        """
        # One pass, so that batch statistics see scenes and products alike.
        names = ("scene", "positive", "negative")
        pooled = ops.concatenate([triplets[name] for name in names])
        scene, positive, negative = ops.split(
            self.global_head(self.standardize_pooled(pooled), training=training), 3
        )
        local, attention = self._regions(
            triplets["regions"], triplets["category"], training=training
        )
        return (
            hybrid_distance(scene, local, attention, positive),
            hybrid_distance(scene, local, attention, negative),
        )

    def _regions(
        self,
        regions: keras.KerasTensor,
        category: keras.KerasTensor,
        *,
        training: bool = False,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Region embeddings [n, n_regions, dim] and their attention [n, n_regions]."""
        regions = self.standardize_regions(regions)
        keys = self.key_head(regions, training=training)
        return (
            self.local_head(regions, training=training),
            self.attention(keys, category),
        )

    def embed_products(self, pooled: keras.KerasTensor) -> keras.KerasTensor:
        """f_p: [n, global_dim] to unit vectors [n, embedding_dim]."""
        return self.global_head(self.standardize_pooled(pooled), training=False)

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
            q = f_s + Σ a_i f_i, [n, embedding_dim], and a, [n, n_regions].
        """
        local, attention = self._regions(regions, category)
        attended = ops.sum(ops.expand_dims(attention, -1) * local, axis=1)
        return self.embed_products(pooled) + attended, attention

    def embed_queries(
        self, pooled: keras.KerasTensor, regions: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Query vectors of scenes for every category; each region is embedded once.

        Args:
            pooled: [n, global_dim].
            regions: [n, n_regions, region_dim].

        Returns:
            [n, n_categories, embedding_dim].
        """
        regions = self.standardize_regions(regions)
        local = self.local_head(regions, training=False)
        attention = self.attention.over_categories(self.key_head(regions))
        scene = self.embed_products(pooled)
        return ops.expand_dims(scene, 1) + ops.matmul(attention, local)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().get_config() | {
            "global_dim": self.global_dim,
            "region_dim": self.region_dim,
            "categories": self.categories,
            "sizes": dataclasses.asdict(self.sizes),
        }


def hybrid_distance(
    scene: keras.KerasTensor,
    local: keras.KerasTensor,
    attention: keras.KerasTensor,
    product: keras.KerasTensor,
) -> keras.KerasTensor:
    """Hybrid distance d = ½ (d_global + d_local).

    Args:
        scene: f_s, [n, dim].
        local: f_i, [n, n_regions, dim].
        attention: a, [n, n_regions].
        product: f_p, [n, dim].

    Returns:
        [n].
    """
    to_regions = squared_distance(local, ops.expand_dims(product, 1))
    d_local = ops.sum(attention * to_regions, axis=-1)
    return 0.5 * (squared_distance(scene, product) + d_local)


def triplet_loss(
    positive: keras.KerasTensor, negative: keras.KerasTensor, margin: float
) -> keras.KerasTensor:
    """max(0, d⁺ − d⁻ + margin) of each triplet, [n] (Kang et al. 2019, equation 8)."""
    return ops.relu(positive - negative + margin)
