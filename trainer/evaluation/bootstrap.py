"""Bootstrap intervals that resample scenes, not pairs.

Pairs of one scene (and of near-duplicate scenes, which share a scene group) succeed and
fail together; resampling them one by one would make the interval too narrow. A resample
draws as many scene groups as there are, with replacement, and takes all pairs of each:
a mean over pairs is then a ratio of two sums over groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

CONFIDENCE = 0.95
DEFAULT_RESAMPLES = 2_000
"""Puts about 50 resamples beyond each end of a 95 % interval."""

LEAST_RESAMPLES = 40
"""With fewer, a 95 % interval has not one resample beyond its ends."""

_BLOCK_ENTRIES = 4_000_000
"""Counts held at once: 32 MB of int64, and as much again as float64."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Means over pairs with percentile intervals, one per column.

    Attributes:
        value: [m] the mean over the pairs themselves; NaN where `n` is 0.
        low: [m] lower end of the 95 % interval.
        high: [m] upper end. With a single scene group both ends are the value: one
            scene says nothing about the spread over scenes.
        n: [m] pairs that have a value.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


def bootstrap_means(
    values: np.ndarray,
    groups: Sequence[str],
    *,
    key: int,
    resamples: int = DEFAULT_RESAMPLES,
) -> Estimates:
    """Means over pairs and their intervals.

    Of two models on the same pairs, pass the differences of their values: in every
    resample both are averaged over the same pairs, so luck with the scenes cancels out.

    Args:
        values: [n, m] float; NaN where a pair has no value in a column.
        groups: [n] scene group of each pair.
        key: seed; the same key and groups give the same resamples for every column.
        resamples: how many times the groups are drawn.
    """
    _, group_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    defined = ~np.isnan(values)
    sums = _sum_by_group(np.where(defined, values, 0.0), group_of)
    sizes = _sum_by_group(defined.astype(float), group_of)
    means = [
        _ratio(counts @ sums, counts @ sizes)
        for counts in resample_counts(len(sums), key=key, resamples=resamples)
    ]
    low, high = _percentiles(np.concatenate(means))
    n = defined.sum(axis=0)
    return Estimates(_ratio(sums.sum(axis=0), sizes.sum(axis=0)), low, high, n)


def resample_counts(n_groups: int, *, key: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each group is in each resample.

    Drawing n groups with replacement is one multinomial draw of n over n equal chances.

    Yields:
        [block, n_groups] float64, `resamples` rows in all.
    """
    generator = np.random.Generator(np.random.Philox(key=key))
    chances = np.full(n_groups, 1.0 / n_groups)
    block = max(1, _BLOCK_ENTRIES // n_groups)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        yield generator.multinomial(n_groups, chances, size=size).astype(float)


def _sum_by_group(values: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    """[n, m] per pair → [n_groups, m]."""
    sums = np.zeros((group_of.max(initial=-1) + 1, values.shape[1]))
    np.add.at(sums, group_of, values)
    return sums


def _ratio(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Quotient, NaN where there is nothing to divide by."""
    return np.divide(sums, sizes, out=np.full(sums.shape, np.nan), where=sizes > 0)


def _percentiles(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interval of each column; resamples without a single value are left out.

    Args:
        means: [resamples, m].
    """
    ends = np.full((2, means.shape[1]), np.nan)
    tail = (1.0 - CONFIDENCE) / 2
    known = ~np.isnan(means).all(axis=0)
    ends[:, known] = np.nanquantile(means[:, known], [tail, 1.0 - tail], axis=0)
    return ends[0], ends[1]
