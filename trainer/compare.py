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
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfrecords_schema import storage
from tfrecords_schema.cli import (
    add_run_arguments,
    add_split_argument,
    configure_logging,
    parse_split,
)
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Root, parse_run_date
from trainer.backbones.backbone_form import GRID
from trainer.comparisons.comparison_files import draw_chart, write_table
from trainer.comparisons.variants import (
    REFERENCE,
    Variant,
    check_all_have_effect,
    choose_variants,
)
from trainer.configuration.config import TrainConfig
from trainer.configuration.config_fields import check_set_once, options_of
from trainer.configuration.source import Source
from trainer.inputs.features import FeatureReader
from trainer.models.grids import check_grid
from trainer.training.backend import check_backend
from trainer.training.strategy import Where, parse_where

if TYPE_CHECKING:
    from trainer.comparisons.comparison import Entry

log = logging.getLogger(__name__)

Configured = tuple[Variant, TrainConfig]
"""What is trained, and as what."""

CODE_VERSION = 2
"""Raised with every change that gives other files for the same models."""

CHART_FILE, TABLE_FILE = "comparison.svg", "comparison.md"
FIGURES_FILE = "comparison.json"


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    configure_logging("compare", argv)
    arguments = _parser().parse_args(argv)
    check_backend()  # of the reference, which is always among them
    if arguments.seeds < 1:
        raise InputError(f"--seeds {arguments.seeds} is less than 1")
    root, date = Root.of(arguments.root), parse_run_date(arguments.run_date)
    variants = choose_variants([n for n in arguments.variants.split(",") if n])
    check_set_once(options_of(arguments.set))
    check_all_have_effect(variants, arguments.set)
    configs = _configs(variants, arguments.set, arguments.seeds)
    where, split = parse_where(arguments.strategy), parse_split(arguments.split)
    _check_one_host(where)
    source = Source.of(root, date)
    # TensorFlow takes seconds that a wrong option need not wait for.
    from trainer.comparisons.comparison import NEGATIVES, SEED, measure, summarise

    configs, left_out = _that_can_train(root, source, configs)
    _check_some_left(configs, left_out)
    entries, failed = _train(root, source, configs, where)
    options = {"split": split.value, "negatives": NEGATIVES, "seed": SEED}
    identity = {
        "code_version": CODE_VERSION,
        "dataset": source.dataset,
        "features": source.features,
        "models": [entry.run_id for entry in entries],
        **options,
    }
    folder = root.path / "comparisons" / f"{date.isoformat()}-{digest(identity, 8)}"
    results = measure(root, source, entries, split=split)
    figures = identity | {
        "changes": list(arguments.set),
        "left_out": left_out,
        "failed": failed,
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
        help="names or groups of trainer/comparisons/variants.py, by commas "
        "(default: all but article)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="of each (default: 3)")
    add_split_argument(parser)
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
) -> list[Configured]:
    """What is trained: every variant with every seed, each once.

    Seed after seed, so that one that was stopped has all variants to compare already.
    """
    found: dict[tuple[str, TrainConfig], Variant] = {}
    for seed in range(seeds):
        for variant in variants:
            found[variant.name, variant.config(common, seed)] = variant
    return [(variant, config) for (_, config), variant in found.items()]


def _check_one_host(where: Where) -> None:
    if where is Where.HOSTS or (where is Where.AUTO and "TF_CONFIG" in os.environ):
        raise InputError(
            f"--strategy {where} would train on several hosts, and a comparison runs "
            "on one; choose one or mirrored"
        )


def _that_can_train(
    root: Root, source: Source, configs: Sequence[Configured]
) -> tuple[list[Configured], dict[str, str]]:
    """Those that the features are fine enough for, and why not the others.

    Raises:
        InputError: the reference would not be the published model or cannot be trained,
            or a model would have features of its own.
    """
    _, n_regions, _ = FeatureReader(root.feature_store(source.features)).dims
    side = math.isqrt(n_regions)
    fitting, left_out = [], {}
    for variant, config in configs:
        grid = config.model.grid
        if config.pictures.trainable_stages:
            raise InputError(
                "pictures.trainable_stages makes features of its own, and a comparison "
                "has one store of them; use trainer.task and trainer.evaluate"
            )
        if variant is REFERENCE and grid is None and side > GRID:
            raise InputError(
                f"features {source.features} have regions of {side} × {side}, and "
                f"{variant.name} is published with {GRID} × {GRID}; add --set "
                f"model.grid={GRID}"
            )
        if variant is REFERENCE:
            check_grid(n_regions, grid)
        if grid is not None and grid > side:
            left_out[variant.name] = f"the features' regions are {side} × {side}"
        else:
            fitting.append((variant, config))
    return fitting, left_out


def _check_some_left(
    configs: Sequence[Configured], left_out: Mapping[str, str]
) -> None:
    """Say what is left out, and refuse to measure the reference alone for that."""
    for name, reason in left_out.items():
        log.warning("%s is left out: %s", name, reason)
    if left_out and all(variant is REFERENCE for variant, _ in configs):
        raise InputError(
            f"--variants {','.join(left_out)}: {reason}, so that there is none to "
            "compare; extract features of a finer --grid, or choose others"
        )


def _train(
    root: Root,
    source: Source,
    configs: Sequence[Configured],
    where: Where,
) -> tuple[list[Entry], dict[str, dict[str, str]]]:
    """The models, and by variant and seed why there is none of some.

    Raises:
        InputError: the reference cannot be trained.
    """
    from trainer.comparisons.comparison import Entry
    from trainer.training.training import COST_FILE, train_model

    entries = []
    failed: dict[str, dict[str, str]] = {}
    for number, (variant, config) in enumerate(configs, start=1):
        log.info(
            "model %d of %d: %s, seed %d",
            number,
            len(configs),
            variant.name,
            config.seed,
        )
        try:
            run_id = train_model(root, source, variant.preset, config, where).run_id
        except InputError as error:
            if variant is REFERENCE:
                raise
            log.warning("%s, seed %d: %s", variant.name, config.seed, error)
            failed.setdefault(variant.name, {})[str(config.seed)] = str(error)
            continue
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
    return entries, failed


def _cost(cost: Mapping[str, Any]) -> float | None:
    """Processor seconds of a training; None where a killed process did a part of it."""
    return float(cost["cpu_s"]) if cost["is_whole"] else None


if __name__ == "__main__":
    exit_on_input_error(main)
