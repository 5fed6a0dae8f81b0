"""Losses against loops over their definitions in float64."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords_schema.errors import InputError
from trainer.configuration.config import LossConfig, Objective, Pick
from trainer.models.losses import pair_losses

SEEDS = range(6)


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances [n, m], own columns and allowed negatives, the own never allowed."""
    generator = np.random.default_rng(seed)
    n, m = 5, 9
    distances = generator.uniform(0.0, 4.0, (n, m))
    distances[0, 3] = distances[0, 4]  # a tie
    own = generator.permutation(m)[:n].astype(np.int32)
    allowed = generator.random((n, m)) < 0.5
    allowed[np.arange(n), (own + 1) % m] = True
    allowed[np.arange(n), own] = False
    return distances, own, allowed


def oracle(row: np.ndarray, own: int, allowed: np.ndarray, config: LossConfig) -> float:
    positive, negatives = row[own], row[allowed]
    if config.objective is Objective.SOFTMAX:
        terms = np.exp(-np.append(negatives, positive) / config.temperature)
        return float(-np.log(np.exp(-positive / config.temperature) / terms.sum()))
    if config.pick is Pick.HARDEST:
        negatives = negatives[[np.argmin(negatives)]]
    elif config.pick is Pick.SEMI_HARD:
        beyond = negatives[negatives > positive]
        negatives = [beyond.min() if len(beyond) else negatives.max()]
    return float(np.mean([max(0.0, positive - d + config.margin) for d in negatives]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "config",
    [
        *(LossConfig(pick=pick) for pick in Pick),
        LossConfig(margin=1.5),
        *(LossConfig(Objective.SOFTMAX, temperature=t) for t in (0.05, 0.3, 2.0)),
    ],
)
def test_losses_are_those_of_their_definitions(seed: int, config: LossConfig) -> None:
    distances, own, allowed = random_case(seed)
    expected = [
        oracle(*case, config) for case in zip(distances, own, allowed, strict=True)
    ]
    found = pair_losses(distances.astype(np.float32), own, allowed, config)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_softmax_loss_of_a_hand_worked_case() -> None:
    # Two negatives at the positive's distance: one chance in three.
    distances = np.array([[1.0, 1.0, 1.0, 0.0]], np.float32)
    allowed = np.array([[False, True, True, False]])
    config = LossConfig(Objective.SOFTMAX)
    found = pair_losses(distances, np.array([0]), allowed, config)
    np.testing.assert_allclose(found, [np.log(3.0)], rtol=1e-6)


def test_softmax_loss_neither_overflows_nor_vanishes() -> None:
    distances = np.array([[4.0, 0.0], [0.0, 4.0]], np.float32)
    allowed = np.array([[False, True], [False, True]])
    config = LossConfig(Objective.SOFTMAX, temperature=0.01)
    far, near = pair_losses(distances, np.array([0, 0]), allowed, config)
    assert float(far) == pytest.approx(400.0)
    assert float(near) == pytest.approx(0.0, abs=1e-6)


def test_semi_hard_negative_is_the_farthest_where_all_are_nearer() -> None:
    distances = np.array([[2.0, 0.5, 1.5]], np.float32)
    allowed = np.array([[False, True, True]])
    found = pair_losses(
        distances, np.array([0]), allowed, LossConfig(pick=Pick("semi_hard"))
    )
    np.testing.assert_allclose(found, [2.0 - 1.5 + 0.2], rtol=1e-6)


def test_softmax_loss_with_a_pick_is_refused() -> None:
    with pytest.raises(InputError, match=r"loss\.pick=hardest"):
        LossConfig(Objective.SOFTMAX, pick=Pick.HARDEST)
