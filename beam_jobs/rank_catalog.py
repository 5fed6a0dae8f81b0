"""Rank the catalogue: for every scene and category the products that match best.

    python -m beam_jobs.rank_catalog --root=runs --run_date=2026-11-22 --top_k=20

Takes the champion and the run date's data set and features, and writes
`{root}/rankings/<version>/`: Parquet in the form of the published table, the queries
and products that were ranked, and last a manifest. Without a champion nothing is
ranked, and the receipt says so.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.options import RunOptions, parse_options
from beam_jobs.ranking.ranking_transforms import (
    BlockCounts,
    CategoryBlock,
    EmbedProducts,
    EmbedScenes,
    RankBlocks,
    RankingLabels,
    SceneBlock,
    WriteRankings,
)
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.table_folders import published_tables
from trainer.backbones import MODEL_FILE
from trainer.vectors import why_unrankable

log = logging.getLogger(__name__)

CODE_VERSION = 1
"""Raised with every change that gives other rankings for the same input."""

SCENE_BLOCK = 512  # scenes: 50 MB of ResNet50 regions in float16
PRODUCT_BLOCK = 65_536  # products: 32 MB of vectors, and 128 MB of distances to a block


class RankCatalogOptions(PipelineOptions):
    """Options of this job alone."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--top_k", type=int, default=20, help="products per scene and category"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging()
    options = parse_options(
        argv, RunOptions, RankCatalogOptions, description=__doc__.splitlines()[0]
    )
    run = options.view_as(RunOptions)
    root, date = run.storage_root, run.date
    top_k = options.view_as(RankCatalogOptions).top_k
    if top_k < 1:
        raise InputError(f"--top_k {top_k} must be at least 1")

    started = time.monotonic()
    if not root.champion.exists():
        log.warning("there is no champion yet, so nothing is ranked")
        _write_receipt(root, date, "", {}, started=started, reused=False)
        return
    provenance = _provenance(root, date, top_k)
    version = f"{date.isoformat()}-{digest(provenance, 8)}"
    folder = root.rankings(version)
    reused = storage.is_complete(folder)
    if reused:
        log.info("rankings %s are complete already", version)
    else:
        _write_rankings(root, date, version, provenance, options)
    counts = storage.read_manifest(folder)["counts"]
    _write_receipt(root, date, version, counts, started=started, reused=reused)
    log.info("rankings %s: %s", version, counts)


def _provenance(root: Root, date: datetime.date, top_k: int) -> dict[str, Any]:
    """What the rankings follow from; its digest is part of the version.

    Raises:
        InputError: the champion was trained on features of another backbone, or on
            none.
    """
    champion = storage.read_json(root.champion)["run_id"]
    manifest = storage.read_manifest(root.model(champion))
    dataset = root.receipt(date, Stage.BUILD_DATASET).outputs
    features = root.receipt(date, Stage.EXTRACT_FEATURES).outputs
    if manifest["backbone"] != features["features"]:
        raise InputError(
            f"champion {champion} needs features of backbone "
            f"{manifest['backbone_name']} ({manifest['backbone']}), the run has those "
            f"of {features['backbone']} ({features['features']}); set --backbone of "
            "beam_jobs.extract_features to the champion's: "
            f"{root.backbone(manifest['backbone'].partition('-')[0]) / MODEL_FILE}"
        )
    obstacle = why_unrankable(manifest)
    if obstacle:
        raise InputError(
            f"champion {champion} ranks no catalogue: {obstacle}; promote another model"
        )
    return {
        "code_version": CODE_VERSION,
        "model": champion,
        "dataset": dataset["dataset"],
        "catalog": dataset["catalog"],
        "domain": dataset["domain"],
        "backbone": features["features"],
        "top_k": top_k,
    }


def _write_rankings(
    root: Root,
    date: datetime.date,
    version: str,
    provenance: dict[str, Any],
    options: PipelineOptions,
) -> None:
    folder = root.rankings(version)
    dataset = root.dataset(provenance["dataset"])
    storage.read_manifest(dataset)
    products = dataset_tables.read_rows(dataset / "products.parquet")
    scenes = dataset_tables.read_rows(dataset / "scenes.parquet")
    _check_categories(root, provenance["model"], products)
    labels = RankingLabels(
        run_date=date,
        domain=provenance["domain"],
        model_version=provenance["model"],
        dataset_version=provenance["dataset"],
        catalog_version=provenance["catalog"],
        run_id=version,
    )
    storage.start_folder(folder)
    with beam.Pipeline(options=options) as pipeline:
        build_pipeline(
            pipeline,
            scene_blocks(scenes),
            category_blocks(products),
            model=str(root.model(provenance["model"])),
            features=str(root.feature_store(provenance["backbone"])),
            folder=str(folder),
            labels=labels,
            top_k=provenance["top_k"],
        )
    counts = _write_asked(folder, scenes, products, labels.domain)
    written = storage.read_json(folder / "files.json")
    counts["rows"] = sum(written.values())
    storage.write_manifest(folder, provenance | {"files": written, "counts": counts})
    (folder / "files.json").unlink()


