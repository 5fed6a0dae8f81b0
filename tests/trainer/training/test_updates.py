"""What a step does to the weights: how far they go, and how gradients are clipped.

The oracle takes the gradients of `test_gradients`, which are held against the formulas
there, and does in NumPy what AdamW is published to do with them.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_gradients import N, make_batch, tape_gradients
from test_model import random_model
from watched_run import Weights, trainable, watched_run

from trainer.configuration.config import (
    LossConfig,
    OptimizerConfig,
    Precision,
    TrainConfig,
)
from trainer.models.model import StyleModel
from trainer.training.optimizers import TunedAdamW, make_optimizer
from trainer.training.steps import Step, make_step

RATE, DECAY = 0.01, 0.5
# AdamW's (Loshchilov and Hutter 2019, algorithm 2), with Keras's smaller ε.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
LOSS = LossConfig(margin=0.5)


def first_update(gradient: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """AdamW's first step; ε is added before the correction of the second moment."""
    first = (1 - BETA_1) * gradient
    second = (1 - BETA_2) * np.square(gradient)
    rate = RATE * math.sqrt(1 - BETA_2) / (1 - BETA_1)
    return -RATE * DECAY * weight - rate * first / (np.sqrt(second) + EPSILON)


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """All that a step needs.

    Attributes:
        step: compiled.
        batch: what it is made with.
        model: before it.
        optimizer: as well.
    """

    step: Step
    batch: dict[str, tf.Tensor]
    model: StyleModel
    optimizer: keras.optimizers.Optimizer

    def moves(self) -> Weights:
        """Make the step: what it adds to each weight."""
        before = trainable(self.model)
        self.step(self.batch)
        after = trainable(self.model)
        return [new - old for new, old in zip(after, before, strict=True)]


def prepared(clip_norm: float | None, precision: Precision) -> Prepared:
    single = random_model(0, dropout=0.0)
    model = StyleModel.from_config(single.get_config() | {"precision": precision.value})
    model.build()
    model.set_weights(single.get_weights())
    how = OptimizerConfig(
        learning_rate=RATE,
        weight_decay=DECAY,
        clip_norm=clip_norm,
        precision=precision,
    )
    config = TrainConfig(loss=LOSS, optimizer=how, batch_size=N)
    optimizer = make_optimizer(config, model)
    optimizer.build(model.trainable_variables)
    step = make_step(model, optimizer, config, tf.distribute.get_strategy())
    batch = {name: tf.constant(rows) for name, rows in make_batch(0, LOSS).items()}
    return Prepared(step, batch, model, optimizer)


@pytest.fixture(scope="module")
def weights_and_gradients() -> tuple[Weights, Weights]:
    """Of the first step, in single precision."""
    model = random_model(0, dropout=0.0)
    _, by_path = tape_gradients(model, make_batch(0, LOSS), LOSS)
    return trainable(model), [np.float64(gradient) for gradient in by_path.values()]


def clipped(gradients: Weights, clip_norm: float) -> Weights:
    norm = math.sqrt(sum(float(np.square(gradient).sum()) for gradient in gradients))
    assert norm > 0.1
    return [gradient * min(1.0, clip_norm / norm) for gradient in gradients]


@pytest.mark.parametrize(
    ("clip_norm", "precision", "atol"),
    [
        (1e6, Precision.FLOAT32, 2e-6),
        # At norms as small as ε the step tells how large the gradients were.
        (1e-6, Precision.FLOAT32, 2e-6),
        # Gradients in half precision are known to three digits; their scale is undone.
        (1e-6, Precision.FLOAT16, 2e-5),
    ],
)
def test_step_is_that_of_the_gradients_cut_to_the_norm_of_all_together(
    weights_and_gradients: tuple[Weights, Weights],
    clip_norm: float,
    precision: Precision,
    atol: float,
) -> None:
    weights, gradients = weights_and_gradients
    moved = prepared(clip_norm, precision).moves()
    for found, gradient, weight in zip(
        moved, clipped(gradients, clip_norm), weights, strict=True
    ):
        np.testing.assert_allclose(found, first_update(gradient, weight), atol=atol)


def test_step_whose_gradients_overflow_leaves_the_weights_and_halves_the_scale() -> (
    None
):
    made = prepared(None, Precision.FLOAT16)
    made.optimizer.dynamic_scale.assign(2.0**40)  # half precision ends at 65504
    assert all(not moved.any() for moved in made.moves())
    assert float(made.optimizer.dynamic_scale) == 2.0**39
    made.optimizer.dynamic_scale.assign(2.0**10)
    assert all(moved.any() for moved in made.moves())
    assert float(made.optimizer.dynamic_scale) == 2.0**10


def test_rates_of_the_schedule_are_halved_by_each_roll_back(tmp_path: Path) -> None:
    def spoil(number: int, loss: Any) -> Any:
        return tf.constant(math.nan) if number in (1, 2) else loss

    run = watched_run(
        tmp_path,
        "optimizer.weight_decay=0",
        "optimizer.warmup_epochs=1",  # of five steps: the first at a fifth of 0.01
        "max_epochs=1",
        spoil=spoil,
    )

    # The first step three times over, always from the same weights and moments.
    for step in (1, 2):
        for found, weight in zip(run.before[step], run.before[0], strict=True):
            np.testing.assert_array_equal(found, weight)
    # Adam's first step is the rate, whatever the size of the gradients.
    moved = [run.moved(step) for step in range(3)]
    assert moved == pytest.approx([0.002, 0.001, 0.0005], rel=1e-3)


def test_tuned_variables_go_a_share_of_the_way_and_do_not_decay() -> None:
    backbone, head = (keras.Variable(np.full(3, 2.0, np.float32)) for _ in range(2))
    optimizer = TunedAdamW(
        learning_rate=0.1, weight_decay=0.5, tuned=[backbone], rate=0.25
    )
    optimizer.build([backbone, head])
    optimizer.apply([np.ones(3, np.float32)] * 2, [backbone, head])
    # Adam's first step is the learning rate; decay takes 0.5 × 0.1 of the weight first.
    np.testing.assert_allclose(backbone, 2.0 - 0.25 * 0.1, rtol=1e-5)
    np.testing.assert_allclose(head, 2.0 * (1.0 - 0.05) - 0.1, rtol=1e-5)
