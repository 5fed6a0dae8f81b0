"""Which layers of a backbone are trained, and how far a step takes them."""

from __future__ import annotations

import keras
import pytest

from tfrecords_schema.errors import InputError
from trainer.backbones.tuning import stages, tuned_layers


def network() -> keras.Model:
    """Three maps; the second has a squeeze to one pixel and a batch norm."""
    layers = keras.layers
    image = keras.Input((32, 32, 3), name="image")
    first = layers.Conv2D(4, 2, strides=2, name="first")(image)  # 16 × 16
    second = layers.Conv2D(4, 2, strides=2, name="second")(first)  # 8 × 8
    second = layers.BatchNormalization(name="norm")(second)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(second)
    weights = layers.Conv2D(4, 1, activation="sigmoid", name="squeeze")(squeezed)
    second = layers.Multiply()([second, weights])
    second = layers.Conv2D(4, 1, name="after")(second)
    block = keras.Sequential([layers.Conv2D(4, 2, strides=2, name="nested")])
    third = block(second)  # 4 × 4
    pooled = layers.GlobalAveragePooling2D()(third)
    pooled = layers.Dense(5, name="dense")(pooled)
    return keras.Model(image, {"global": pooled, "regions": third})


def names(layers: list[keras.layers.Layer]) -> list[str]:
    return [layer.name for layer in layers]


def test_stages_are_told_by_the_size_of_their_maps() -> None:
    assert [names(stage) for stage in stages(network())] == [
        ["first"],
        ["second", "norm", "squeeze", "after"],
        ["nested", "dense"],
    ]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (1, ["nested", "dense"]),
        (2, ["second", "squeeze", "after", "nested", "dense"]),
        (3, ["first", "second", "squeeze", "after", "nested", "dense"]),
    ],
)
def test_last_stages_are_trained_but_for_batch_norms(
    count: int, expected: list[str]
) -> None:
    model = network()
    tuned = tuned_layers(model, count)
    assert names(tuned) == expected
    trainable = {id(v) for layer in tuned for v in layer.trainable_variables}
    assert len(trainable) == 2 * len(expected)  # kernel and bias of each
    others = [v for v in model.weights if id(v) not in trainable]
    assert not any(v.trainable for v in others)


def test_layers_of_an_earlier_choice_are_frozen_again() -> None:
    model = network()
    tuned_layers(model, 3)
    tuned_layers(model, 0)
    assert not any(layer.trainable_variables for layer in model.layers)


def test_more_stages_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match=r"trainable_stages 4 is more .* has: 3"):
        tuned_layers(network(), 4)
