"""Decide whether a run's evaluated model may be promoted, and say why.

    python -m trainer.gate --root R --run_date D

A model is refused when it is worse than the champion beyond the 95 % interval, or when
its binary accuracy is below a baseline's or that of chance to the bit. It is judged on
pairs of the test split alone. The verdict is a file beside the model, `gate.json`, that
`trainer.promote` obeys as long as the metrics are those it names; a refusal is a result
and no failure, so the job ends well either way.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.cli import add_run_arguments, configure_logging
from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from tfrecords_schema.usage import Meter
from trainer.evaluation.metric_rows import (
    ALL,
    DIFFERENCE_METRIC,
    METRICS_FILE,
    MetricRow,
    difference_name,
)
from trainer.evaluation.rival import CHAMPION
from trainer.evaluation.scorers import BASELINES, RANDOM

GATE_FILE = "gate.json"

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One condition of promotion.

    Attributes:
        passed: whether it holds.
        reason: a sentence with the figures.
    """

    passed: bool
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says.

    Attributes:
        promoted: whether the model may replace the champion.
        reasons: why not, or, where it may, what it was measured against.
    """

    promoted: bool
    reasons: tuple[str, ...]


def decide(metrics: Mapping[str, Any]) -> Verdict:
    """Judge the content of a `metrics.json`.

    Raises:
        InputError: a figure that the decision needs is missing or not a number.
    """
    main = metrics["evaluation"]["model"]
    rows = {
        (row["model"], row["metric"]): MetricRow(**row)
        for row in metrics["metrics"]
        if row["slice"] == ALL
    }
    checks = [
        _against_champion(rows, main, metrics["evaluation"]),
        *(_against_baseline(rows, main, baseline) for baseline in BASELINES),
    ]
    failed = tuple(check.reason for check in checks if not check.passed)
    return Verdict(not failed, failed or tuple(check.reason for check in checks))


Rows = Mapping[tuple[str, str], MetricRow]
"""Rows of the slice `all` by (model, metric)."""


def _against_champion(rows: Rows, main: str, evaluation: Mapping[str, Any]) -> Check:
    champion = evaluation["champion"]
    if champion is None:
        return Check(True, "there is no champion to compare with")
    if not evaluation["champion_comparable"]:
        return Check(
            True,
            f"champion {champion} can be neither scored on these pairs nor quoted for "
            "this data set, so the baselines decide",
        )
    if (main, difference_name(CHAMPION)) not in rows:
        return _against_record(rows, main, champion)
    gap = _row(rows, main, difference_name(CHAMPION))
    passed = gap.high >= 0
    relation = "not worse than" if passed else "worse than"
    return Check(
        passed,
        f"{relation} champion {champion} beyond the interval: binary accuracy "
        f"{_signed(gap)} against it, on the same {gap.n} pairs",
    )


def _against_record(rows: Rows, main: str, champion: str) -> Check:
    """Unpaired: the model's interval against the champion's recorded figure."""
    own = _row(rows, main, DIFFERENCE_METRIC)
    recorded = _row(rows, CHAMPION, DIFFERENCE_METRIC)
    passed = own.high >= recorded.value
    relation = "not worse than" if passed else "worse than"
    return Check(
        passed,
        f"{relation} champion {champion} beyond the interval: binary accuracy "
        f"{own.value:.4f} [{own.low:.4f}, {own.high:.4f}] against its recorded "
        f"{recorded.value:.4f}, on other pairs or features",
    )


def _against_baseline(rows: Rows, main: str, baseline: str) -> Check:
    gap = _row(rows, main, difference_name(baseline))
    # To the bit level with chance is a model for which all products tie.
    ties = gap.value == 0 and baseline == RANDOM
    passed = gap.value >= 0 and not ties
    worse = "no better than" if ties else "worse than"
    relation = "not worse than" if passed else worse
    return Check(
        passed,
        f"{relation} the baseline {baseline}: binary accuracy {_signed(gap)} against "
        f"it, on the same {gap.n} pairs",
    )


def _signed(gap: MetricRow) -> str:
    return f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"


def _row(rows: Rows, model: str, metric: str) -> MetricRow:
    """A row of finite figures."""
    row = rows.get((model, metric))
    if row is None:
        raise InputError(
            f"{METRICS_FILE} has no {metric} of {model} over all pairs; "
            "remove it and run trainer.evaluate again"
        )
    if not all(map(math.isfinite, (row.value, row.low, row.high))):
        raise InputError(
            f"{metric} of {model} is {row.value} [{row.low}, {row.high}] in "
            f"{METRICS_FILE}; remove it and run trainer.evaluate again"
        )
    return row


def metrics_digest(folder: epath.Path) -> str:
    """SHA-256 of a model's `metrics.json`, by which a verdict names what it is about.

    Raises:
        InputError: there are no metrics.
    """
    path = folder / METRICS_FILE
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; run trainer.evaluate and trainer.gate again"
        ) from None


def _evaluated(root: Root, run_date: datetime.date) -> Mapping[str, str]:
    """The model that the run has evaluated, and the data set, by their receipt.

    Raises:
        InputError: the run has trained another one since.
    """
    trained = root.receipt(run_date, Stage.TRAIN).outputs
    evaluated = root.receipt(run_date, Stage.EVALUATE).outputs
    if any(trained[name] != evaluated[name] for name in ("model", "dataset")):
        raise InputError(
            f"{run_date} has trained model {trained['model']} on data set "
            f"{trained['dataset']}, and has evaluated {evaluated['model']} on "
            f"{evaluated['dataset']}; run trainer.evaluate"
        )
    return evaluated


def _check_about(
    evaluation: Mapping[str, Any], outputs: Mapping[str, str], path: epath.Path
) -> None:
    """Refuse metrics of other than what the run has evaluated, or of another split."""
    for field, name in (("run_id", "model"), ("dataset", "dataset")):
        if evaluation.get(field) != outputs[name]:
            raise InputError(
                f"{path} is about {name} {evaluation.get(field)}, not {outputs[name]}; "
                "remove it and run trainer.evaluate again"
            )
    if (split := evaluation.get("split")) != Split.TEST:
        raise InputError(
            f"{path} is of the {split} split, and whether a model may be used is "
            f"decided on the {Split.TEST} split; remove it and run trainer.evaluate "
            "without --split"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    configure_logging(Stage.GATE, argv)
    meter = Meter()
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add_run_arguments(parser)
    options = parser.parse_args(argv)
    root, run_date = Root.of(options.root), parse_run_date(options.run_date)
    evaluated = _evaluated(root, run_date)
    run_id = evaluated["model"]
    folder = root.model(run_id)
    metrics_sha256 = metrics_digest(folder)
    metrics = storage.read_json(folder / METRICS_FILE)
    _check_about(metrics["evaluation"], evaluated, folder / METRICS_FILE)
    verdict = decide(metrics)
    content = {
        "run_id": run_id,
        "promoted": verdict.promoted,
        "reasons": list(verdict.reasons),
        # Promotion checks that these are still the metrics and this the champion.
        "metrics_sha256": metrics_sha256,
        "compared_with": metrics["evaluation"]["champion"],
    }
    path = folder / GATE_FILE
    same = path.exists() and storage.read_json(path) == content
    if not same:
        storage.write_json(path, content)
    word = "promote" if verdict.promoted else "refuse"
    _log.info("verdict on model %s: %s", run_id, word.upper())
    for reason in verdict.reasons:
        _log.info("  - %s", reason)
    receipt = Receipt(
        stage=Stage.GATE,
        outputs={"model": run_id, "verdict": word},
        counts={},
        seconds=meter.seconds,
        reused=same,
        notes=() if verdict.promoted else verdict.reasons,
        usage=meter.usage(),
    )
    root.write_receipt(run_date, receipt)


if __name__ == "__main__":
    exit_on_input_error(main)
