"""The metric table as rows: every model, metric and slice with its interval.

One bootstrap per slice serves all models, metrics and differences, so all figures of a
slice come from the same resampled scenes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfrecords_schema.hashing import stable_hash
from trainer.evaluation.bootstrap import Estimates, bootstrap_means
from trainer.evaluation.eval_set import EvalPair
from trainer.evaluation.metrics import METRICS

METRICS_FILE = "metrics.json"
"""In a model's folder: how it was measured, and the rows."""

ALL = "all"
DIGITS = 6
"""Decimals of a figure; more than intervals support, fewer than sums differ on."""

DIFFERENCE_METRIC = "binary_accuracy"
_DIFFERENCE_COLUMN = METRICS.index(DIFFERENCE_METRIC)


@dataclasses.dataclass(frozen=True, slots=True)
class MetricRow:
    """One figure.

    Attributes:
        model: preset, baseline, control or `champion`.
        metric: one of `METRICS`, or a `difference_name`.
        slice: `all`, `seen`, `unseen` or a category.
        value: mean over the pairs.
        low: lower end of the 95 % interval.
        high: upper end.
        n: pairs behind it.
    """

    model: str
    metric: str
    slice: str
    value: float
    low: float
    high: float
    n: int


def difference_name(other: str) -> str:
    """Metric name of the paired difference to another model."""
    return f"{DIFFERENCE_METRIC}_minus_{other}"


def slice_masks(pairs: Sequence[EvalPair]) -> dict[str, np.ndarray]:
    """Which pairs are in each slice: name → [n] bool, in the order of the table."""
    seen = np.array([pair.product_seen for pair in pairs], bool)
    categories = np.array([pair.category for pair in pairs])
    by_category = {str(name): categories == name for name in np.unique(categories)}
    return {ALL: np.ones_like(seen), "seen": seen, "unseen": ~seen} | by_category


def metric_rows(
    results: Mapping[str, np.ndarray],
    pairs: Sequence[EvalPair],
    *,
    main: str,
    resamples: int,
    seed: int,
) -> list[MetricRow]:
    """All rows, slice after slice; what no pair supports is left out.

    Args:
        results: model → [n, len(METRICS)] float64, its metrics of each pair.
        pairs: n pairs.
        main: the model whose differences to all the others are wanted.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    others = [name for name in results if name != main]
    labels = [(model, metric) for model in results for metric in METRICS]
    labels += [(main, difference_name(other)) for other in others]
    own = results[main][:, _DIFFERENCE_COLUMN]
    gaps = [own - results[other][:, _DIFFERENCE_COLUMN] for other in others]
    columns = np.column_stack([*results.values(), *gaps])
    groups = np.array([pair.scene_group for pair in pairs])
    rows = []
    for name, mask in slice_masks(pairs).items():
        if mask.any():
            key = stable_hash(seed, "bootstrap", name)
            estimates = bootstrap_means(
                columns[mask], groups[mask], key=key, resamples=resamples
            )
            rows += _rows(labels, name, estimates)
    return rows


def _rows(
    labels: Sequence[tuple[str, str]], name: str, estimates: Estimates
) -> list[MetricRow]:
    return [
        MetricRow(
            model,
            metric,
            name,
            value=_rounded(estimates.value[i]),
            low=_rounded(estimates.low[i]),
            high=_rounded(estimates.high[i]),
            n=int(estimates.n[i]),
        )
        for i, (model, metric) in enumerate(labels)
        if estimates.n[i] > 0
    ]


def _rounded(value: float) -> float:
    return round(float(value), DIGITS) + 0.0  # the sum turns -0.0 into 0.0
