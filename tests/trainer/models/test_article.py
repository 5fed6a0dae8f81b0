"""The preset article against its formulas in NumPy float64, and its summed loss."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_backbone import tiny_backbone

from tfrecords_schema.errors import InputError
from trainer.configuration.config import (
    Attention,
    Distance,
    LossConfig,
    Reduction,
    TrainConfig,
)
from trainer.configuration.config_fields import with_changes
from trainer.configuration.presets import PRESETS, Preset
from trainer.models.distances import distance_matrix
from trainer.models.losses import batch_losses
from trainer.models.pair_vectors import ProductVectors, SceneVectors
from trainer.models.picture_model import PictureModel
from trainer.training.preparation import make_picture_model
from trainer.training.steps import make_step

ARTICLE = PRESETS[Preset.ARTICLE]
SMALL = (
    "model.dropout=0",
    "model.global_units=6",
    "model.local_units=5",
    "model.key_units=4",
    "model.embedding_dim=3",
    "pictures.cells=2",
    "batch_size=3",
)
N, M, CELLS = 3, 6, 4
Weights = dict[str, np.ndarray]


def small_model(seed: int) -> PictureModel:
    """With weights that are not all of one size, and cells of 2 × 2."""
    backbone = tiny_backbone(seed, with_map=True)
    model = make_picture_model(with_changes(ARTICLE, SMALL), backbone, ["hats"])
    generator = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        noise = generator.normal(0.0, 0.3, weight.shape)
        weight.assign(np.asarray(weight) + np.abs(noise))
    return model


def make_batch(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)

    def pictures(*shape: int) -> np.ndarray:
        coarse = generator.integers(0, 256, (*shape, 7, 7, 3), np.uint8)
        return coarse.repeat(32, axis=-3).repeat(32, axis=-2)

    allowed = np.zeros((N, M), bool)
    allowed[np.arange(N), N + np.arange(N)] = True
    return {
        "scene": pictures(N),
        "regions": pictures(N, CELLS),
        "category": np.zeros(N, np.int32),
        "products": pictures(M),
        "own": np.arange(N, dtype=np.int32),
        "allowed": allowed,
    }


def head(weights: Weights, name: str, features: np.ndarray) -> np.ndarray:
    """A head with the statistics of [n, dim] features, in training."""
    part = {
        path.split("/", 1)[1]: weight
        for path, weight in weights.items()
        if path.startswith(f"{name}/")
    }
    hidden = features @ part["hidden/kernel"]
    hidden = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-3)
    hidden = np.maximum(hidden * part["norm/gamma"] + part["norm/beta"], 0.0)
    out = hidden @ part["project/kernel"] + part["project/bias"]
    return out / np.linalg.norm(out, axis=-1, keepdims=True)


def oracle(
    model: PictureModel, batch: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """f_s, f_p, f_i, l̂_i and l̂_p of a training step."""
    name = model.heads.name
    weights = {
        weight.path.removeprefix(f"{model.name}/").removeprefix(f"{name}/"): np.asarray(
            weight, np.float64
        )
        for weight in model.heads.weights
    }

    def see(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = model.backbone(images.astype(np.float32), training=False)
        maps = np.asarray(found["map"], np.float64)
        return np.asarray(found["global"], np.float64), maps.reshape(len(images), -1)

    pooled, _ = see(np.concatenate([batch["scene"], batch["products"]]))
    _, cells = see(batch["regions"].reshape(N * CELLS, 224, 224, 3))
    _, of_products = see(batch["products"])
    vectors = head(weights, "global_head", pooled)
    local = head(weights, "local_head", cells).reshape(N, CELLS, -1)
    keys = head(weights, "key_head", np.concatenate([cells, of_products]))
    return (
        vectors[:N],
        vectors[N:],
        local,
        keys[: N * CELLS].reshape(N, CELLS, -1),
        keys[N * CELLS :],
    )


def attention(keys: np.ndarray, key: np.ndarray) -> np.ndarray:
    """softmax_i(+‖l̂_i − l̂_p‖²): the farthest part counts most."""
    exponents = np.exp(((keys - key) ** 2).sum(axis=1))
    return exponents / exponents.sum()


def hybrid(
    f_s: np.ndarray, f_i: np.ndarray, weights: np.ndarray, f_p: np.ndarray
) -> float:
    d_global = ((f_s - f_p) ** 2).sum()
    return 0.5 * (d_global + (weights * ((f_i - f_p) ** 2).sum(axis=1)).sum())


@pytest.mark.parametrize("seed", range(3))
def test_losses_of_a_step_are_those_of_the_formulas(seed: int) -> None:
    model, batch = small_model(seed), make_batch(seed)
    f_s, f_p, f_i, keys, wanted = oracle(model, batch)
    expected = []
    for n in range(N):
        seen = attention(keys[n], wanted[n])  # the positive's, for the negative too
        near = hybrid(f_s[n], f_i[n], seen, f_p[n])
        far = hybrid(f_s[n], f_i[n], seen, f_p[N + n])
        expected.append(max(0.0, near - far + 0.2))

    found = batch_losses(model, batch, ARTICLE.loss)

    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.max(expected) > 0.01  # or nothing would have been compared


@pytest.mark.parametrize("seed", range(3))
def test_distances_without_that_flaw_have_the_attention_of_each_product(
    seed: int,
) -> None:
    model, batch = small_model(seed), make_batch(seed)
    f_s, f_p, f_i, keys, wanted = oracle(model, batch)
    expected = [
        [
            hybrid(f_s[n], f_i[n], attention(keys[n], wanted[m]), f_p[m])
            for m in range(M)
        ]
        for n in range(N)
    ]
    scenes, products = model(batch, training=True)
    np.testing.assert_allclose(model.distances(scenes, products), expected, atol=2e-5)


def test_attention_goes_to_the_part_least_like_the_product() -> None:
    # Two parts: one with the product's key and its vector, one with their opposites.
    # Their squared distances from the key are 0 and 4, so the attention is
    # 1 / (1 + e⁴) = 0.017986 and 0.982014; d_local = 0.982014 × 4, d = half of it.
    one = np.array([[1.0, 0.0]], np.float32)
    both = np.stack([one, -one], axis=1)
    found = distance_matrix(
        SceneVectors(one, both, both, None),
        ProductVectors(one, one),
        distance=Distance.HYBRID,
        near_regions=False,
    )
    np.testing.assert_allclose(found, [[1.964028]], atol=1e-5)


@pytest.mark.parametrize("part", ["global_head", "local_head", "key_head"])
def test_heads_have_the_published_sizes(part: str) -> None:
    units = {"global_head": 512, "local_head": 256, "key_head": 128}[part]
    model = make_picture_model(ARTICLE, tiny_backbone(with_map=True), ["hats"])
    found = getattr(model.heads, part)
    inputs = 12 if part == "global_head" else 28 * 28 * 8  # all of the map, laid flat
    assert found.hidden.kernel.shape == (inputs, units)
    assert (found.dropout_rate, found.embedding_dim) == (0.1, 128)


def test_preset_is_what_the_design_says() -> None:
    assert ARTICLE.pictures.cells == 4
    assert ARTICLE.model.attention is Attention.PRODUCT_MAP
    assert not ARTICLE.model.near_regions
    assert (ARTICLE.model.distance, ARTICLE.model.squared) == (Distance.HYBRID, True)
    assert (ARTICLE.loss.reduction, ARTICLE.loss.margin) == (Reduction.SUM, 0.2)
    assert ARTICLE.loss.positive_key


def moved_by(reduction: Reduction) -> list[np.ndarray]:
    """How far a step of plain gradient descent moves the weights."""
    keras.utils.set_random_seed(0)
    model = small_model(0)
    config = with_changes(ARTICLE, SMALL)
    loss = dataclasses.replace(config.loss, reduction=reduction)
    config = dataclasses.replace(config, loss=loss)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    before = [np.array(weight) for weight in model.trainable_variables]
    step = make_step(model, optimizer, config, tf.distribute.get_strategy())
    batch = {name: tf.constant(value) for name, value in make_batch(0).items()}
    step(batch)
    after = [np.array(weight) for weight in model.trainable_variables]
    return [new - old for new, old in zip(after, before, strict=True)]


def test_summed_loss_moves_weights_by_the_batch_size_as_far() -> None:
    for summed, mean in zip(
        moved_by(Reduction.SUM), moved_by(Reduction.MEAN), strict=True
    ):
        np.testing.assert_allclose(summed, N * mean, rtol=1e-3, atol=1e-6)


def test_loss_with_positive_key_needs_attention_by_product() -> None:
    with pytest.raises(InputError, match=r"loss\.positive_key .*attention=category"):
        TrainConfig(loss=LossConfig(positive_key=True))


def test_map_laid_flat_needs_cells() -> None:
    with pytest.raises(InputError, match=r"product_map .* pictures\.cells"):
        with_changes(TrainConfig(), ["model.attention=product_map", "input=pictures"])


def test_fields_that_fit_only_together_may_come_in_any_order() -> None:
    changes = ["model.attention=product_map", "input=pictures", "pictures.cells=3"]
    for _ in range(3):
        changes = [*changes[1:], changes[0]]
        config = with_changes(TrainConfig(), changes)
        assert config.pictures.cells == 3


def test_backbone_without_a_map_is_refused() -> None:
    with pytest.raises(InputError, match=r"output `map`.*has global, regions"):
        make_picture_model(ARTICLE, tiny_backbone(), ["hats"])


def test_map_of_a_backbone_without_that_output_is_what_its_regions_average() -> None:
    # As applications are kept by versions that gave them no output of the name.
    whole = tiny_backbone(with_map=True)
    outputs = whole.output
    averaged = keras.layers.AveragePooling2D(4)(outputs["map"])
    backbone = keras.Model(
        whole.input, {"global": outputs["global"], "regions": averaged}
    )
    model = make_picture_model(ARTICLE, backbone, ["hats"])
    assert model.heads.region_dim == 28 * 28 * 8
