"""How weights follow from gradients."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras

from trainer.configuration.config import Precision, TrainConfig
from trainer.models.model import StyleModel
from trainer.models.picture_model import PictureModel


def make_optimizer(
    config: TrainConfig, model: StyleModel | PictureModel
) -> keras.optimizers.Optimizer:
    """The optimizer of a configuration, for a model's variables."""
    options = {
        "learning_rate": config.optimizer.learning_rate,
        "weight_decay": config.optimizer.weight_decay,
        "use_ema": config.optimizer.average > 0,
        "ema_momentum": config.optimizer.average or 0.99,
    }
    if isinstance(model, PictureModel) and model.tuned:
        optimizer = TunedAdamW(
            tuned=model.tuned_variables,
            rate=config.pictures.backbone_rate,
            **options,
        )
    else:
        optimizer = keras.optimizers.AdamW(**options)
    if config.optimizer.precision is Precision.FLOAT16:
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


class TunedAdamW(keras.optimizers.AdamW):
    """AdamW that trains some variables at a share of its rate and does not decay them.

    A backbone is near to where it should be; decay would draw it away to 0.
    """

    def __init__(
        self, *arguments: Any, tuned: Collection[Any], rate: float, **options: Any
    ) -> None:
        """Set rates.

        Args:
            *arguments: of AdamW.
            tuned: variables of the backbone.
            rate: theirs, times the others'.
            **options: of AdamW.
        """
        super().__init__(*arguments, **options)
        self._rate = rate
        # By Keras's key: a step is given the backend's variable, a replica its own.
        self._tuned = frozenset(self._var_key(variable) for variable in tuned)
        self.exclude_from_weight_decay(var_list=list(tuned))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """As the optimizer that this is, at the variable's own rate."""
        if self._var_key(variable) in self._tuned:
            learning_rate = learning_rate * self._rate
        super().update_step(gradient, variable, learning_rate)
