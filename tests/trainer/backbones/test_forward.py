"""The compiled forward pass: what the network gives, fused where that is quicker."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from trainer.backbones.forward import compile_forward, pays_to_fuse


def backbone(*layers: keras.layers.Layer) -> keras.Model:
    image = keras.Input((224, 224, 3), name="image")
    cells = keras.layers.AveragePooling2D(32)(image)
    for layer in layers:
        cells = layer(cells)
    pooled = keras.layers.GlobalAveragePooling2D()(cells)
    return keras.Model(image, {"global": pooled, "regions": cells})


def nested(layer: keras.layers.Layer) -> keras.Model:
    cells = keras.Input((7, 7, 3))
    return keras.Model(cells, layer(cells))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: keras.layers.Conv2D(6, 3), True),
        (lambda: keras.layers.Conv2D(6, 3, groups=3), False),
        (lambda: keras.layers.DepthwiseConv2D(3), False),
        (lambda: keras.layers.SeparableConv2D(6, 3), False),
        (lambda: nested(keras.layers.DepthwiseConv2D(3)), False),
        (lambda: nested(keras.layers.Conv2D(6, 3)), True),
    ],
)
def test_networks_with_depthwise_convolutions_are_not_fused(
    make: Callable[[], keras.layers.Layer], expected: bool
) -> None:
    assert pays_to_fuse(backbone(make())) is expected


def test_network_that_is_not_fused_gives_what_it_gives() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    model = backbone(keras.layers.DepthwiseConv2D(3))
    pooled, regions = compile_forward(model)(images)
    expected = model(images.astype(np.float32), training=False)
    np.testing.assert_allclose(pooled, expected["global"], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(regions, expected["regions"], rtol=1e-4, atol=1e-3)
