"""A step's loss and gradients against the formulas in NumPy float64.

The oracle computes a loss with batch statistics, and its gradients as differences
of that loss: nothing of it is derived by hand or by a library.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from test_model import random_model
from training_world import planted_table

from trainer.configuration.config import (
    LossConfig,
    Negatives,
    Objective,
    Pick,
    TrainConfig,
)
from trainer.models.losses import batch_losses
from trainer.models.model import StyleModel
from trainer.training.batches import Batches

N = 6
STEP = 1e-5
ENTRIES = 5  # of every weight
Weights = dict[str, np.ndarray]
CONFIGS = [
    LossConfig(margin=0.5),
    LossConfig(negatives=Negatives.BATCH, margin=0.5),
    LossConfig(negatives=Negatives.BATCH, pick=Pick.SEMI_HARD, margin=0.5),
    LossConfig(Objective.SOFTMAX, Negatives.BATCH, temperature=0.3),
]


def head(weights: Weights, name: str, features: np.ndarray) -> np.ndarray:
    part = {
        path.split("/", 1)[1]: weight
        for path, weight in weights.items()
        if path.startswith(f"{name}/")
    }
    hidden = features @ part["hidden/kernel"]
    axes = tuple(range(hidden.ndim - 1))
    hidden = (hidden - hidden.mean(axes)) / np.sqrt(hidden.var(axes) + 1e-3)
    hidden = np.maximum(hidden * part["norm/gamma"] + part["norm/beta"], 0.0)
    out = hidden @ part["project/kernel"] + part["project/bias"]
    return out / np.linalg.norm(out, axis=-1, keepdims=True)


def all_distances(weights: Weights, batch: dict[str, np.ndarray]) -> np.ndarray:
    def standardized(which: str, features: np.ndarray) -> np.ndarray:
        name = f"standardize_{which}"
        return (features - weights[f"{name}/mean"]) / weights[f"{name}/deviation"]

    pooled = standardized("pooled", np.concatenate([batch["scene"], batch["products"]]))
    vectors = head(weights, "global_head", pooled)
    scenes, products = vectors[:N], vectors[N:]
    regions = standardized("regions", batch["regions"])
    local, keys = (head(weights, f"{name}_head", regions) for name in ("local", "key"))
    (table,) = (w for path, w in weights.items() if path.startswith("attention"))
    wanted = table[batch["category"]]
    wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    exponents = np.exp(-((keys - wanted[:, None]) ** 2).sum(-1))
    attention = exponents / exponents.sum(axis=1, keepdims=True)
    found = np.empty((N, len(products)))
    for row, column in np.ndindex(found.shape):
        product = products[column]
        to_regions = ((local[row] - product) ** 2).sum(axis=1)
        d_global = ((scenes[row] - product) ** 2).sum()
        found[row, column] = 0.5 * (d_global + (attention[row] * to_regions).sum())
    return found


def mean_loss(
    weights: Weights, batch: dict[str, np.ndarray], config: LossConfig
) -> float:
    losses = []
    for row, own, allowed in zip(
        all_distances(weights, batch), batch["own"], batch["allowed"], strict=True
    ):
        positive, negatives = row[own], row[allowed]
        if config.objective is Objective.SOFTMAX:
            terms = np.exp((positive - negatives) / config.temperature)
            losses.append(np.log(1.0 + terms.sum()))
            continue
        if config.pick is Pick.SEMI_HARD:
            beyond = negatives[negatives > positive]
            negatives = np.array([beyond.min() if len(beyond) else negatives.max()])
        losses.append(np.maximum(0.0, positive - negatives + config.margin).mean())
    return float(np.mean(losses))


def make_batch(seed: int, config: LossConfig) -> dict[str, np.ndarray]:
    """A batch of the planted table, its features widened to the model's."""
    table = planted_table(seed)
    part = Batches(table, TrainConfig(loss=config, batch_size=N)).part(1, 0)
    names = ("scene", "regions", "category", "products", "own", "allowed")
    batch = dict(zip(names, part, strict=True))
    generator = np.random.default_rng(seed)
    for name, dim in (("scene", 10), ("products", 10), ("regions", 8)):
        values = batch[name].astype(np.float64)
        more = generator.normal(size=(*values.shape[:-1], dim - values.shape[-1]))
        batch[name] = np.concatenate([values, more], axis=-1).astype(np.float32)
    return batch


def differences(
    loss: Callable[[Weights], float], weights: Weights, path: str, places: np.ndarray
) -> np.ndarray:
    """Central differences of the loss in some entries of one weight."""
    found = []
    for place in places:
        values = []
        for sign in (1, -1):
            moved = weights[path].copy()
            moved.flat[place] += sign * STEP
            values.append(loss(weights | {path: moved}))
        found.append((values[0] - values[1]) / (2 * STEP))
    return np.array(found)


def tape_gradients(
    model: StyleModel, batch: dict[str, np.ndarray], config: LossConfig
) -> tuple[float, Weights]:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(batch_losses(model, batch, config))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    paths = [v.path.removeprefix(f"{model.name}/") for v in model.trainable_variables]
    dense = [np.asarray(tf.convert_to_tensor(gradient)) for gradient in gradients]
    return float(loss), dict(zip(paths, dense, strict=True))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradients_are_those_of_the_formulas(
    seed: int, config: LossConfig
) -> None:
    model, batch = random_model(seed, dropout=0.0), make_batch(seed, config)
    weights = {
        weight.path.removeprefix(f"{model.name}/"): np.asarray(weight, np.float64)
        for weight in model.weights
    }
    loss, gradients = tape_gradients(model, batch, config)

    assert loss == pytest.approx(mean_loss(weights, batch, config), abs=1e-5)
    generator = np.random.default_rng(seed)
    for path, gradient in gradients.items():
        count = min(ENTRIES, gradient.size)
        places = generator.choice(gradient.size, count, replace=False)
        expected = differences(
            lambda moved: mean_loss(moved, batch, config), weights, path, places
        )
        np.testing.assert_allclose(
            gradient.flat[places], expected, atol=2e-4, err_msg=path
        )


def test_gradients_are_not_all_nothing() -> None:
    model, batch = random_model(0, dropout=0.0), make_batch(0, CONFIGS[0])
    _, gradients = tape_gradients(model, batch, CONFIGS[0])
    assert all(np.abs(gradient).max() > 1e-4 for gradient in gradients.values())
