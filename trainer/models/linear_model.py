"""The model of preset `best`: two linear maps, found in closed form.

f_s and f_p are the unit vectors of W x, with x the standardised roots of the pooled
features, for scenes less the mean of the queried category. The distance is
‖f_s − f_p‖². `trainer.models.linear_projection` has where W comes from.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.configuration.config import Attention, Distance, ModelConfig
from trainer.models.embedding_model import EmbeddingModel
from trainer.models.layers import PACKAGE, Standardize, unit_vectors
from trainer.models.linear_projection import LinearProjection, Side
from trainer.models.pair_vectors import ProductVectors, SceneVectors


@keras.saving.register_keras_serializable(PACKAGE)
class LinearStyleModel(EmbeddingModel):
    """Ranks by linear maps of pooled features; regions do not count."""

    def __init__(
        self,
        *,
        global_dim: int,
        categories: list[str],
        embedding_dim: int,
        **kwargs: Any,
    ) -> None:
        """Set sizes.

        Args:
            global_dim: of the backbone's pooled features.
            categories: names, in the order of the table of their means.
            embedding_dim: of the common space.
            **kwargs: as every Keras model takes.
        """
        super().__init__(
            global_dim=global_dim,
            categories=categories,
            sizes=ModelConfig(
                embedding_dim=embedding_dim,
                distance=Distance.GLOBAL,
                attention=Attention.UNIFORM,
            ),
            **kwargs,
        )
        self.standardize_scenes = Standardize(name="standardize_scenes")
        self.standardize_products = Standardize(name="standardize_products")
        self.scene_map = keras.layers.Dense(embedding_dim, name="scene_map")
        self.product_map = keras.layers.Dense(embedding_dim, name="product_map")

    def build(self, *_: Any) -> None:
        """Create the weights; the sizes are known without an input."""
        shape = (None, self.global_dim)
        for layer in (
            self.standardize_scenes,
            self.standardize_products,
            self.scene_map,
            self.product_map,
        ):
            layer.build(shape)
        self.category_means = self.add_weight(
            shape=(len(self.categories), self.sizes.embedding_dim),
            initializer="zeros",
            trainable=False,
            name="category_means",
        )
        self.built = True

    def set_projection(self, projection: LinearProjection) -> None:
        """Take the maps of a projection; its categories are those of the model."""
        for side, standardize, layer in (
            (projection.scenes, self.standardize_scenes, self.scene_map),
            (projection.products, self.standardize_products, self.product_map),
        ):
            standardize.set_statistics(side.mean, side.deviation)
            layer.set_weights([side.kernel(), -side.centre @ side.kernel()])
        self.category_means.assign(_category_means(projection.scenes))

    def call(
        self, pairs: dict[str, keras.KerasTensor], training: bool = False
    ) -> tuple[SceneVectors, ProductVectors]:
        """Vectors of a batch, as those of `trainer.models.model.StyleModel`."""
        return (
            self.scene_vectors(pairs["scene"], pairs["regions"], pairs["category"]),
            self.product_vectors(pairs["products"]),
        )

    def product_vectors(self, pooled: keras.KerasTensor) -> ProductVectors:
        """Vectors of products, [n, global_dim], whatever their category."""
        mapped = self.product_map(self.standardize_products(_roots(pooled)))
        return ProductVectors(unit_vectors(mapped), None)

    def scene_vectors(
        self,
        pooled: keras.KerasTensor,
        regions: keras.KerasTensor,
        category: keras.KerasTensor,
    ) -> SceneVectors:
        """Vectors of scenes, each for a category; the regions are not looked at."""
        means = ops.take(self.category_means, category, axis=0)
        return SceneVectors(
            unit_vectors(self._mapped_scenes(pooled) - means),
            None,
            None,
            None,
        )

    def queries_and_attention(
        self, pooled: keras.KerasTensor, regions: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, None]:
        """See `EmbeddingModel.queries_and_attention`."""
        mapped = ops.expand_dims(self._mapped_scenes(pooled), 1)
        return 2.0 * unit_vectors(mapped - self.category_means), None

    def _mapped_scenes(self, pooled: keras.KerasTensor) -> keras.KerasTensor:
        """Before their category is taken into account, [n, embedding_dim]."""
        return self.scene_map(self.standardize_scenes(_roots(pooled)))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().get_config() | {
            "global_dim": self.global_dim,
            "categories": self.categories,
            "embedding_dim": self.sizes.embedding_dim,
        }


def _roots(pooled: keras.KerasTensor) -> keras.KerasTensor:
    return ops.sqrt(ops.maximum(ops.cast(pooled, "float32"), 0.0))


def _category_means(side: Side) -> np.ndarray:
    """[n_categories, embedding_dim]: where the map takes each category's mean."""
    means: np.ndarray = side.centres @ side.kernel()
    return means
