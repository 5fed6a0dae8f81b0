from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation import bootstrap
from trainer.evaluation.bootstrap import bootstrap_means, resample_counts


def slow_interval(
    values: list[float], groups: list[str], *, counts: np.ndarray
) -> tuple[float, float]:
    """The interval by writing every resample out, pair by pair."""
    names = sorted(set(groups))
    means = []
    for times in counts.astype(int):
        sample = []
        for name, repeats in zip(names, times, strict=True):
            members = [v for v, g in zip(values, groups, strict=True) if g == name]
            sample += [v for v in members * repeats if not np.isnan(v)]
        if sample:
            means.append(sum(sample) / len(sample))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def all_counts(n_groups: int, *, key: int, resamples: int) -> np.ndarray:
    return np.concatenate(list(resample_counts(n_groups, key=key, resamples=resamples)))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_interval_equals_that_of_a_slow_loop(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.random(15)
    values[generator.integers(15)] = np.nan
    groups = [f"g{i}" for i in generator.integers(0, 6, 15)]
    found = bootstrap_means(values[:, None], groups, key=seed, resamples=60)
    counts = all_counts(len(set(groups)), key=seed, resamples=60)
    low, high = slow_interval(values.tolist(), groups, counts=counts)
    assert found.value[0] == pytest.approx(np.nanmean(values))
    assert (found.low[0], found.high[0]) == pytest.approx((low, high))
    assert found.n[0] == 14


def test_mean_weighs_pairs_not_groups() -> None:
    # Three pairs of one scene and one of another: (1 + 1 + 1 + 0) / 4.
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    found = bootstrap_means(values, ["a", "a", "a", "b"], key=1, resamples=400)
    assert found.value[0] == 0.75
    # A resample holds a twice, a and b, or b twice: means 1, 3/4 and 0.
    assert (found.low[0], found.high[0]) == (0.0, 1.0)


@given(seed=st.integers(0, 2**32 - 1), n_groups=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_resample_draws_as_many_groups_as_there_are(seed: int, n_groups: int) -> None:
    counts = all_counts(n_groups, key=seed, resamples=50)
    assert counts.shape == (50, n_groups)
    assert (counts.sum(axis=1) == n_groups).all()


def test_resamples_do_not_depend_on_the_block_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = all_counts(7, key=3, resamples=50)
    monkeypatch.setattr(bootstrap, "_BLOCK_ENTRIES", 30)
    blocks = list(resample_counts(7, key=3, resamples=50))
    assert len(blocks) == 13
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_same_key_gives_the_same_interval_and_another_key_another() -> None:
    values = np.random.default_rng(0).random((50, 2))
    groups = [str(i) for i in range(50)]
    first, again, other = (
        bootstrap_means(values, groups, key=key, resamples=200) for key in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.low, again.low)
    assert (first.low != other.low).all()
    np.testing.assert_array_equal(first.value, other.value)


def test_interval_covers_the_known_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    groups = [str(i // 2) for i in range(120)]
    covered = 0
    for trial in range(200):
        scene = np.repeat(generator.normal(0.0, 1.0, 60), 2)
        values = (0.3 + scene + generator.normal(0.0, 0.5, 120))[:, None]
        found = bootstrap_means(values, groups, key=trial, resamples=300)
        covered += int(found.low[0] <= 0.3 <= found.high[0])
    # 95 % of 200 is 190; three standard deviations below and above.
    assert 178 <= covered <= 199


def test_pairs_of_one_scene_do_not_narrow_the_interval() -> None:
    scene = np.random.default_rng(1).random(40)
    alone = bootstrap_means(scene[:, None], [str(i) for i in range(40)], key=2)
    copied = bootstrap_means(
        np.repeat(scene, 10)[:, None], [str(i // 10) for i in range(400)], key=2
    )
    widths = [(e.high - e.low)[0] for e in (alone, copied)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_paired_difference_is_narrower_than_the_spread_of_scenes() -> None:
    generator = np.random.default_rng(2)
    groups = [str(i) for i in range(80)]
    easy = generator.random(80)
    found = bootstrap_means(
        (easy + 0.1)[:, None] - easy[:, None], groups, key=1, resamples=200
    )
    np.testing.assert_allclose([found.value, found.low, found.high], 0.1)


def test_paired_difference_equals_difference_on_the_same_resamples() -> None:
    generator = np.random.default_rng(3)
    values, others = generator.random((2, 30, 1))
    groups = [str(i // 3) for i in range(30)]
    counts = all_counts(10, key=9, resamples=100)
    weights = np.repeat(counts, 3, axis=1) / (3 * counts.sum(axis=1, keepdims=True))
    means = weights @ values - weights @ others
    found = bootstrap_means(values - others, groups, key=9, resamples=100)
    # Groups sort as text, "0" to "9": their order here.
    expected = np.percentile(means, [2.5, 97.5])
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(expected))


def test_column_without_values_has_no_figures() -> None:
    values = np.array([[1.0, np.nan], [0.0, np.nan]])
    found = bootstrap_means(values, ["a", "b"], key=1, resamples=50)
    assert found.n.tolist() == [2, 0]
    assert np.isnan([found.value[1], found.low[1], found.high[1]]).all()


def test_single_scene_has_an_interval_of_no_width() -> None:
    values = np.array([[0.2], [0.4]])
    found = bootstrap_means(values, ["a", "a"], key=1, resamples=50)
    np.testing.assert_allclose([found.value, found.low, found.high], 0.3)
