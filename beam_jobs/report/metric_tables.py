"""The page's metric tables: models, seen and unseen products, categories."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from beam_jobs.report import charts, formats
from beam_jobs.report.facts import Metric
from beam_jobs.report.measured import (
    ACCURACY,
    ALL,
    CHANCE,
    SEEN,
    UNSEEN,
    Measured,
    bar,
    highest,
    title,
)

_PARTS = (SEEN, UNSEEN)
_SLICED = (ACCURACY, "recall_at_10", "mrr")  # the others would say the same again


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """A figure in a table."""

    text: str
    interval: str
    best: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A table's row: what it is about, and its figures."""

    label: str
    about: str
    css: str
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Models by metrics; a column's name goes with every cell on a narrow page."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class CategoryRow:
    """One category: its accuracy as a dot on the common axis, and other figures."""

    label: str
    parents: str
    n: str
    accuracy: Cell
    mark: charts.IntervalMark
    baseline: Cell
    baseline_name: str
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class CategoryTable:
    """Figures of the model per category.

    Attributes:
        columns: names of the rows' further cells.
        rows: largest category first.
        chance: where 0.5 is on the common axis.
        low: the common axis' left end.
        high: its right end.
    """

    columns: tuple[str, ...]
    rows: tuple[CategoryRow, ...]
    chance: float
    low: str
    high: str


def model_table(measured: Measured) -> Table:
    """Every model and every metric, over all pairs."""
    return _table(measured, [(metric, ALL) for metric in measured.metrics])


def slice_table(measured: Measured) -> Table | None:
    """Seen beside unseen products, or None where these were not told apart."""
    columns = [(metric, part) for metric in _SLICED for part in _PARTS]
    columns = [column for column in columns if measured.get(measured.preset, *column)]
    return _table(measured, columns) if columns else None


def slice_counts(measured: Measured) -> str:
    """How many pairs are seen and unseen."""
    found = {part: measured.get(measured.preset, ACCURACY, part) for part in _PARTS}
    return ", ".join(
        f"{formats.count(metric.n)} {part}" for part, metric in found.items() if metric
    )


def category_table(measured: Measured) -> CategoryTable | None:
    """The model per category, or None where it was not measured so."""
    own = {
        part: metric
        for part in measured.categories
        if (metric := measured.get(measured.preset, ACCURACY, part))
    }
    if not own:
        return None
    bars = [bar(metric, part, "is-model") for part, metric in own.items()]
    axis, marks = charts.strips(bars, reference=CHANCE)
    metrics = [metric for metric in _SLICED[1:] if metric in measured.metrics]
    return CategoryTable(
        tuple(title(metric) for metric in metrics),
        tuple(
            _category_row(measured, metric, mark, metrics)
            for metric, mark in zip(own.values(), marks, strict=True)
        ),
        axis.place(CHANCE),
        f"{axis.low:.2f}",
        f"{axis.high:.2f}",
    )


def _category_row(
    measured: Measured,
    own: Metric,
    mark: charts.IntervalMark,
    metrics: Sequence[str],
) -> CategoryRow:
    part = own.slice
    label, parents = formats.category(part)
    baseline = measured.best_baseline(ACCURACY, part)
    return CategoryRow(
        label,
        parents,
        formats.count(own.n),
        _cell(own),
        mark,
        _cell(baseline),
        formats.words(baseline.model) if baseline else "",
        tuple(_cell(measured.get(measured.preset, name, part)) for name in metrics),
    )


def _table(measured: Measured, columns: Sequence[tuple[str, str]]) -> Table:
    best = {
        column: highest(measured.get(model, *column) for model in measured.rivals)
        for column in columns
    }
    rows = []
    for model in measured.models:
        found = {column: measured.get(model, *column) for column in columns}
        cells = tuple(
            _cell(
                metric, best=model in measured.rivals and _equal(metric, best[column])
            )
            for column, metric in found.items()
        )
        if any(found.values()):
            name, css = formats.words(model), measured.css(model)
            rows.append(Row(name, measured.about(model), css, cells))
    return Table(tuple(title(*column) for column in columns), tuple(rows))


def _equal(metric: Metric | None, best: Metric | None) -> bool:
    return metric is not None and best is not None and metric.value == best.value


def _cell(metric: Metric | None, *, best: bool = False) -> Cell:
    if metric is None:
        return Cell(formats.ABSENT, "")
    interval = formats.interval(metric.low, metric.high)
    return Cell(formats.figure(metric.value), interval, best)
