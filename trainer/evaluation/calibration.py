"""Calibration: at this distance, how often is the product the one that was worn?

Every held-out pair puts its positive and its drawn negatives on the scale of the
model's distance. Two things are said about that scale: the share of positives in bins
of it, and a curve p(d) = 1 / (1 + exp(-(intercept + slope · d))), fitted on the
validation split (Platt 1999), that anybody can apply to a published distance. The
expected calibration error (Naeini et al. 2015) says how far the curve is from the
shares: the mean over all distances of |share of the bin - mean p in the bin|.

All shares hold for as many positives among negatives as were drawn. Of a category's
whole catalogue a smaller share is worn, by the same factor at every distance as long
as it stays small.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfrecords_schema.hashing import stable_hash
from trainer.evaluation.bootstrap import Estimates, bootstrap_means
from trainer.evaluation.eval_set import CategoryTask

N_BINS = 10

_DIGITS = 6
_MAX_STEPS = 100
_TOLERANCE = 1e-10


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A model's distances of products that were worn, and of drawn ones that were not.

    Attributes:
        distances: [n] float64.
        worn: [n] bool.
        groups: [n] scene group of the pair.
    """

    distances: np.ndarray
    worn: np.ndarray
    groups: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Drawn]) -> Drawn:
        """All of them, one after another."""
        return cls(
            np.concatenate([np.empty(0), *(part.distances for part in parts)]),
            np.concatenate([np.empty(0, bool), *(part.worn for part in parts)]),
            np.concatenate([np.empty(0, str), *(part.groups for part in parts)]),
        )


