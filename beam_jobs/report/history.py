"""The figures of the models of past dates: a chart per metric, and one table."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence

from beam_jobs.report import formats
from beam_jobs.report.catalog_facts import PastFigure
from beam_jobs.report.charts import WIDTH, Axis, Tick, padded
from beam_jobs.report.measured import ACCURACY, title
from beam_jobs.report.metric_tables import Cell

HISTORY_METRICS = (ACCURACY, "recall_at_10", "mrr")

_MAX_DATE_LABELS = 4  # an ISO date is some 60 units wide


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """A date's figure, placed: the dot, its interval's ends, and what it says."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryChart:
    """One metric over run dates, each with its interval."""

    title: str
    width: float
    height: float
    x: Axis
    y: Axis
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """The `points` of a polyline."""
        return " ".join(f"{point.x},{point.y}" for point in self.points)


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryRow:
    """A date, whose model it was, and its figures."""

    run_date: str
    run_id: str
    model: str
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """Charts and table of the past dates; the table's newest date is first."""

    charts: tuple[HistoryChart, ...]
    columns: tuple[str, ...]
    rows: tuple[HistoryRow, ...]


def build_history(figures: Sequence[PastFigure]) -> History | None:
    """The history part of the page, or None where nothing was published.

    Args:
        figures: oldest date first.
    """
    if not figures:
        return None
    found = {figure.metric for figure in figures}
    metrics = [metric for metric in HISTORY_METRICS if metric in found]
    return History(
        tuple(
            history_chart(title(metric), [f for f in figures if f.metric == metric])
            for metric in metrics
        ),
        tuple(title(metric) for metric in metrics),
        _rows(figures, metrics),
    )


def history_chart(name: str, figures: Sequence[PastFigure]) -> HistoryChart:
    """The chart of one metric.

    Args:
        name: what people call the metric.
        figures: of that metric, at least one, oldest date first.
    """
    days = [figure.run_date.toordinal() for figure in figures]
    x = Axis(min(days), max(days), 54.0, WIDTH - 38.0)
    if x.low == x.high:  # a single date stands in the middle
        x = Axis(x.low - 1, x.high + 1, x.start, x.end)
    low = min(figure.low for figure in figures)
    high = max(figure.high for figure in figures)
    y = Axis(*padded([low, high]), 172.0, 12.0)
    return HistoryChart(
        name,
        WIDTH,
        196.0,
        x,
        y,
        _date_ticks(sorted(set(days)), x),
        y.ticks(at_most=6),
        tuple(
            Point(
                x.place(figure.run_date.toordinal()),
                y.place(figure.value),
                y.place(figure.low),
                y.place(figure.high),
                f"{figure.run_date}: {formats.figure(figure.value)}, "
                f"{formats.interval(figure.low, figure.high)}, model {figure.run_id}",
            )
            for figure in figures
        ),
    )


def _date_ticks(days: Sequence[int], x: Axis) -> tuple[Tick, ...]:
    """Labels of dates there are, the last one always, none over another."""
    gap = (x.end - x.start) / (_MAX_DATE_LABELS - 0.5)
    ticks: list[Tick] = []
    for day in reversed(days):
        at = x.place(day)
        if ticks and ticks[-1].at - at < gap:
            continue
        ticks.append(Tick(at, datetime.date.fromordinal(day).isoformat()))
    return tuple(reversed(ticks))


def _rows(
    figures: Sequence[PastFigure], metrics: Sequence[str]
) -> tuple[HistoryRow, ...]:
    by_date: dict[tuple[datetime.date, str, str], dict[str, PastFigure]] = {}
    for figure in figures:
        key = figure.run_date, figure.run_id, figure.model
        by_date.setdefault(key, {})[figure.metric] = figure
    return tuple(
        HistoryRow(
            run_date.isoformat(),
            run_id,
            formats.words(model),
            tuple(_cell(found.get(metric)) for metric in metrics),
        )
        for (run_date, run_id, model), found in sorted(by_date.items(), reverse=True)
    )


def _cell(figure: PastFigure | None) -> Cell:
    if figure is None:
        return Cell(formats.ABSENT, "")
    return Cell(formats.figure(figure.value), formats.interval(figure.low, figure.high))
