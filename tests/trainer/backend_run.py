"""Three steps of training on the backend that KERAS_BACKEND names; run as a program.

    python backend_run.py IN.npz OUT.npz

In: the batch (`batch/…`) and the model's weights (`weight/0`, …). Out: the loss of each
step, and the weights after the last.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.configuration.config import LossConfig, TrainConfig
from trainer.configuration.config_fields import config_from_dict
from trainer.models.losses import batch_losses
from trainer.models.model import StyleModel

STEPS = 3
CATEGORIES = ["bags", "hats", "shoes"]


def make_model(config: TrainConfig, batch: dict[str, np.ndarray]) -> StyleModel:
    model = StyleModel(
        global_dim=batch["scene"].shape[1],
        region_dim=batch["regions"].shape[2],
        categories=CATEGORIES,
        sizes={
            name: getattr(config.model, name)
            for name in ("embedding_dim", "global_units", "local_units", "dropout")
        }
        | {
            "distance": config.model.distance.value,
            "attention": config.model.attention.value,
            "squared": config.model.squared,
        },
    )
    model.build()
    return model


def train_tensorflow(
    model: StyleModel, optimizer: Any, batch: dict[str, np.ndarray], loss: LossConfig
) -> list[float]:
    import tensorflow as tf

    from trainer.training.steps import dense

    losses = []
    for _ in range(STEPS):
        with tf.GradientTape() as tape:
            value = ops.mean(batch_losses(model, batch, loss))
        variables = model.trainable_variables
        gradients = tape.gradient(value, [variable.value for variable in variables])
        optimizer.apply(dense(gradients), variables)
        losses.append(float(value))
    return losses


def train_jax(
    model: StyleModel, optimizer: Any, batch: dict[str, np.ndarray], loss: LossConfig
) -> list[float]:
    import jax

    def compute(trainable: list[Any], others: list[Any]) -> tuple[Any, list[Any]]:
        pairs = zip(
            [*model.trainable_variables, *model.non_trainable_variables],
            [*trainable, *others],
            strict=True,
        )
        with keras.StatelessScope(state_mapping=list(pairs)) as scope:
            value = ops.mean(batch_losses(model, batch, loss))
        return value, [
            scope.get_current_value(v) for v in model.non_trainable_variables
        ]

    @jax.jit
    def step(
        trainable: list[Any], others: list[Any], state: list[Any]
    ) -> tuple[Any, ...]:
        gradient = jax.value_and_grad(compute, has_aux=True)
        (value, others), gradients = gradient(trainable, others)
        trainable, state = optimizer.stateless_apply(state, gradients, trainable)
        return value, trainable, others, state

    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    state = [variable.value for variable in optimizer.variables]
    losses = []
    for _ in range(STEPS):
        value, trainable, others, state = step(trainable, others, state)
        losses.append(float(value))
    for variables, values in (
        (model.trainable_variables, trainable),
        (model.non_trainable_variables, others),
    ):
        for variable, new in zip(variables, values, strict=True):
            variable.assign(new)
    return losses


def main(source: str, out: str) -> None:
    """Train and save."""
    with np.load(source) as saved:
        config = config_from_dict(json.loads(str(saved["config"])))
        batch = {
            name.removeprefix("batch/"): saved[name]
            for name in saved.files
            if name.startswith("batch/")
        }
        model = make_model(config, batch)
        model.set_weights([saved[f"weight/{n}"] for n in range(len(model.weights))])
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.01)
    optimizer.build(model.trainable_variables)
    train = train_jax if keras.backend.backend() == "jax" else train_tensorflow
    losses = train(model, optimizer, batch, config.loss)
    weights = {str(n): weight for n, weight in enumerate(model.get_weights())}
    np.savez(out, losses=losses, **weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