def build_pipeline(
    pipeline: beam.Pipeline,
    scenes: Sequence[SceneBlock],
    products: Sequence[CategoryBlock],
    *,
    model: str,
    features: str,
    folder: str,
    labels: RankingLabels,
    top_k: int,
) -> None:
    """Wire the job.

    Args:
        pipeline: to add to.
        scenes: blocks of scenes.
        products: blocks of products.
        model: folder of the champion.
        features: the feature store.
        folder: where the rankings go.
        labels: of every row.
        top_k: length of a list.
    """
    n_blocks: dict[str, int] = defaultdict(int)
    for block in products:
        n_blocks[block.category] += 1
    counts = BlockCounts(len(scenes), dict(n_blocks))
    _ = (
        {
            "queries": pipeline
            | "ListScenes" >> beam.Create(scenes)
            | "SpreadScenes" >> beam.Reshuffle()
            | "EmbedScenes" >> beam.ParDo(EmbedScenes(model, features, counts)),
            "products": pipeline
            | "ListProducts" >> beam.Create(products)
            | "SpreadProducts" >> beam.Reshuffle()
            | "EmbedProducts" >> beam.ParDo(EmbedProducts(model, features, counts)),
        }
        | "RankBlocks" >> RankBlocks(top_k)
        | "WriteRankings"
        >> beam.ParDo(
            WriteRankings(
                folder,
                scenes,
                categories=sorted(n_blocks),
                labels=labels,
                schema=published_tables()["rankings"].arrow_schema,
            )
        )
        | "GatherFiles" >> beam.combiners.ToDict()
        | "WriteFiles"
        >> beam.Map(
            lambda files: storage.write_json(epath.Path(folder) / "files.json", files)
        )
    )


def scene_blocks(scenes: Sequence[dict[str, Any]]) -> list[SceneBlock]:
    """Scenes in blocks, in their order."""
    items = [(row["scene_id"], row["sha256"]) for row in scenes]
    return [
        SceneBlock(number, tuple(items[start : start + SCENE_BLOCK]))
        for number, start in enumerate(range(0, len(items), SCENE_BLOCK))
    ]


def category_blocks(products: Sequence[dict[str, Any]]) -> list[CategoryBlock]:
    """Each category's products in blocks, in the order of their id."""
    by_category = defaultdict(list)
    for row in products:
        by_category[row["category"]].append((row["product_id"], row["sha256"]))
    return [
        CategoryBlock(category, number, tuple(items[start : start + PRODUCT_BLOCK]))
        for category, found in sorted(by_category.items())
        for items in [sorted(found)]
        for number, start in enumerate(range(0, len(items), PRODUCT_BLOCK))
    ]


def _check_categories(
    root: Root, model: str, products: Sequence[dict[str, Any]]
) -> None:
    known = set(storage.read_manifest(root.model(model))["categories"])
    unknown = sorted({row["category"] for row in products} - known)
    if unknown:
        raise InputError(
            f"champion {model} was trained without categories {unknown}; train on the "
            "new catalogue before ranking it"
        )


def _write_asked(
    folder: epath.Path,
    scenes: Sequence[dict[str, Any]],
    products: Sequence[dict[str, Any]],
    domain: str,
) -> dict[str, int]:
    """Write what was asked for, so that the checks can tell what is missing."""
    categories = sorted({row["category"] for row in products})
    queries = [
        {"domain": domain, "scene_id": row["scene_id"], "category": category}
        for category in categories
        for row in scenes
    ]
    dataset_tables.write_table(
        folder / "queries.parquet", queries, dataset_tables.RANKED_QUERIES
    )
    dataset_tables.write_table(
        folder / "products.parquet",
        [
            {name: row[name] for name in dataset_tables.RANKED_PRODUCTS.names}
            for row in products
        ],
        dataset_tables.RANKED_PRODUCTS,
    )
    return {
        "scenes": len(scenes),
        "categories": len(categories),
        "products": len(products),
        "queries": len(queries),
    }


def _write_receipt(
    root: Root,
    date: datetime.date,
    version: str,
    counts: dict[str, int],
    *,
    started: float,
    reused: bool,
) -> None:
    root.write_receipt(
        date,
        Receipt(
            stage=Stage.RANK_CATALOG,
            outputs={"rankings": version},
            counts=counts,
            seconds=round(time.monotonic() - started, 3),
            reused=reused,
        ),
    )


if __name__ == "__main__":
    exit_on_input_error(main)
