"""In which numbers the heads compute, worked out where the formats' digits end."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from training_world import CATEGORIES, GLOBAL_DIM, planted_table

from trainer.configuration.config import OptimizerConfig, Precision, TrainConfig
from trainer.models.model import StyleModel
from trainer.training.preparation import make_model

DTYPES = {
    Precision.FLOAT32: "float32",
    Precision.BFLOAT16: "bfloat16",
    Precision.FLOAT16: "float16",
}


def model_in(precision: Precision) -> StyleModel:
    config = TrainConfig(optimizer=OptimizerConfig(precision=precision))
    small = dataclasses.replace(
        config.model, embedding_dim=4, global_units=16, local_units=16
    )
    config = dataclasses.replace(config, model=small)
    return make_model(config, planted_table(0), CATEGORIES)


@pytest.mark.parametrize(
    ("precision", "tenth_bit", "twelfth_bit"),
    [
        # A 1 is followed by 23, 7 and 10 bits; sums of eight are exact in all three.
        (Precision.FLOAT32, 8 + 2**-7, 8 + 2**-9),
        (Precision.BFLOAT16, 8, 8),
        (Precision.FLOAT16, 8 + 2**-7, 8),
    ],
)
def test_heads_multiply_numbers_of_the_precision(
    precision: Precision, tenth_bit: float, twelfth_bit: float
) -> None:
    assert GLOBAL_DIM == 8
    model = model_in(precision)
    heads = (model.global_head, model.local_head, model.key_head)
    for layer in (layer for head in heads for layer in (head.hidden, head.project)):
        assert layer.compute_dtype == DTYPES[precision]
    model.global_head.hidden.kernel.assign(np.ones((GLOBAL_DIM, 16)))
    features = np.array([[1 + 2**-10] * GLOBAL_DIM, [1 + 2**-12] * GLOBAL_DIM])
    hidden = model.global_head.hidden(features.astype(np.float32))
    found = np.asarray(hidden).astype(np.float64)
    assert found[:, 0].tolist() == [tenth_bit, twelfth_bit]


@pytest.mark.parametrize("precision", Precision)
def test_weights_vectors_and_distances_are_in_single_precision(
    precision: Precision,
) -> None:
    model, table = model_in(precision), planted_table(0)
    numbers = [variable for variable in model.variables if "seed" not in variable.path]
    assert {variable.dtype for variable in numbers} == {"float32"}
    scenes = model.scene_vectors(table.scenes, table.regions, table.category)
    products = model.product_vectors(table.products)
    vectors = [*(part for part in scenes if part is not None), products.vectors]
    distances = np.asarray(model.distances(scenes, products))
    assert {str(np.asarray(part).dtype) for part in vectors} == {"float32"}
    assert distances.dtype == np.float32
    # Not rounded afterwards either: neighbours of 1 in half precision are 2⁻¹⁰ apart.
    assert np.abs(distances - distances.astype(np.float16)).max() > 0
    lengths = np.linalg.norm(np.asarray(products.vectors), axis=1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-6)
