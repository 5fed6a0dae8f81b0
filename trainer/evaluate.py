"""Evaluate a run's model on held-out scenes, beside baselines, control and champion.

    python -m trainer.evaluate --root R --run_date D [--split test] [--negatives 10]
        [--resamples 2000] [--seed 0]

Writes `gallery.json`, `metrics.txt` and, last, `metrics.json` into the model's folder;
a model that has `metrics.json` has been evaluated and is left as it is. Whether the
figures are good enough is `trainer.gate`'s question.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.cli import (
    add_run_arguments,
    add_split_argument,
    configure_logging,
    parse_split,
)
from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from tfrecords_schema.usage import Meter
from trainer.evaluation.bootstrap import DEFAULT_RESAMPLES, LEAST_RESAMPLES
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.controls import control_notes
from trainer.evaluation.lineup import open_lineup
from trainer.evaluation.metric_rows import ALL, METRICS_FILE, MetricRow, metric_rows
from trainer.evaluation.metric_table import (
    render_differences,
    render_headline,
    render_report,
)
from trainer.evaluation.metrics import pair_notes
from trainer.evaluation.scoring import score

TABLE_FILE = "metrics.txt"
GALLERY_FILE = "gallery.json"

OPTIONS = ("split", "negatives", "resamples", "seed")

CODE_VERSION = 4
"""Raised with every change that gives other files for the same model and options."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """Options of the job.

    Attributes:
        root: storage root.
        run_date: which run's model.
        split: which pairs.
        negatives: drawn per pair for binary accuracy, fill-in-the-blank and the
            calibration of distance; of fewer than 3 there is no fill-in-the-blank.
        resamples: of the bootstrap.
        seed: of the draws, the bootstrap and the gallery.
    """

    root: Root
    run_date: datetime.date
    split: Split = Split.TEST
    negatives: int = 10
    resamples: int = DEFAULT_RESAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: an option is out of range.
        """
        for name, least in (("negatives", 1), ("resamples", LEAST_RESAMPLES)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} {getattr(self, name)} is less than {least}")


def evaluate(config: EvaluateConfig) -> Receipt:
    """Run the job and leave its receipt."""
    meter = Meter()
    train = config.root.receipt(config.run_date, Stage.TRAIN).outputs
    folder = config.root.model(train["model"])
    reused = (folder / METRICS_FILE).exists()
    if reused:
        metrics = storage.read_json(folder / METRICS_FILE)
        _check_same(config, train, metrics["evaluation"], folder / METRICS_FILE)
        _log.info("%s is evaluated already: %s", train["model"], folder / METRICS_FILE)
    else:
        metrics = _evaluate_model(config, train, folder)
    evaluation = metrics["evaluation"]
    rows = [MetricRow(**row) for row in metrics["metrics"]]
    _log.info("all pairs:\n%s", render_headline(rows))
    _log.info("differences:\n%s", render_differences(rows, evaluation["model"]))
    receipt = Receipt(
        stage=Stage.EVALUATE,
        outputs={"model": train["model"], "dataset": evaluation["dataset"]},
        counts={
            "pairs": evaluation["n_pairs"],
            "scene_groups": evaluation["n_scene_groups"],
            "metric_rows": len(rows),
        },
        seconds=meter.seconds,
        reused=reused,
        notes=tuple(evaluation["notes"]),
        usage=meter.usage(),
    )
    config.root.write_receipt(config.run_date, receipt)
    _log.info(
        "metrics of model %s are in %s: %s",
        train["model"],
        folder / METRICS_FILE,
        _told(rows, evaluation),
    )
    return receipt


def _told(rows: Sequence[MetricRow], evaluation: Mapping[str, Any]) -> str:
    """The model's main figures over all pairs; those that there are."""
    found = {
        row.metric: f"{row.metric} {row.value:.4f} [{row.low:.4f}, {row.high:.4f}]"
        for row in rows
        if (row.model, row.slice) == (evaluation["model"], ALL)
    }
    told = [found[name] for name in ("binary_accuracy", "mrr") if name in found]
    return f"{', '.join(told)} on {evaluation['n_pairs']} pairs"


