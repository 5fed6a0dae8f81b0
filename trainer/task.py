"""Train the style embedding on the cached features of a run's data set.

    python -m trainer.task --root=runs --run_date=2026-11-22 --preset=paper

Takes the data set and features of the run date and writes `{root}/models/<run_id>/`:
the model, its history and TensorBoard logs, and last a manifest. The run id is the date
with a hash of everything that the weights follow from.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords_schema import storage
from tfrecords_schema.cli import add_run_arguments, configure_logging
from tfrecords_schema.errors import exit_on_input_error
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from tfrecords_schema.usage import Meter
from trainer.configuration.config import Method, TrainConfig
from trainer.configuration.config_fields import check_set_once, options_of, with_changes
from trainer.configuration.presets import PRESETS, Preset, check_method, parse_preset
from trainer.configuration.source import Source
from trainer.configuration.unused_fields import check_all_used
from trainer.training.backend import check_backend
from trainer.training.strategy import Where, parse_where

_OPTIONS = {
    "batch_size": (int, "batch_size", "pairs in a step, over all replicas"),
    "learning_rate": (float, "optimizer.learning_rate", "of AdamW"),
    "max_epochs": (int, "max_epochs", "at most"),
    "patience": (
        int,
        "patience",
        "epochs without a better validation loss before training stops",
    ),
    "seed": (int, "seed", "of weights, order and dropout; not of a closed form"),
}
"""Options for what is changed most: type, field of the configuration, help."""

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging(Stage.TRAIN, argv)
    arguments = _parser().parse_args(argv)
    root, date = Root.of(arguments.root), parse_run_date(arguments.run_date)
    preset = parse_preset(arguments.preset)
    config = _config(preset, arguments)
    if config.method is Method.GRADIENT:
        check_backend()
    where = parse_where(arguments.strategy)
    meter = Meter()
    source = Source.of(root, date)
    # TensorFlow takes seconds that a wrong option need not wait for.
    from trainer.training.training import HISTORY_FILE, train_model

    trained = train_model(root, source, preset, config, where)
    if not trained.is_writer:
        return
    folder = root.model(trained.run_id)
    manifest = storage.read_manifest(folder)
    root.write_receipt(
        date,
        Receipt(
            stage=Stage.TRAIN,
            outputs={
                "model": trained.run_id,
                "dataset": source.dataset,
                "features": manifest["backbone"],
            },
            counts=manifest["counts"],
            seconds=meter.seconds,
            reused=trained.reused,
            usage=meter.usage(trained.strategy, trained.counted),
        ),
    )
    _log.info(
        "model %s is in %s: %s",
        trained.run_id,
        folder,
        headline(storage.read_json(folder / HISTORY_FILE)),
    )


def headline(history: Mapping[str, Any]) -> str:
    """The figures of the model that was kept, from its `history.json`."""
    if history["best_epoch"] is None:
        found = next(r for r in history["ridges"] if r["ridge"] == history["ridge"])
        how = f"in closed form with ridge {found['ridge']:g}"
    else:
        found = history["epochs"][history["best_epoch"] - 1]
        how = f"best epoch {found['epoch']} of {len(history['epochs'])}"
    return (
        f"{how}, validation loss {found['validation_loss']:.4f}, "
        f"binary accuracy {found['validation_binary_accuracy']:.4f}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--preset", default=Preset.PAPER.value, help="which model (default: paper)"
    )
    for name, (kind, _, text) in _OPTIONS.items():
        parser.add_argument(
            f"--{name}", type=kind, help=f"{text} (default: the preset's)"
        )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="any other field of the configuration, such as model.distance=local; "
        "see trainer/configuration/config.py",
    )
    parser.add_argument(
        "--strategy",
        default=Where.AUTO.value,
        help=f"where to train: {', '.join(Where)} (default: auto)",
    )
    return parser


def _config(preset: Preset, arguments: argparse.Namespace) -> TrainConfig:
    named, changes = [], []
    for name, (_, field, _) in _OPTIONS.items():
        value = getattr(arguments, name)
        if value is not None:
            named.append((field, f"--{name} {value}"))
            changes.append(f"{field}={value}")
    check_set_once([*named, *options_of(arguments.set)])
    config = with_changes(PRESETS[preset], [*changes, *arguments.set])
    check_method(config, preset)
    check_all_used(config, PRESETS[preset])
    return config


if __name__ == "__main__":
    exit_on_input_error(main)