def drawn_distances(distances: np.ndarray, task: CategoryTask, rows: slice) -> Drawn:
    """The distances of a block's positives and drawn negatives.

    Args:
        distances: [rows, n_products].
        task: the category.
        rows: the block.
    """
    columns = np.column_stack([task.positives[rows], task.negatives[rows]])
    drawn = columns >= 0
    worn = np.zeros_like(drawn)
    worn[:, 0] = True
    groups = np.array([pair.scene_group for pair in task.pairs[rows]], str)
    taken = np.take_along_axis(distances, np.where(drawn, columns, 0), axis=1)
    return Drawn(
        taken[drawn].astype(np.float64),
        worn[drawn],
        np.repeat(groups, np.count_nonzero(drawn, axis=1)),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class DistanceBin:
    """About equally many distances, nearest bin first.

    Attributes:
        nearest: smallest distance in it.
        farthest: largest distance in it.
        n: distances in it.
        share: of them those of products that were worn.
        low: lower end of the share's 95 % interval over scene groups.
        high: upper end.
        predicted: mean of the curve over them; None without a curve.
    """

    nearest: float
    farthest: float
    n: int
    share: float
    low: float
    high: float
    predicted: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """p(d) = 1 / (1 + exp(-(intercept + slope · d))).

    Attributes:
        intercept: of the log odds.
        slope: of the log odds; below 0 where near products are worn more often.
        n: distances it was fitted on.
    """

    intercept: float
    slope: float
    n: int

    def __call__(self, distances: np.ndarray) -> np.ndarray:
        """Probability that the product is the one worn; [n] → [n]."""
        return _sigmoid(self.intercept + self.slope * distances)


@dataclasses.dataclass(frozen=True, slots=True)
class Calibration:
    """What `metrics.json` says of a model's distance.

    Attributes:
        model: whose distance.
        base_share: of positives among all the distances.
        bins: nearest first.
        rises: how often a bin has a larger share than the one before it; 0 where the
            share falls with the distance throughout.
        curve: fitted on the validation split; None where that has no pairs of the
            categories.
        expected_calibration_error: of the curve; None without one.
    """

    model: str
    base_share: float
    bins: tuple[DistanceBin, ...]
    rises: int
    curve: Curve | None
    expected_calibration_error: float | None


def calibrate(
    model: str, drawn: Drawn, validation: Drawn, *, resamples: int, seed: int
) -> Calibration:
    """Measure a model's calibration.

    Args:
        model: its name.
        drawn: its distances of the evaluated pairs.
        validation: of the validation pairs.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    curve = fit_curve(validation) if len(validation.worn) else None
    bins = _bins(drawn, curve, resamples=resamples, seed=seed)
    shares = np.array([each.share for each in bins])
    return Calibration(
        model=model,
        base_share=_rounded(drawn.worn.mean()),
        bins=bins,
        rises=int(np.count_nonzero(np.diff(shares) > 0)),
        curve=curve,
        expected_calibration_error=_calibration_error(bins),
    )


def bin_numbers(distances: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """Quantile bin of each distance, equal ones in the same.

    A distance's place is the mean rank of all that are equal to it, as a share of n.

    Args:
        distances: [n].
        n_bins: at most so many are used.

    Returns:
        [n] int, 0 for the nearest.
    """
    ordered = np.sort(distances)
    before = np.searchsorted(ordered, distances, side="left")
    up_to = np.searchsorted(ordered, distances, side="right")
    return n_bins * (before + up_to) // (2 * len(distances))


def _bins(
    drawn: Drawn, curve: Curve | None, *, resamples: int, seed: int
) -> tuple[DistanceBin, ...]:
    numbers = bin_numbers(drawn.distances)
    used = np.unique(numbers)
    inside = numbers[:, None] == used
    shares = bootstrap_means(
        np.where(inside, drawn.worn[:, None], np.nan),
        drawn.groups.tolist(),
        key=stable_hash(seed, "calibration"),
        resamples=resamples,
    )
    return tuple(
        _bin(drawn.distances[members], shares, i, curve)
        for i, members in enumerate(inside.T)
    )


def _bin(
    distances: np.ndarray, shares: Estimates, i: int, curve: Curve | None
) -> DistanceBin:
    return DistanceBin(
        nearest=_rounded(distances.min()),
        farthest=_rounded(distances.max()),
        n=len(distances),
        share=_rounded(shares.value[i]),
        low=_rounded(shares.low[i]),
        high=_rounded(shares.high[i]),
        predicted=None if curve is None else _rounded(curve(distances).mean()),
    )


def _calibration_error(bins: Sequence[DistanceBin]) -> float | None:
    gaps = [b.n * abs(b.share - b.predicted) for b in bins if b.predicted is not None]
    return _rounded(sum(gaps) / sum(b.n for b in bins)) if gaps else None


def fit_curve(drawn: Drawn) -> Curve:
    """Fit the curve by maximum likelihood, with Platt's targets.

    They are (n⁺ + 1) / (n⁺ + 2) and 1 / (n⁻ + 2) in place of 1 and 0, so that a best
    curve exists even where a distance parts all positives from all negatives. The
    likelihood is concave: Newton's steps, halved while they overshoot, find its top.

    Args:
        drawn: at least one distance.
    """
    n_worn = np.count_nonzero(drawn.worn)
    n_others = len(drawn.worn) - n_worn
    targets = np.where(drawn.worn, (n_worn + 1) / (n_worn + 2), 1 / (n_others + 2))
    mean, deviation = drawn.distances.mean(), drawn.distances.std()
    prior = targets.mean()
    start = np.array([np.log(prior / (1 - prior)), 0.0])
    if deviation == 0:  # one distance for all says nothing about the slope
        return Curve(_rounded(start[0]), 0.0, len(targets))
    # Standardised, both parameters are of one size.
    design = np.column_stack([np.ones(len(targets)), drawn.distances - mean])
    design[:, 1] /= deviation
    log_odds = _newton(design, targets, start)
    slope = log_odds[1] / deviation
    return Curve(_rounded(log_odds[0] - slope * mean), _rounded(slope), len(targets))


def _newton(design: np.ndarray, targets: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Parameters [2] of the largest likelihood of targets [n] given a design [n, 2]."""
    found, loss = start, _cross_entropy(design @ start, targets)
    for _ in range(_MAX_STEPS):
        p = _sigmoid(design @ found)
        gradient = design.T @ (p - targets)
        curvature = (design * (p * (1 - p))[:, None]).T @ design
        step = np.linalg.solve(curvature, gradient)
        while (lower := _cross_entropy(design @ (found - step), targets)) > loss:
            step /= 2
            if np.abs(step).max() < _TOLERANCE:
                return found
        found, loss = found - step, lower
        if np.abs(step).max() < _TOLERANCE:
            return found
    raise ArithmeticError(f"no best curve after {_MAX_STEPS} steps: at {found}")


def _cross_entropy(log_odds: np.ndarray, targets: np.ndarray) -> float:
    return float(np.sum(np.logaddexp(0.0, log_odds) - targets * log_odds))


def _sigmoid(log_odds: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * log_odds))  # which cannot overflow


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS) + 0.0  # the sum turns -0.0 into 0.0
