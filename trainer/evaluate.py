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
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.cli import add_run_arguments, configure_logging
from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from trainer.bootstrap import DEFAULT_RESAMPLES, LEAST_RESAMPLES
from trainer.eval_set import category_task
from trainer.gallery import choose_pairs, gallery_entries
from trainer.lineup import Lineup, open_lineup
from trainer.metric_rows import MetricRow, metric_rows
from trainer.metric_table import render_differences, render_headline, render_report
from trainer.metrics import METRICS
from trainer.scorers import score_category

METRICS_FILE = "metrics.json"
TABLE_FILE = "metrics.txt"
GALLERY_FILE = "gallery.json"

OPTIONS = ("split", "negatives", "resamples", "seed")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """Options of the job.

    Attributes:
        root: storage root.
        run_date: which run's model.
        split: which pairs.
        negatives: drawn per pair for binary accuracy.
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
    started = time.monotonic()
    train = config.root.receipt(config.run_date, Stage.TRAIN).outputs
    folder = config.root.model(train["model"])
    reused = (folder / METRICS_FILE).exists()
    if reused:
        metrics = storage.read_json(folder / METRICS_FILE)
        _check_same_options(config, metrics["evaluation"], folder / METRICS_FILE)
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
        seconds=time.monotonic() - started,
        reused=reused,
        notes=tuple(evaluation["notes"]),
    )
    config.root.write_receipt(config.run_date, receipt)
    return receipt


def _check_same_options(
    config: EvaluateConfig, evaluation: Mapping[str, Any], path: epath.Path
) -> None:
    """Refuse to pass off metrics made with other options as the ones asked for."""
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
    lineup = open_lineup(config.root, train, split=config.split)
    results, gallery = _score(lineup, config)
    pairs = lineup.eval_set.all_pairs()
    rows = metric_rows(
        results,
        pairs,
        main=lineup.main.name,
        resamples=config.resamples,
        seed=config.seed,
    )
    rival = lineup.rival
    rows += rival.recorded if rival else ()
    evaluation = {
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
        "notes": [*_notes(results), *(rival.notes if rival else ())],
    }
    metrics = {
        "metrics": [dataclasses.asdict(row) for row in rows],
        "evaluation": evaluation,
    }
    storage.write_json(folder / GALLERY_FILE, gallery)
    report = render_report(rows, evaluation)
    storage.write_atomic(folder / TABLE_FILE, report.encode())
    storage.write_json(folder / METRICS_FILE, metrics)
    return metrics


def _score(
    lineup: Lineup, config: EvaluateConfig
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Score all models, one category at a time, and pick up the gallery on the way.

    Returns:
        Model → [n_pairs, len(METRICS)] float64, and the gallery's entries.
    """
    chosen = choose_pairs(lineup.eval_set.all_pairs(), seed=config.seed)
    entries: dict[str, dict[str, Any]] = {}
    parts: dict[str, list[np.ndarray]] = {
        scorer.name: [] for scorer in (lineup.main, *lineup.others)
    }
    for done, category in enumerate(lineup.eval_set.pairs, start=1):
        task = category_task(
            lineup.eval_set,
            category,
            features=lineup.features,
            negatives=config.negatives,
            seed=config.seed,
        )
        opened = lineup.main.open(task)
        entries |= gallery_entries(lineup.main, opened, task, chosen=chosen)
        parts[lineup.main.name].append(
            score_category(opened, task, name=lineup.main.name)
        )
        for scorer in lineup.others:
            parts[scorer.name].append(
                score_category(scorer.open(task), task, name=scorer.name)
            )
        _log.info(
            "category %d of %d, %s: %d pairs against %d products",
            done,
            len(lineup.eval_set.pairs),
            category,
            len(task.pairs),
            len(task.product_ids),
        )
    results = {name: np.concatenate(blocks) for name, blocks in parts.items()}
    return results, [entries[pair_id] for pair_id in chosen]


def _notes(results: Mapping[str, np.ndarray]) -> list[str]:
    """What a reader of the figures has to know about the pairs."""
    accuracy = next(iter(results.values()))[:, METRICS.index("binary_accuracy")]
    alone = int(np.isnan(accuracy).sum())
    if not alone:
        return []
    return [
        f"{alone} pairs have no product of their category to compare with; they count "
        "in the ranking metrics, where they are first, and not in binary accuracy"
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_arguments(parser)
    parser.add_argument(
        "--split", type=Split, choices=list(Split), default=Split.TEST, metavar="SPLIT"
    )
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
    configure_logging()
    root = Root.of(options.pop("root"))
    run_date = parse_run_date(options.pop("run_date"))
    evaluate(EvaluateConfig(root, run_date, **options))


if __name__ == "__main__":
    exit_on_input_error(main)
