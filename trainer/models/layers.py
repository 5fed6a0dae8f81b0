"""Layers of the style embedding, in `keras.ops` only, so they run on any backend."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

PACKAGE = "complete_the_look"

_LEAST_SQUARED_LENGTH = 1e-14
"""Of a vector that has a direction: what is shorter is taken for zeros."""


def unit_vectors(vectors: keras.KerasTensor) -> keras.KerasTensor:
    """Vectors over their length, [..., dim] float32; one of zeros stays as it is.

    What `ops.normalize` gives, with a gradient that is a number for zeros as well:
    there XLA makes NaN of its infinity times zero.
    """
    square = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(square, _LEAST_SQUARED_LENGTH))


@keras.saving.register_keras_serializable(PACKAGE)
class Standardize(keras.layers.Layer):
    """(x − mean) / deviation over the last axis, with statistics that are set once.

    A backbone's features share a large mean and differ in scale by orders of magnitude;
    heads trained on a few thousand pairs do much better without both.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the statistics, which leave the input as it is until they are set."""
        shape = (input_shape[-1],)
        self.mean = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, name="mean"
        )
        self.deviation = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="deviation"
        )

    def set_statistics(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Set both, [dim] each; a feature that never varies is left unscaled."""
        self.mean.assign(mean)
        self.deviation.assign(np.where(deviation > 0, deviation, 1.0))

    def call(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """[..., dim] of any float type to [..., dim] float32."""
        return (ops.cast(features, "float32") - self.mean) / self.deviation


@keras.saving.register_keras_serializable(PACKAGE)
class EmbeddingHead(keras.layers.Layer):
    """Dense-BatchNorm-ReLU-Dropout-Dense-L2: features to unit vectors.

    Applied to the last axis, so one head serves pooled features [n, dim] and regions
    [n, n_regions, dim] (Kang et al. 2019, section 4.2).
    """

    def __init__(
        self, units: int, embedding_dim: int, *, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        """Set sizes.

        Args:
            units: of the first dense layer.
            embedding_dim: of the unit vectors.
            dropout: share of the first layer's outputs dropped in training.
            **kwargs: as every Keras layer takes.
        """
        super().__init__(**kwargs)
        self.units = units
        self.embedding_dim = embedding_dim
        self.dropout_rate = dropout
        policy = self.dtype_policy
        # The batch norm's offset makes a bias before it redundant.
        self.hidden = keras.layers.Dense(
            units, use_bias=False, name="hidden", dtype=policy
        )
        self.norm = keras.layers.BatchNormalization(
            # Keras's 0.99 takes hundreds of steps to forget the initial values, which
            # is more than a small catalogue's whole training.
            momentum=0.9,
            # Over all replicas, or several would train another model than one. Only
            # this backend has replicas that run apart.
            synchronized=keras.backend.backend() == "tensorflow",
            name="norm",
            dtype=policy,
        )
        self.dropout = keras.layers.Dropout(dropout, name="dropout", dtype=policy)
        self.project = keras.layers.Dense(embedding_dim, name="project", dtype=policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        hidden_shape = (*input_shape[:-1], self.units)
        self.hidden.build(input_shape)
        self.norm.build(hidden_shape)
        self.project.build(hidden_shape)

    def call(
        self, features: keras.KerasTensor, training: bool = False
    ) -> keras.KerasTensor:
        """[..., dim] to unit vectors [..., embedding_dim] float32."""
        hidden = self.norm(self.hidden(features), training=training)
        hidden = self.dropout(ops.relu(hidden), training=training)
        return unit_vectors(ops.cast(self.project(hidden), "float32"))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().get_config() | {
            "units": self.units,
            "embedding_dim": self.embedding_dim,
            "dropout": self.dropout_rate,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class CategoryAttention(keras.layers.Layer):
    """Which regions of a scene matter for a category.

    a_i = softmax_i(−‖k_i − ê_c‖²) with a learned unit vector ê_c per category (Kang et
    al. 2019, equation 6).
    """

    def __init__(
        self,
        n_categories: int,
        embedding_dim: int,
        *,
        near: bool = True,
        **kwargs: Any,
    ) -> None:
        """Set sizes.

        Args:
            n_categories: rows of the table of category vectors.
            embedding_dim: of the vectors.
            near: whether regions near to the vector count most, as published; else
                those far from it: the softmax without its minus sign.
            **kwargs: as every Keras layer takes.
        """
        super().__init__(**kwargs)
        self.near = near
        self.n_categories = n_categories
        self.embedding_dim = embedding_dim
        self.table = keras.layers.Embedding(
            n_categories,
            embedding_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=0.1),
            name="categories",
        )

    def build(self, *_: Any) -> None:
        """Create the weights."""
        self.table.build((None,))

    def call(
        self, keys: keras.KerasTensor, category: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Attention of each region.

        Args:
            keys: [n, n_regions, embedding_dim] unit vectors.
            category: [n] int32 rows of the table.

        Returns:
            [n, n_regions], each row summing to 1.
        """
        vector = unit_vectors(self.table(category))
        return self._softmax(ops.sum(keys * ops.expand_dims(vector, 1), axis=-1))

    def over_categories(self, keys: keras.KerasTensor) -> keras.KerasTensor:
        """Attention of each region for every category.

        Args:
            keys: [n, n_regions, embedding_dim] unit vectors.

        Returns:
            [n, n_categories, n_regions], each row summing to 1.
        """
        vectors = unit_vectors(self.table(ops.arange(self.n_categories)))
        return self._softmax(ops.matmul(vectors, ops.transpose(keys, (0, 2, 1))))

    def _softmax(self, cosines: keras.KerasTensor) -> keras.KerasTensor:
        # For unit vectors −‖k − e‖² = 2 k·e − 2, and softmax ignores the constant.
        return ops.softmax(2.0 * cosines if self.near else -2.0 * cosines, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().get_config() | {
            "n_categories": self.n_categories,
            "embedding_dim": self.embedding_dim,
            "near": self.near,
        }
