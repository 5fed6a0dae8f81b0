"""The learning rate of each step."""

from __future__ import annotations

import math

from trainer.configuration.config import OptimizerConfig, Schedule


def learning_rate(
    config: OptimizerConfig, step: int, *, steps_per_epoch: int, max_epochs: int
) -> float:
    """The learning rate of a step, counted from 0.

    It rises in a line from near 0 to its full value during the warm-up, and then stays
    or falls along half a cosine to 0 at the end of the last epoch.
    """
    warmup = config.warmup_epochs * steps_per_epoch
    if step + 1 < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule is Schedule.CONSTANT:
        return config.learning_rate
    left = max(1.0, max_epochs * steps_per_epoch - warmup)
    done = min(1.0, (step + 1 - warmup) / left)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
