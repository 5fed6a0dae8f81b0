"""Train and measure many configurations on the same pairs, several seeds of each.

    python -m trainer.compare --root R --run_date D [--variants model,best] [--seeds 3]
        [--set max_epochs=30]

Takes the data set and features of the run date. Every model is trained as
`trainer.task` trains it, into a folder of its own, and one that is there is not trained
again. Writes `{root}/comparisons/<id>/`: `comparison.json`, `comparison.md` and
`comparison.svg`.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords_schema import storage
from tfrecords_schema.cli import add_run_arguments, configure_logging
from tfrecords_schema.codes import Split
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Root, parse_run_date
from trainer.comparison import Entry, measure, summarise
from trainer.comparison_files import draw_chart, write_table
from trainer.config import TrainConfig
from trainer.strategy import Where, parse_where
from trainer.training import COST_FILE, Source, train_model
from trainer.variants import Variant, choose_variants

log = logging.getLogger(__name__)

CODE_VERSION = 1
"""Raised with every change that gives other files for the same models."""

CHART_FILE, TABLE_FILE = "comparison.svg", "comparison.md"
FIGURES_FILE = "comparison.json"


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    configure_logging()
    arguments = _parser().parse_args(argv)
    if arguments.seeds < 1:
        raise InputError(f"--seeds {arguments.seeds} is less than 1")
    root, date = Root.of(arguments.root), parse_run_date(arguments.run_date)
    source = Source.of(root, date)
    variants = choose_variants([n for n in arguments.variants.split(",") if n])
    configs = _configs(variants, arguments.set, arguments.seeds)
    where = parse_where(arguments.strategy)
    entries = _train(root, source, configs, where)
    options = {"split": str(arguments.split), "negatives": 10, "seed": 0}
    identity = {
        "code_version": CODE_VERSION,
        "dataset": source.dataset,
        "features": source.features,
        "models": [entry.run_id for entry in entries],
        **options,
    }
    folder = root.path / "comparisons" / f"{date.isoformat()}-{digest(identity, 8)}"
    results = measure(root, source, entries, split=arguments.split)
    figures = identity | {
        "changes": list(arguments.set),
        "rows": [dataclasses.asdict(row) for row in summarise(entries, results)],
        "n_pairs": results.n_pairs,
        "n_scene_groups": results.n_groups,
    }
    storage.write_json(folder / FIGURES_FILE, figures)
    storage.write_atomic(folder / CHART_FILE, draw_chart(figures).encode())
    table = write_table(figures)
    storage.write_atomic(folder / TABLE_FILE, table.encode())
    log.info("%s:\n%s", folder, table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--variants",
        default="",
        help="names or groups of trainer/variants.py, by commas (default: all)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="of each (default: 3)")
    parser.add_argument(
        "--split", type=Split, choices=list(Split), default=Split.TEST, metavar="SPLIT"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the configuration for all variants",
    )
    parser.add_argument(
        "--strategy",
        default=Where.AUTO.value,
        help=f"where to train: {', '.join(Where)} (default: auto)",
    )
    return parser


def _configs(
    variants: Sequence[Variant], common: Sequence[str], seeds: int
) -> list[tuple[Variant, TrainConfig]]:
    """What is trained: every variant with every seed, each once.

    Seed after seed, so that one that was stopped has all variants to compare already.
    """
    found: dict[tuple[str, TrainConfig], Variant] = {}
    for seed in range(seeds):
        for variant in variants:
            found[variant.name, variant.config(common, seed)] = variant
    return [(variant, config) for (_, config), variant in found.items()]


def _train(
    root: Root,
    source: Source,
    configs: Sequence[tuple[Variant, TrainConfig]],
    where: Where,
) -> list[Entry]:
    entries = []
    for number, (variant, config) in enumerate(configs, start=1):
        log.info(
            "model %d of %d: %s, seed %d",
            number,
            len(configs),
            variant.name,
            config.seed,
        )
        run_id = train_model(root, source, variant.preset, config, where).run_id
        folder = root.model(run_id)
        entries.append(
            Entry(
                variant=variant.name,
                group=variant.group,
                seed=config.seed,
                run_id=run_id,
                parameters=storage.read_manifest(folder)["counts"]["parameters"],
                cpu_s=_cost(storage.read_json(folder / COST_FILE)),
            )
        )
    return entries


def _cost(cost: Mapping[str, Any]) -> float:
    return float(cost["cpu_s"])


if __name__ == "__main__":
    exit_on_input_error(main)
