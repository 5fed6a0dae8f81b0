from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from evaluation_world import eval_pair

from trainer.evaluation.calibration import (
    Calibration,
    Curve,
    Drawn,
    bin_numbers,
    calibrate,
    drawn_distances,
    fit_curve,
)
from trainer.evaluation.eval_set import CategoryTask


def drawn(distances: list[float] | np.ndarray, worn: list[int] | np.ndarray) -> Drawn:
    """Each distance in a scene of its own."""
    groups = np.array([f"g{i}" for i in range(len(distances))])
    return Drawn(np.array(distances, float), np.array(worn, bool), groups)


def nothing() -> Drawn:
    return Drawn.joined([])


def measured(found: Drawn, validation: Drawn | None = None) -> Calibration:
    return calibrate("paper", found, validation or nothing(), resamples=60, seed=0)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-values))


def random_drawn(seed: int, n: int, *, slope: float, levels: int = 10_000) -> Drawn:
    """Distances of a model whose log odds are 1 + slope · d, rounded to levels."""
    generator = np.random.default_rng(seed)
    distances = np.round(generator.uniform(0.0, 4.0, n) * levels / 4) * 4 / levels
    worn = generator.random(n) < sigmoid(1.0 + slope * distances)
    return drawn(distances, worn)


def test_positive_and_drawn_negatives_of_a_block_are_taken() -> None:
    pairs = tuple(eval_pair(str(i), f"group-{i}") for i in range(3))
    task = CategoryTask(
        category="shoes",
        pairs=pairs,
        product_ids=("a", "b", "c", "d"),
        popularity=np.zeros(4, np.float32),
        pictures=("a", "b", "c", "d"),
        pooled=np.zeros((4, 2), np.float16),
        picture_of=np.arange(4),
        positives=np.array([0, 2, 3]),
        excluded=(np.array([], np.int64), np.array([1]), np.array([], np.int64)),
        negatives=np.array([[1, 3], [0, -1], [-1, -1]]),
    )
    distances = np.array([[0.5, np.inf, 1.5, 2.5], [0.1, 0.2, 0.3, 0.4]], np.float32)
    found = drawn_distances(distances, task, slice(1, 3))
    assert found.distances == pytest.approx([1.5, 0.5, 0.4])
    assert found.worn.tolist() == [True, False, True]
    assert found.groups.tolist() == ["group-1", "group-1", "group-2"]


def test_bins_hold_equally_many_distances_nearest_first() -> None:
    numbers = bin_numbers(np.random.default_rng(0).permutation(50).astype(float), 5)
    assert np.bincount(numbers).tolist() == [10] * 5
    assert bin_numbers(np.array([3.0, 1.0, 2.0, 4.0]), 2).tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_equal_distances_share_a_bin_and_bins_are_in_order(seed: int) -> None:
    distances = np.random.default_rng(seed).integers(0, 6, 200).astype(float)
    numbers = bin_numbers(distances)
    assert ((numbers >= 0) & (numbers < 10)).all()
    for level in range(6):
        assert len(set(numbers[distances == level].tolist())) == 1
    order = np.argsort(distances)
    assert (np.diff(numbers[order]) >= 0).all()


