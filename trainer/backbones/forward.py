"""A backbone's forward pass as one compiled function of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np

Forward = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""[n, 224, 224, 3] to pooled [n, global_dim] and regions [n, rows, cols, region_dim],
both float32."""


def compile_forward(model: keras.Model) -> Forward:
    """The model's forward pass as one compiled function of NumPy arrays."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def call(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            outputs = model(tf.cast(images, tf.float32), training=False)
            return outputs["global"], outputs["regions"]

        run = tf.function(call, autograph=False, jit_compile=pays_to_fuse(model))
    else:

        def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            outputs = model.predict_on_batch(images)
            return outputs["global"], outputs["regions"]

    def forward(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pooled, regions = run(images)
        return np.asarray(pooled), np.asarray(regions)

    return forward


def pays_to_fuse(model: keras.Model) -> bool:
    """Whether XLA makes the forward pass quicker.

    On a CPU it gains a seventh with ResNet50's plain convolutions, and is ten times
    slower with the depthwise ones of EfficientNet (TensorFlow 2.21).
    """
    return not any(_is_depthwise(layer) for layer in _layers(model))


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _is_depthwise(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.Conv2D):
        return bool(layer.groups > 1)
    return isinstance(
        layer, (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    )
