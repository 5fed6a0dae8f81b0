"""The metric table as text for people: aligned columns, intervals in brackets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trainer.evaluation.calibration import Calibration
from trainer.evaluation.controls import describe_controls
from trainer.evaluation.metric_rows import (
    ALL,
    DIFFERENCE_METRIC,
    MetricRow,
    difference_name,
)
from trainer.evaluation.metrics import METRICS
from trainer.evaluation.scorers import BACKBONE_COSINE

MISSING = "—"
_PREFIX = difference_name("")

Rows = Mapping[tuple[str, str, str], MetricRow]
"""Rows by (model, metric, slice)."""


def render_report(
    rows: Sequence[MetricRow], evaluation: Mapping[str, Any], calibration: Calibration
) -> str:
    """The whole readable report, ending in a newline.

    Args:
        rows: all rows.
        evaluation: the configuration that `metrics.json` carries.
        calibration: of the model.
    """
    found = _by_key(rows)
    main = evaluation["model"]
    parts = [
        _heading(evaluation),
        render_headline(rows),
        _section(
            f"Binary accuracy of {main} minus that of another model, same pairs",
            render_differences(rows, main),
        ),
        _section("Controls", _controls(main, _models(rows))),
        _section(
            "Products seen as positives in the train split, and unseen ones",
            _by_slice(found, _models(rows), ("seen", "unseen")),
        ),
        _section(
            "By category", _by_slice(found, (main, BACKBONE_COSINE), _categories(rows))
        ),
        _section(
            f"How often a product at a distance of {main} is the one worn, one beside "
            f"{evaluation['negatives']} drawn negatives",
            render_calibration(calibration),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def render_headline(rows: Sequence[MetricRow]) -> str:
    """Models by metrics over all pairs, with the number of pairs."""
    found = _by_key(rows)
    lines = [
        [model, *_cells(found, model, ALL), _count(found, model, ALL)]
        for model in _models(rows)
    ]
    return align([["model", *METRICS, "pairs"], *lines])


def render_differences(rows: Sequence[MetricRow], main: str) -> str:
    """The paired differences of the main model, over all pairs."""
    gaps = [
        [row.metric.removeprefix(_PREFIX), interval(row, signed=True), str(row.n)]
        for row in rows
        if row.model == main and row.slice == ALL and row.metric.startswith(_PREFIX)
    ]
    return align([["minus", DIFFERENCE_METRIC, "pairs"], *gaps])


def render_calibration(calibration: Calibration) -> str:
    """The bins of the distance, and the curve beneath them."""
    lines = [
        [
            f"{each.nearest:.3f} to {each.farthest:.3f}",
            str(each.n),
            f"{each.share:.3f} [{each.low:.3f}, {each.high:.3f}]",
            f"{each.share / calibration.base_share:.2f}",
            MISSING if each.predicted is None else f"{each.predicted:.3f}",
        ]
        for each in calibration.bins
    ]
    columns = ["distance", "products", "worn", "times the mean", "by the curve"]
    return "\n".join([align([columns, *lines]), *_curve(calibration)])


def _curve(calibration: Calibration) -> list[str]:
    rises, curve = calibration.rises, calibration.curve
    lines = [f"bins with a larger share than the one before: {rises}"]
    if curve is None:
        return [*lines, "no curve: the validation split has no pairs to fit it on"]
    formula = f"1 / (1 + exp(-({curve.intercept:.3f} {curve.slope:+.3f} · distance)))"
    return [
        *lines,
        f"curve: {formula}, fitted on {curve.n} products of the validation split",
        f"expected calibration error: {calibration.expected_calibration_error:.3f}",
    ]


def _controls(main: str, models: Sequence[str]) -> str:
    return "\n".join(
        f"{name} {sentence}" for name, sentence in describe_controls(main, models)
    )


def interval(row: MetricRow | None, *, signed: bool = False) -> str:
    """`value [low, high]`, or a dash where there is no such row."""
    if row is None:
        return MISSING
    form = "+.3f" if signed else ".3f"
    return f"{row.value:{form}} [{row.low:{form}}, {row.high:{form}}]"


def align(lines: Sequence[Sequence[str]]) -> str:
    """Cells in columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _heading(evaluation: Mapping[str, Any]) -> str:
    champion = evaluation["champion"] or "none yet"
    lines = [
        f"Model {evaluation['run_id']} ({evaluation['model']}), "
        f"data set {evaluation['dataset']}, split {evaluation['split']}: "
        f"{evaluation['n_pairs']} pairs in {evaluation['n_scene_groups']} scene groups",
        f"Champion compared with: {champion}",
        f"Binary accuracy and fill-in-the-blank over {evaluation['negatives']} drawn "
        "negatives a pair; AUC and ranks over the category's whole catalogue without "
        "co-positives; ties count half; in brackets 95 % bootstrap intervals "
        f"({evaluation['resamples']} resamples of scene groups)",
    ]
    lines += [f"Note: {note}" for note in evaluation["notes"]]
    return "\n".join(lines)


def _section(title: str, body: str) -> str:
    return f"{title}\n{body}"


def _by_slice(found: Rows, models: Iterable[str], slices: Sequence[str]) -> str:
    models = tuple(models)
    lines = [
        [name, model, *_cells(found, model, name), _count(found, model, name)]
        for name in slices
        for model in models
    ]
    return align([["slice", "model", *METRICS, "pairs"], *lines])


def _cells(found: Rows, model: str, name: str) -> list[str]:
    return [interval(found.get((model, metric, name))) for metric in METRICS]


def _count(found: Rows, model: str, name: str) -> str:
    """Pairs that were ranked; a few of them may have no negative to compare with."""
    row = found.get((model, METRICS[-1], name))
    return MISSING if row is None else str(row.n)


def _by_key(rows: Sequence[MetricRow]) -> Rows:
    return {(row.model, row.metric, row.slice): row for row in rows}


def _models(rows: Sequence[MetricRow]) -> tuple[str, ...]:
    """Models in the order of the rows."""
    return tuple(dict.fromkeys(row.model for row in rows))


def _categories(rows: Sequence[MetricRow]) -> tuple[str, ...]:
    named = dict.fromkeys(row.slice for row in rows)
    return tuple(name for name in named if name not in (ALL, "seen", "unseen"))