def test_shares_worked_by_hand() -> None:
    # Ten distances in ten bins would be one each; ties make it bins of 4, 2 and 4.
    found = measured(
        drawn([1, 1, 1, 1, 2, 2, 3, 3, 3, 3], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    )
    assert [(b.nearest, b.farthest, b.n, b.share) for b in found.bins] == [
        (1.0, 1.0, 4, 0.75),
        (2.0, 2.0, 2, 0.5),
        (3.0, 3.0, 4, 0.0),
    ]
    assert found.base_share == 0.4
    assert found.rises == 0
    assert all(b.low <= b.share <= b.high for b in found.bins)


def test_share_that_rises_with_the_distance_is_counted() -> None:
    found = measured(drawn([1, 1, 2, 2, 3, 3, 4, 4], [1, 0, 1, 1, 0, 0, 1, 0]))
    assert [b.share for b in found.bins] == [0.5, 1.0, 0.0, 0.5]
    assert found.rises == 2


def test_interval_of_a_share_resamples_scenes_not_products() -> None:
    found = random_drawn(0, 400, slope=-1.0)
    alone = measured(found)
    one_scene = dataclasses.replace(found, groups=np.full(400, "g"))
    assert all(b.low < b.share < b.high for b in alone.bins[:3])
    assert all(b.low == b.share == b.high for b in measured(one_scene).bins)


def test_curve_worked_by_hand() -> None:
    # With two distances the best curve goes through the mean target of each. Platt's
    # targets of 4 worn and 4 others are 5/6 and 1/6: at 0 three of four are worn, mean
    # 2/3, log odds ln 2; at 1 one of four, mean 1/3, log odds -ln 2.
    curve = fit_curve(drawn([0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0, 1]))
    assert curve.intercept == pytest.approx(np.log(2), abs=1e-6)
    assert curve.slope == pytest.approx(-2 * np.log(2), abs=1e-6)
    assert curve(np.array([0.5]))[0] == pytest.approx(0.5, abs=1e-6)
    assert curve.n == 8


@pytest.mark.parametrize("levels", [3, 10_000])
@pytest.mark.parametrize("seed", range(4))
def test_curve_is_where_the_likelihood_is_flat(seed: int, levels: int) -> None:
    found = random_drawn(seed, 300, slope=-1.5, levels=levels)
    curve = fit_curve(found)
    n_worn = found.worn.sum()
    targets = np.where(found.worn, (n_worn + 1) / (n_worn + 2), 1 / (302 - n_worn))
    gaps = sigmoid(curve.intercept + curve.slope * found.distances) - targets
    # Parameters are rounded to six places, so the sums are not zero to the last bit.
    assert gaps.sum() == pytest.approx(0.0, abs=1e-3)
    assert (gaps * found.distances).sum() == pytest.approx(0.0, abs=1e-3)


def test_curve_finds_the_odds_that_made_the_data() -> None:
    curve = fit_curve(random_drawn(1, 40_000, slope=-2.0))
    assert (curve.intercept, curve.slope) == pytest.approx((1.0, -2.0), abs=0.1)


def test_curve_of_distances_that_part_all_worn_from_all_others_is_finite() -> None:
    curve = fit_curve(drawn([1, 2, 3, 4, 5, 6], [1, 1, 1, 0, 0, 0]))
    assert -20 < curve.slope < 0
    shares = curve(np.array([1.0, 6.0]))
    assert shares[0] > 0.5 > shares[1]


@pytest.mark.parametrize("worn", [[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
def test_curve_of_one_distance_is_flat(worn: list[int]) -> None:
    curve = fit_curve(drawn([2.0] * 4, worn))
    assert curve.slope == 0
    assert 0 < curve(np.array([2.0]))[0] < 1


def test_error_is_the_mean_gap_between_share_and_curve() -> None:
    found = measured(
        drawn([1, 1, 1, 1, 3, 3], [1, 1, 1, 0, 0, 1]),
        drawn([0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0, 1]),
    )
    assert found.curve is not None
    # Log odds ln 2 - 2 ln 2 · d: -ln 2 at 1 and -5 ln 2 at 3, so 1/3 and 1/33.
    assert [b.predicted for b in found.bins] == pytest.approx([1 / 3, 1 / 33], abs=1e-5)
    expected = (4 * abs(0.75 - 1 / 3) + 2 * abs(0.5 - 1 / 33)) / 6
    assert found.expected_calibration_error == pytest.approx(expected, abs=1e-5)


def test_model_that_keeps_its_word_has_a_small_error() -> None:
    found = random_drawn(2, 20_000, slope=-1.5)
    kept = measured(found, random_drawn(3, 20_000, slope=-1.5))
    broken = measured(found, random_drawn(3, 20_000, slope=+0.5))
    assert kept.expected_calibration_error is not None
    assert broken.expected_calibration_error is not None
    assert kept.expected_calibration_error < 0.02
    assert broken.expected_calibration_error > 0.2


def test_without_validation_pairs_there_are_shares_and_no_curve() -> None:
    found = measured(random_drawn(0, 100, slope=-1.0))
    assert found.curve is None
    assert found.expected_calibration_error is None
    assert {b.predicted for b in found.bins} == {None}
    assert sum(b.n for b in found.bins) == 100


def test_far_distances_do_not_overflow() -> None:
    shares = Curve(0.0, -1.0, 2)(np.array([-1e6, 1e6]))
    assert shares.tolist() == [1.0, 0.0]