def _check_same(
    config: EvaluateConfig,
    train: Mapping[str, str],
    evaluation: Mapping[str, Any],
    path: epath.Path,
) -> None:
    """Refuse to pass off metrics made in another way as the ones asked for."""
    made_by = evaluation.get("code_version", 1)  # the first did not say
    if made_by != CODE_VERSION:
        raise InputError(
            f"{path} was made by version {made_by} of trainer.evaluate, this is "
            f"version {CODE_VERSION}, and metrics are not replaced; remove the file to "
            "evaluate the model anew"
        )
    for field, name in (("run_id", "model"), ("dataset", "dataset")):
        if evaluation.get(field) != train[name]:
            raise InputError(
                f"{path} is about {name} {evaluation.get(field)}, not {train[name]}; "
                "remove it to evaluate the model anew"
            )
    for name in OPTIONS:
        asked, recorded = getattr(config, name), evaluation[name]
        if asked != recorded:
            raise InputError(
                f"{path} was made with --{name} {recorded}, not {asked}, and metrics "
                f"are not replaced; ask for --{name} {recorded}, or remove the file"
            )


def _evaluate_model(
    config: EvaluateConfig, train: Mapping[str, str], folder: epath.Path
) -> dict[str, Any]:
    """Score everything and write the three files; returns the metrics."""
    measured = {
        "dataset": train["dataset"],
        "split": config.split,
        "negatives": config.negatives,
        "seed": config.seed,
        "code_version": CODE_VERSION,
    }
    lineup = open_lineup(
        config.root, train, split=config.split, seed=config.seed, measured=measured
    )
    scores = score(lineup, negatives=config.negatives, seed=config.seed)
    pairs = lineup.eval_set.all_pairs()
    bootstrap = {"resamples": config.resamples, "seed": config.seed}
    rows = metric_rows(scores.results, pairs, main=lineup.main.name, **bootstrap)
    calibration = calibrate(
        lineup.main.name, scores.drawn, scores.validation, **bootstrap
    )
    rival = lineup.rival
    evaluation = {
        "code_version": CODE_VERSION,
        **{name: getattr(config, name) for name in OPTIONS},
        "run_id": train["model"],
        "model": lineup.main.name,
        "dataset": train["dataset"],
        "features": train["features"],
        "n_pairs": len(pairs),
        "n_scene_groups": len({pair.scene_group for pair in pairs}),
        "champion": rival.run_id if rival else None,
        "champion_paired": bool(rival and rival.scorer),
        "champion_comparable": bool(rival and (rival.scorer or rival.recorded)),
        "notes": [
            *_split_notes(config.split),
            *pair_notes(scores.results[lineup.main.name]),
            *control_notes(rows, lineup.main.name),
            *(rival.notes if rival else ()),
        ],
    }
    rows += rival.recorded if rival else ()
    metrics = {
        "metrics": [dataclasses.asdict(row) for row in rows],
        "calibration": dataclasses.asdict(calibration),
        "evaluation": evaluation,
    }
    storage.write_json(folder / GALLERY_FILE, scores.gallery)
    report = render_report(rows, evaluation, calibration)
    storage.write_atomic(folder / TABLE_FILE, report.encode())
    storage.write_json(folder / METRICS_FILE, metrics)
    return metrics


def _split_notes(split: Split) -> list[str]:
    """What is different where another split than test is asked for."""
    notes = []
    if split is not Split.TEST:
        notes.append(
            f"there is no control of blanked scenes: it has features in the "
            f"{Split.TEST} split only"
        )
    if split is Split.VALIDATION:
        notes.append(
            "the calibration's curve is fitted on the very pairs that it is measured on"
        )
    return notes


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    configure_logging(Stage.EVALUATE, argv)
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add_run_arguments(parser)
    add_split_argument(parser)
    parser.add_argument(
        "--negatives", type=int, default=10, help="drawn per pair (default: 10)"
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=DEFAULT_RESAMPLES,
        help="of the bootstrap (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args(argv))
    root = Root.of(options.pop("root"))
    run_date = parse_run_date(options.pop("run_date"))
    split = parse_split(options.pop("split"))
    evaluate(EvaluateConfig(root, run_date, split=split, **options))


if __name__ == "__main__":
    exit_on_input_error(main)
