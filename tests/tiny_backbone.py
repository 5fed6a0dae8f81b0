"""A backbone that takes no time: two convolutions with weights from a seed."""

from __future__ import annotations

from pathlib import Path

import keras

GLOBAL_DIM = 12
REGIONS = (7, 7, 16)


def tiny_backbone(
    seed: int = 0,
    *,
    scale: float = 1 / 127.5,
    strength: float = 1.0,
    with_map: bool = False,
    with_bias: bool = True,
) -> keras.Model:
    """Build the network.

    Args:
        seed: of the weights.
        scale: of the preprocessing inside.
        strength: factor of the pooled features, to leave a number format's range.
        with_map: whether the map before the regions is an output as well.
        with_bias: whether the pooled features have one.
    """
    image = keras.Input((224, 224, 3), name="image")
    scaled = keras.layers.Rescaling(scale, offset=-1.0)(image)
    patches = _convolution(8, 8, seed)(scaled)  # 28 × 28
    regions = _convolution(REGIONS[-1], 4, seed + 1)(patches)  # 7 × 7
    project = keras.layers.Dense(
        GLOBAL_DIM,
        use_bias=with_bias,
        kernel_initializer=keras.initializers.GlorotUniform(seed + 2),
    )
    pooled = project(keras.layers.GlobalAveragePooling2D()(regions))
    pooled = keras.layers.Rescaling(strength, name="global")(pooled)
    outputs = {"global": pooled, "regions": regions}
    if with_map:
        outputs["map"] = patches
    return keras.Model(image, outputs)


def _convolution(filters: int, side: int, seed: int) -> keras.layers.Layer:
    return keras.layers.Conv2D(
        filters,
        side,
        strides=side,
        activation="relu",
        kernel_initializer=keras.initializers.HeUniform(seed),
    )


def write_tiny_backbone(path: Path, seed: int = 0, *, strength: float = 1.0) -> Path:
    """Write it as a `.keras` file."""
    tiny_backbone(seed, strength=strength).save(path)
    return path
