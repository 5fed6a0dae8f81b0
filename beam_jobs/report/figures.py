"""What was measured, as the page shows it: headline, charts, tables, differences."""

from __future__ import annotations

import dataclasses

from beam_jobs.report import charts, formats, metric_tables
from beam_jobs.report.facts import Calibration, Metric, Run
from beam_jobs.report.measured import (
    ACCURACY,
    CHANCE,
    DIFFERENCE,
    Measured,
    bar,
    title,
)

_HEADLINES = {
    ACCURACY: "how often the right product beats another of its category",
    "mrr": "mean of 1 / rank of the right product",
    "recall_at_10": "how often the right product is among the first ten",
}
_TOLD_ABOVE = ("run_id", "model", "dataset", "features", "n_pairs")


@dataclasses.dataclass(frozen=True, slots=True)
class Headline:
    """A figure worth a glance, beside the best baseline's."""

    title: str
    about: str
    text: str
    interval: str
    baseline: str


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """The model's accuracy less another's, over the same pairs."""

    other: str
    text: str
    interval: str
    reading: str
    css: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the templates show about the metrics.

    Attributes:
        model: the run's own model, in words.
        n: pairs in the evaluation.
        headlines: the figures worth a glance.
        models: all models and metrics.
        accuracy_chart: binary accuracy of every model.
        differences: the model's accuracy less each other's.
        difference_chart: the same, drawn.
        slices: seen and unseen products.
        slice_counts: how many there are of each.
        categories: the model per category.
        calibration_chart: share of worn products by distance.
        calibration: the curve through it, in a sentence.
        evaluation: how the figures were measured.
    """

    model: str
    n: str
    headlines: tuple[Headline, ...]
    models: metric_tables.Table
    accuracy_chart: charts.IntervalChart | None
    differences: tuple[Difference, ...]
    difference_chart: charts.IntervalChart | None
    slices: metric_tables.Table | None
    slice_counts: str
    categories: metric_tables.CategoryTable | None
    calibration_chart: charts.IntervalChart | None
    calibration: str
    evaluation: tuple[tuple[str, str], ...]


def build_figures(run: Run) -> Figures | None:
    """The metric part of the page, or None where nothing was measured."""
    if not run.metrics:
        return None
    measured = Measured(
        run.metrics, run.evaluation.get("model", run.manifest.get("preset"))
    )
    accuracy = measured.get(measured.preset, ACCURACY)
    return Figures(
        model=formats.words(measured.preset),
        n=formats.count(accuracy.n if accuracy else None),
        headlines=tuple(_headline(measured, metric) for metric in _HEADLINES),
        models=metric_tables.model_table(measured),
        accuracy_chart=_accuracy_chart(measured),
        differences=tuple(_difference(metric) for metric in measured.differences()),
        difference_chart=_difference_chart(measured),
        slices=metric_tables.slice_table(measured),
        slice_counts=metric_tables.slice_counts(measured),
        categories=metric_tables.category_table(measured),
        calibration_chart=_calibration_chart(run.calibration),
        calibration=_curve(run.calibration),
        evaluation=tuple(
            (formats.words(name), _plain(value))
            for name, value in sorted(run.evaluation.items())
            if isinstance(value, str | int | float) and name not in _TOLD_ABOVE
        ),
    )


def _plain(value: str | int | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _headline(measured: Measured, metric: str) -> Headline:
    own, baseline = (
        measured.get(measured.preset, metric),
        measured.best_baseline(metric),
    )
    against = ""
    if baseline is not None:
        name = formats.words(baseline.model)
        against = f"{formats.figure(baseline.value)} with {name}, the best baseline"
    return Headline(
        title(metric),
        _HEADLINES[metric],
        formats.figure(own.value if own else None),
        formats.interval(own.low, own.high) if own else "",
        against,
    )


def _accuracy_chart(measured: Measured) -> charts.IntervalChart | None:
    found = {model: measured.get(model, ACCURACY) for model in measured.models}
    rows = [
        bar(metric, model, measured.css(model))
        for model, metric in found.items()
        if metric is not None
    ]
    return charts.interval_chart(rows, reference=CHANCE, reference_label="chance 0.5")


def _difference_chart(measured: Measured) -> charts.IntervalChart | None:
    rows = [
        bar(metric, _other(metric), "is-model", signed=True)
        for metric in measured.differences()
    ]
    return charts.interval_chart(rows, reference=0.0, reference_label="no difference")


def _calibration_chart(calibration: Calibration | None) -> charts.IntervalChart | None:
    if calibration is None:
        return None
    rows = [
        charts.Bar(
            f"{formats.figure(each.nearest)} to {formats.figure(each.farthest)}",
            each.share,
            each.low,
            each.high,
            formats.figure(each.share),
            "is-model",
        )
        for each in calibration.bins
    ]
    base = calibration.base_share
    return charts.interval_chart(
        rows, reference=base, reference_label=f"at any distance {formats.figure(base)}"
    )


def _curve(calibration: Calibration | None) -> str:
    if calibration is None or calibration.slope is None:
        return ""
    slope = formats.difference(calibration.slope)
    return (
        f"Fitted on the validation pairs: 1 / (1 + exp(−({calibration.intercept:.3f} "
        f"{slope} · distance))), with an expected calibration error of "
        f"{formats.figure(calibration.error)}."
    )


def _other(metric: Metric) -> str:
    return metric.metric.removeprefix(DIFFERENCE)


def _difference(metric: Metric) -> Difference:
    reading, css = "no interval", "is-even"
    if metric.low is not None and metric.high is not None:
        reading = "cannot be told apart"
        if metric.low > 0:
            reading, css = "model is better", "is-better"
        elif metric.high < 0:
            reading, css = "model is worse", "is-worse"
    return Difference(
        formats.words(_other(metric)),
        formats.difference(metric.value),
        formats.interval(metric.low, metric.high, signed=True),
        reading,
        css,
    )


def training_charts(run: Run) -> tuple[charts.LineChart, ...]:
    """Loss and accuracy over the epochs."""
    loss = charts.line_chart(
        "Triplet loss",
        {
            "training": [(epoch.epoch, epoch.loss) for epoch in run.epochs],
            "validation": [
                (epoch.epoch, epoch.validation_loss) for epoch in run.epochs
            ],
        },
        y_title="loss",
        css={"training": "is-other", "validation": "is-model"},
        best=run.best_epoch,
    )
    accuracy = charts.line_chart(
        "Binary accuracy",
        {"validation": [(e.epoch, e.validation_accuracy) for e in run.epochs]},
        y_title="accuracy",
        css={"validation": "is-model"},
        best=run.best_epoch,
    )
    return tuple(chart for chart in (loss, accuracy) if chart is not None)
