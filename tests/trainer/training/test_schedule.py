"""The learning rate of each step, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.configuration.config import OptimizerConfig, Schedule
from trainer.training.schedule import learning_rate

STEPS_PER_EPOCH, MAX_EPOCHS = 4, 3


def rates(**fields: Any) -> list[float]:
    """Of all twelve steps, where the full rate is 0.8."""
    config = OptimizerConfig(learning_rate=0.8, **fields)
    return [
        learning_rate(
            config, step, steps_per_epoch=STEPS_PER_EPOCH, max_epochs=MAX_EPOCHS
        )
        for step in range(STEPS_PER_EPOCH * MAX_EPOCHS)
    ]


def test_rate_is_constant_without_warm_up_and_schedule() -> None:
    assert rates() == [0.8] * 12


@pytest.mark.parametrize(
    ("epochs", "first"),
    [
        (1.0, [0.2, 0.4, 0.6, 0.8, 0.8]),
        (0.5, [0.4, 0.8, 0.8]),
        (2.0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.8]),
    ],
)
def test_rate_rises_in_a_line_to_the_end_of_the_warm_up(
    epochs: float, first: list[float]
) -> None:
    found = rates(warmup_epochs=epochs)
    assert found[: len(first)] == pytest.approx(first)
    assert found[len(first) :] == [0.8] * (12 - len(first))


def test_rate_falls_along_half_a_cosine_to_nothing() -> None:
    found = rates(schedule=Schedule.COSINE)
    # A sixth, a third, … of the way: cos 30° is √3 / 2, cos 60° is 1 / 2.
    assert found[1] == pytest.approx(0.4 * (1 + 3**0.5 / 2))
    assert found[3] == pytest.approx(0.4 * (1 + 0.5))
    assert found[5] == pytest.approx(0.4)
    assert found[7] == pytest.approx(0.4 * (1 - 0.5))
    assert found[9] == pytest.approx(0.4 * (1 - 3**0.5 / 2))
    assert found[11] == pytest.approx(0.0)


def test_cosine_begins_where_the_warm_up_ends() -> None:
    found = rates(warmup_epochs=1.0, schedule=Schedule.COSINE)
    assert found[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    # Eight steps are left; after two of them it is at 45°, where the cosine is √½.
    assert found[5] == pytest.approx(0.4 * (1 + 0.5**0.5))
    assert found[7] == pytest.approx(0.4)
    assert found[9] == pytest.approx(0.4 * (1 - 0.5**0.5))
    assert found[11] == pytest.approx(0.0)


def test_warm_up_that_outlasts_the_training_never_comes_to_the_full_rate() -> None:
    found = rates(warmup_epochs=4.0, schedule=Schedule.COSINE)
    assert found == pytest.approx([0.05 * (step + 1) for step in range(12)])
