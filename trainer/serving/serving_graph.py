"""The whole way from JPEG bytes to vectors as TensorFlow graphs, for a SavedModel.

    embed_scene    images [n] string, category [n] string
                   → query [n, dim] float32, attention [n, rows, cols] float32
    embed_product  images [n] string → vector [n, dim] float32

The distance of a product to a scene is 2 − query · vector (see `trainer.models.model`).
What the graphs compute is what the pipeline does in three steps: pixels as Pillow makes
them (`trainer.pictures.picture_graph`), the backbone, its features rounded to float16
as the cache keeps them, and the heads. Only the rounding of the backbone's sums
differs: features are extracted with XLA in batches of 32.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfrecords_schema.errors import InputError
from trainer.models.embedding_model import EmbeddingModel
from trainer.pictures.picture_graph import decode_pictures
from trainer.pictures.pictures import PictureLimits

SCENE, PRODUCT = "embed_scene", "embed_product"


class ServingModule(tf.Module):
    """A backbone and a model's heads, from JPEG bytes on.

    Attributes:
        limits: what a picture may measure.
    """

    def __init__(
        self, backbone: keras.Model, model: EmbeddingModel, limits: PictureLimits
    ) -> None:
        """Wrap what was loaded.

        Raises:
            InputError: Keras runs on another backend than TensorFlow.
        """
        if keras.backend.backend() != "tensorflow":
            raise InputError(
                f"a SavedModel cannot be made with Keras on {keras.backend.backend()}; "
                "set KERAS_BACKEND=tensorflow"
            )
        super().__init__("style")
        self.limits = limits
        self._backbone, self._model = (_Untracked(part) for part in (backbone, model))
        # Variables alone: whole Keras models would bring their layers' own graphs.
        self._variables = [w.value for part in (backbone, model) for w in part.weights]

    def signatures(self) -> dict[str, Any]:
        """The traced functions by name."""
        embed_scene = tf.function(self._embed_scene, autograph=False)
        embed_product = tf.function(self._embed_product, autograph=False)
        images = tf.TensorSpec((None,), tf.string, "images")
        category = tf.TensorSpec((None,), tf.string, "category")
        return {
            SCENE: embed_scene.get_concrete_function(images, category),
            PRODUCT: embed_product.get_concrete_function(images),
        }

    def _embed_scene(
        self, images: tf.Tensor, category: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Queries and attention of scenes, each for a category.

        Args:
            images: [n] string, JPEG files.
            category: [n] string, names.

        Returns:
            `query` [n, dim] and `attention` [n, rows, cols], float32.
        """
        same = tf.debugging.assert_equal(
            tf.size(images), tf.size(category), "as many categories as images are due"
        )
        with tf.control_dependencies([same]):
            numbers = self._numbers(category)
        with tf.control_dependencies([numbers]):  # before the costly part
            pooled, regions = self._features(images)
        grid = regions.shape[1:3]
        regions = tf.reshape(regions, (-1, math.prod(grid), regions.shape[3]))
        query, attention = self._model.value.embed_scenes(pooled, regions, numbers)
        shape = attention_grid(attention.shape[1], grid)
        return {"query": query, "attention": tf.reshape(attention, (-1, *shape))}

    def _embed_product(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Unit vectors of products.

        Args:
            images: [n] string, JPEG files.

        Returns:
            `vector` [n, dim] float32.
        """
        pooled, _ = self._features(images)
        return {"vector": self._model.value.embed_products(pooled)}

    def _features(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Pooled features [n, global_dim] and regions [n, rows, cols, region_dim]."""
        n = tf.size(images)
        pixels = decode_pictures(images, self.limits)
        # Convolutions of some processors fail where there is no picture at all.
        blank = tf.zeros((1, *pixels.shape[1:]), pixels.dtype)
        pixels = tf.cond(n > 0, lambda: pixels, lambda: blank)
        pixels = tf.cast(pixels, tf.float32)
        outputs = self._backbone.value(pixels, training=False)
        return _as_cached(outputs["global"][:n]), _as_cached(outputs["regions"][:n])

    def _numbers(self, category: tf.Tensor) -> tf.Tensor:
        """Places of categories in the model's table, [n] int32."""
        known = tf.constant(self._model.value.categories)
        same = category[:, tf.newaxis] == known
        missing = tf.logical_not(tf.reduce_any(same, axis=1))
        check = tf.debugging.Assert(
            tf.logical_not(tf.reduce_any(missing)),
            [
                "the model does not know category",
                tf.boolean_mask(category, missing),
                "but only",
                known,
            ],
            summarize=100,
        )
        with tf.control_dependencies([check]):
            return tf.argmax(same, axis=1, output_type=tf.int32)


class _Untracked:
    """Holds a model where `tf.Module` does not look for things to save."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _as_cached(features: tf.Tensor) -> tf.Tensor:
    """Features rounded to float16, as the cache keeps them, in float32."""
    half = tf.debugging.check_numerics(
        tf.cast(features, tf.float16), "the backbone's features are beyond float16"
    )
    return tf.cast(half, tf.float32)


def attention_grid(n_regions: int, backbone: tuple[int, ...]) -> tuple[int, ...]:
    """Rows and columns of the attention.

    Args:
        n_regions: that the attention has weights for.
        backbone: rows and columns of the backbone's regions.

    Returns:
        Those of the backbone, unless the model looks at another grid of regions; that
        one is square, or else told as one row.
    """
    if n_regions == math.prod(backbone):
        return tuple(backbone)
    side = math.isqrt(n_regions)
    return (side, side) if side * side == n_regions else (1, n_regions)
