"""What ends a training that has gone wrong, with a message that says what to change."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from tfrecords_schema.errors import InputError
from trainer.configuration.config import (
    LossConfig,
    Negatives,
    Objective,
    Pick,
    TrainConfig,
)
from trainer.training.train_state import EpochResult, TrainState
from trainer.training.validation import Validation

_PATIENCE = 3
"""Epochs that a model may look collapsed: many do in the first."""

_COLLAPSED_COSINE = 0.99
_COLLAPSED_SHARE = 0.95

_BLOWN_UP = 3.0
"""Times the loss of a model that tells nothing apart."""

ROLL_BACKS = 3
"""After each the learning rate is half of what it was: then an eighth."""

_SEE_FEATURES = "see whether the features say anything: the baseline backbone_cosine"

_EASIER = {
    Pick.HARDEST: "take easier negatives: --set loss.pick=semi_hard or loss.pick=all",
    Pick.SEMI_HARD: "take easier negatives: --set loss.pick=all",
    Pick.ALL: _SEE_FEATURES,
}
"""What else to try where products have become one, by the negatives that counted."""


class DivergedError(InputError):
    """Loss or weights are no numbers, or the loss is far above knowing nothing."""


def check_finite(losses: Sequence[float], *, step: int) -> None:
    """Look at the losses of some steps.

    Args:
        losses: of steps that follow each other.
        step: the last of them.

    Raises:
        DivergedError: one is no number.
    """
    for back, loss in enumerate(reversed(losses)):
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} at step {step - back}")


def check_state(state: TrainState) -> None:
    """Look at what a checkpoint would keep: a loss is of the weights before its step.

    Raises:
        DivergedError: something in it is no number.
    """
    if not state.is_finite():
        raise DivergedError(
            f"weights or moments of the optimizer are no finite numbers after step "
            f"{state.step}"
        )


def check_figures(figures: Validation, *, epoch: int) -> None:
    """Look at the figures of a validation.

    Raises:
        DivergedError: one is no number.
    """
    for name, value in dataclasses.asdict(figures).items():
        if not math.isfinite(value):
            told = name.replace("_", " ")
            raise DivergedError(f"the validation {told} is {value} in epoch {epoch}")


def check_level(mean: float, blind: float, *, step: int) -> None:
    """Look at the mean loss of an epoch so far.

    Args:
        mean: of its steps.
        blind: the loss of a model that tells nothing apart.
        step: the last of them.

    Raises:
        DivergedError: it is far above that.
    """
    if mean > _BLOWN_UP * blind:
        raise DivergedError(
            f"the loss is {mean:.3g} on average up to step {step}, where a model that "
            f"tells nothing apart has {blind:.3g}"
        )


def blind_loss(config: TrainConfig, n_products: int) -> float:
    """The loss where all distances are equal, with as many negatives as there can be.

    Args:
        config: of the training.
        n_products: of the train split.
    """
    loss = config.loss
    if loss.objective is not Objective.SOFTMAX:
        return loss.margin
    n_negatives = loss.mined_per_pair
    if loss.negatives is Negatives.BATCH:
        n_negatives = min(config.batch_size * (1 + n_negatives), n_products)
    return math.log(1.0 + n_negatives)


def check_collapse(results: Sequence[EpochResult], config: LossConfig) -> None:
    """Look at the figures of the last epochs.

    Args:
        results: of all epochs.
        config: which loss they were trained with.

    Raises:
        InputError: the embedding has collapsed.
    """
    last = results[-_PATIENCE:]
    if len(last) < _PATIENCE:
        return
    if all(result.mean_cosine > _COLLAPSED_COSINE for result in last):
        raise InputError(
            f"the embedding has collapsed: the mean cosine of two products is "
            f"{last[-1].mean_cosine:.4f} in epoch {last[-1].epoch}, above "
            f"{_COLLAPSED_COSINE} for {_PATIENCE} epochs. Lower --learning_rate, or "
            f"{_EASIER[config.pick]}"
        )
    if all(result.at_margin > _COLLAPSED_SHARE for result in last):
        raise InputError(
            f"the model tells nothing apart: {last[-1].at_margin:.1%} of validation "
            f"pairs have the loss of equal distances in epoch {last[-1].epoch}, above "
            f"{_COLLAPSED_SHARE:.0%} for {_PATIENCE} epochs. Raise --learning_rate, or "
            f"{_SEE_FEATURES}"
        )


def check_tells_apart(figures: Validation) -> None:
    """Look at the figures of a model that was found at once.

    Args:
        figures: of the validation split.

    Raises:
        InputError: products are all alike to it.
    """
    if figures.at_margin > _COLLAPSED_SHARE:
        raise InputError(
            f"the model tells nothing apart: {figures.at_margin:.1%} of validation "
            f"pairs have the loss of equal distances, above {_COLLAPSED_SHARE:.0%}; "
            f"see whether there is more than one pair to train on, or {_SEE_FEATURES}"
        )
