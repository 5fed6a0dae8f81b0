"""The running mean of the weights is what is validated and kept, and never trained."""

from __future__ import annotations

import numpy as np
import pytest
from training_world import planted_table
from watched_run import STEPS_PER_EPOCH, Watched, Weights, trainable, watched_run

from trainer.training.train_state import best_epoch
from trainer.training.validation import validate

MOMENTUM = 0.9


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return watched_run(
        tmp_path_factory.mktemp("run"),
        f"optimizer.average={MOMENTUM}",
        "optimizer.learning_rate=0.05",
        "max_epochs=2",
    )


def averages(after: list[Weights]) -> list[Weights]:
    """After each step: the first weights, then a tenth of the new ones each time."""
    found = [after[0]]
    for weights in after[1:]:
        found.append(
            [
                MOMENTUM * mean + (1 - MOMENTUM) * weight
                for mean, weight in zip(found[-1], weights, strict=True)
            ]
        )
    return found


def test_kept_weights_are_the_averages_at_the_end_of_the_best_epoch(
    run: Watched,
) -> None:
    end = best_epoch(run.results) * STEPS_PER_EPOCH - 1
    kept = trainable(run.model)
    for found, expected in zip(kept, averages(run.after)[end], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    pairs = zip(kept, run.after[end], strict=True)
    assert max(np.abs(mean - raw).max() for mean, raw in pairs) > 0.05


def test_validation_is_of_the_averages(run: Watched) -> None:
    best = run.results[best_epoch(run.results) - 1]
    found = validate(run.model, planted_table(1), run.config.loss)
    assert found.loss == pytest.approx(best.validation_loss, abs=1e-6)


def test_training_goes_on_from_the_weights_and_not_from_their_averages(
    run: Watched,
) -> None:
    assert len(run.before) == 2 * STEPS_PER_EPOCH
    for before, after in zip(run.before[1:], run.after, strict=False):
        for found, expected in zip(before, after, strict=True):
            np.testing.assert_array_equal(found, expected)
