"""Build the triplet data set: crop, split, mine negatives, write TFRecord shards.

    python -m beam_jobs.build_dataset --catalog=DIR --root=runs --run_date=2026-11-22

Reads the catalogue and the image store, writes `{root}/datasets/<version>/`: triplet
shards per split with TFDS metadata and schema, the tables `pairs`, `products`, `scenes`
and `rejections`, and last a manifest. The version names the input and the
configuration; where it is complete already, nothing is done. Every pair is in the data
set or in `rejections` with its code; products and scenes without a picture are counted,
and the image status says why.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import logging
from collections.abc import Sequence
from typing import Any

import PIL
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.catalogs.catalog import read_catalog
from beam_jobs.dataset.crop import CropRule
from beam_jobs.dataset.dataset_folder import write_dataset
from beam_jobs.dataset.dataset_pipeline import DatasetRules
from beam_jobs.dataset.dataset_sources import DatasetSources, find_sources
from beam_jobs.dataset.dataset_transforms import Product, Scene
from beam_jobs.dataset.shard_sizes import ShardRule
from beam_jobs.dataset.splits import SplitRule
from beam_jobs.dataset.triplets import Provenance
from beam_jobs.launching import usage_of
from beam_jobs.mining.champion import Champion, earlier_identity, find_champion
from beam_jobs.mining.negatives import NegativeRule, Strategy
from beam_jobs.options import CatalogOptions, RunOptions, parse_options
from tfrecords_schema import storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.usage import Meter

log = logging.getLogger(__name__)

CODE_VERSION = 3
"""Raised with every change that gives other bytes for the same input."""


class BuildDatasetOptions(PipelineOptions):
    """Options of this job alone."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--box_margin",
            type=float,
            default=0.05,
            help="share of the picture by which a box is grown on every side",
        )
        parser.add_argument(
            "--min_crop_area",
            type=float,
            default=0.20,
            help="smallest share of the picture that a scene crop may be",
        )
        parser.add_argument(
            "--negatives_per_pair", type=int, default=32, help="mined for each pair"
        )
        parser.add_argument(
            "--triplets_per_pair",
            type=int,
            default=3,
            help="negatives that are kept with their picture, as triplet records",
        )
        parser.add_argument(
            "--shard_mib", type=float, default=96.0, help="aimed-at size of a shard"
        )
        parser.add_argument(
            "--negative_pool",
            type=int,
            default=10_000,
            help="products of a category that negatives are drawn from",
        )
        parser.add_argument(
            "--negative_strategy",
            default=Strategy.UNIFORM.value,
            choices=[strategy.value for strategy in Strategy],
            help="how negatives are drawn; hard needs a promoted model",
        )
        parser.add_argument(
            "--negative_margin",
            type=float,
            default=0.2,
            help="hard negatives are at most so much farther than the positive",
        )
        parser.add_argument(
            "--champion",
            default="",
            help="run_id of the model that finds hard negatives; else the promoted one",
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="of the split and the negatives"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging(Stage.BUILD_DATASET, argv)
    options = parse_options(
        argv,
        RunOptions,
        CatalogOptions,
        BuildDatasetOptions,
        description=__doc__.splitlines()[0],
    )
    run = options.view_as(RunOptions)
    root, date = run.storage_root, run.date
    own = options.view_as(BuildDatasetOptions)
    rules = _rules(own)
    champion = _champion(root, date, own.champion, rules=rules)
    catalog_options = options.view_as(CatalogOptions)

    meter = Meter()
    catalog = read_catalog(catalog_options.catalog, catalog_options.domain)
    _require_one_domain(root, catalog.domain)
    sources = find_sources(root, catalog)
    described = _described(sources, rules, champion)
    version = f"{catalog.domain}-{digest(described)}"
    folder = root.dataset(version)
    reused = storage.is_complete(folder)
    if reused:
        log.info("data set %s is complete already", version)
    else:
        provenance = Provenance(digest(described["rules"]), CODE_VERSION)
        write_dataset(
            folder,
            sources,
            rules,
            options,
            provenance=provenance,
            described=described,
            champion=champion,
        )
    manifest = storage.read_manifest(folder)
    root.write_receipt(
        date,
        Receipt(
            stage=Stage.BUILD_DATASET,
            outputs={
                "dataset": version,
                "catalog": catalog.version,
                "domain": catalog.domain,
                **({"mined_with": champion.run_id} if champion else {}),
            },
            counts=manifest["counts"],
            seconds=meter.seconds,
            reused=reused,
            notes=_notes(manifest["counts"], champion),
            usage=usage_of(meter, options),
        ),
    )
    log.info("data set %s: %s", version, manifest["counts"])


def _require_one_domain(root: Root, domain: str) -> None:
    """Refuse a domain beside another one: a root has one champion and one run a date.

    Raises:
        InputError: the root has data sets of another domain.
    """
    if not root.datasets.exists():
        return
    # Versions are named after their domain, see `main`.
    others = [
        path
        for path in root.datasets.iterdir()
        if storage.is_complete(path) and not path.name.startswith(f"{domain}-")
    ]
    if others:
        raise InputError(
            f"--domain {domain}: {min(others)} is of another domain, and a root has "
            f"one champion and one run a date; give {domain} a --root of its own"
        )


def _rules(options: BuildDatasetOptions) -> DatasetRules:
    try:
        return DatasetRules(
            crop=CropRule(options.box_margin, options.min_crop_area),
            split=SplitRule(seed=options.seed),
            negatives=NegativeRule(
                per_pair=options.negatives_per_pair,
                pool_size=options.negative_pool,
                strategy=Strategy(options.negative_strategy),
                margin=options.negative_margin,
                seed=options.seed,
            ),
            triplets_per_pair=options.triplets_per_pair,
            shards=ShardRule(options.shard_mib),
        )
    except ValueError as error:
        raise InputError(str(error)) from None


def _champion(
    root: Root, date: datetime.date, run_id: str, *, rules: DatasetRules
) -> Champion | None:
    """The model to mine with, where the strategy needs one."""
    if rules.negatives.strategy is Strategy.HARD:
        return find_champion(root, run_id, earlier=earlier_identity(root, date))
    if run_id:
        raise InputError(
            f"--champion {run_id!r} finds hard negatives only; add "
            "--negative_strategy=hard or leave it away"
        )
    return None


def _notes(counts: dict[str, int], champion: Champion | None) -> tuple[str, ...]:
    """What the report must say of the negatives."""
    by_chance = counts.get(f"pairs_mined_{Strategy.UNIFORM}", 0)
    if champion is None or not by_chance:
        return ()
    return (
        f"{by_chance} of {counts['pairs']} pairs have uniform negatives: model "
        f"{champion.run_id} has no features of them, or does not know their category",
    )


def _described(
    sources: DatasetSources, rules: DatasetRules, champion: Champion | None
) -> dict[str, Any]:
    """What the data set follows from; its digest is the version."""
    found: list[tuple[str, Scene | Product]] = [
        *sources.scenes.items(),
        *sources.products.items(),
    ]
    pictures = [[owner_id, item.sha256, item.phash] for owner_id, item in found]
    described = {
        "code_version": CODE_VERSION,
        "encoder": f"Pillow {PIL.__version__}",
        "catalog": sources.catalog.version,
        "domain": sources.catalog.domain,
        "pictures": digest(pictures, 64),
        "rules": dataclasses.asdict(rules),
    }
    return described | ({"champion": champion.identity} if champion else {})


if __name__ == "__main__":
    exit_on_input_error(main)
