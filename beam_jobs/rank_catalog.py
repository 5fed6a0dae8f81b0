"""Rank the catalogue: for every scene and category the products that match best.

    python -m beam_jobs.rank_catalog --root=runs --run_date=2026-11-22 --top_k=20
        [--filters=rules.yaml --attributes=offers.csv] [--min_coverage=0.9]
        [--index --min_recall=0.95] [--rank_with=of_date]

Takes the champion, or another model by `--rank_with`, and the run date's data set and
features, or pictures where it looks at those, and writes
`{root}/rankings/<version>/`: Parquet in the form of the published table, the queries
and products that were ranked, who was turned away, the attention of the queries, and
last a manifest (docs/ranking.md). Without a champion nothing is ranked, and the receipt
says so.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)

from beam_jobs.launching import run_pipeline, usage_of
from beam_jobs.options import RunOptions, parse_options
from beam_jobs.processors import usable_cores
from beam_jobs.ranking import plan as plans
from beam_jobs.ranking.accounts import Accounts, write_accounts
from beam_jobs.ranking.champions import find_model
from beam_jobs.ranking.decisions import decided_by
from beam_jobs.ranking.gates import (
    check_coverage,
    check_recall,
    manifest_of_recall,
    notes_of,
)
from beam_jobs.ranking.inputs import (
    Inputs,
    check_categories,
    known_pairs,
    read_inputs,
)
from beam_jobs.ranking.labels import RankingLabels
from beam_jobs.ranking.pair_scorer import PairRule
from beam_jobs.ranking.picture_embedder import PictureSource
from beam_jobs.ranking.plan import BlockSizes, Plan
from beam_jobs.ranking.provenance import provenance_of
from beam_jobs.ranking.ranking_options import RankCatalogOptions, Wanted, read_wanted
from beam_jobs.ranking.ranking_pipeline import (
    Approximation,
    RankingModel,
    build_pipeline,
    is_written,
    read_found,
    read_written,
    write_excluded,
)
from beam_jobs.ranking.ranking_transforms import Written, threads_of
from beam_jobs.ranking.recall import Recall, recall_of, sample_scenes
from tfrecords_schema import storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import exit_on_input_error
from tfrecords_schema.hashing import digest
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.usage import Meter
from trainer.models.abilities import needs_pictures, pair_sizes
from trainer.models.picture_export import backbone_file

log = logging.getLogger(__name__)

SIZES = BlockSizes()
PICTURE_SIZES = BlockSizes(
    scenes=128, products=4096, scene_blocks=64, product_blocks=128
)
"""Of models that look at pictures: minutes of a backbone's work are lost with a worker,
not hours. Units are as large."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    configure_logging(Stage.RANK_CATALOG, argv)
    options = parse_options(
        argv, RunOptions, RankCatalogOptions, description=__doc__.splitlines()[0]
    )
    run = options.view_as(RunOptions)
    root, date = run.storage_root, run.date
    wanted = read_wanted(options.view_as(RankCatalogOptions))

    meter = Meter()
    # Also where nothing is ranked: a mistyped root has no champion either.
    root.receipt(date, Stage.BUILD_DATASET)
    model = find_model(root, date, options.view_as(RankCatalogOptions).rank_with)
    if model is None:
        log.warning("there is no champion yet, so nothing is ranked")
        receipt = _receipt("", None, seconds=meter.seconds, reused=False)
        usage = usage_of(meter, options)
        root.write_receipt(date, dataclasses.replace(receipt, usage=usage))
        return
    provenance = provenance_of(root, date, wanted, champion=model)
    version = f"{date.isoformat()}-{digest(provenance, 8)}"
    folder = root.rankings(version)
    reused = storage.is_complete(folder)
    if reused:
        log.info("rankings %s are complete already", version)
    else:
        _write_unless_overtaken(root, date, version, provenance, wanted, options)
    plans.finish(folder)
    manifest = storage.read_manifest(folder)
    check_coverage(folder, manifest, wanted.min_coverage)
    check_recall(manifest)
    receipt = _receipt(version, manifest, seconds=meter.seconds, reused=reused)
    receipt = dataclasses.replace(
        receipt,
        usage=usage_of(meter, options),
        decided_by=decided_by(manifest, wanted),
    )
    root.write_receipt(date, receipt)
    log.info("rankings %s: %s", version, manifest["counts"])


def _write_unless_overtaken(
    root: Root,
    date: datetime.date,
    version: str,
    provenance: dict[str, Any],
    wanted: Wanted,
    options: PipelineOptions,
) -> None:
    """Write the rankings, or find that another run of them has.

    Two runs at once share blocks and names, and write the same bytes. The one that
    ends first clears the blocks after its manifest is there; the other then fails for
    want of them, with all that it was to write in place.
    """
    try:
        _write_rankings(root, date, version, provenance, wanted, options)
    except Exception as error:
        if not storage.is_complete(root.rankings(version)):
            raise
        log.warning("another run has completed rankings %s: %s", version, error)


def _write_rankings(
    root: Root,
    date: datetime.date,
    version: str,
    provenance: dict[str, Any],
    wanted: Wanted,
    options: PipelineOptions,
) -> None:
    folder = root.rankings(version)
    dataset = root.dataset(provenance["dataset"])
    storage.read_manifest(dataset)
    offers = wanted.attributes.offers if wanted.attributes else {}
    inputs = read_inputs(dataset, wanted.rules, offers)
    manifest = storage.read_manifest(root.model(provenance["model"]))
    model = _model(root, provenance, manifest)
    check_categories(provenance["model"], manifest["categories"], inputs)
    known = known_pairs(dataset, inputs) if wanted.rules.exclude_known_pairs else {}
    labels = RankingLabels(
        run_date=date,
        domain=provenance["domain"],
        model_version=provenance["model"],
        dataset_version=provenance["dataset"],
        catalog_version=provenance["catalog"],
        run_id=version,
    )
    plan = Plan(
        folder=str(folder),
        categories=inputs.categories,
        products=tuple(table.num_rows for table in inputs.products),
        n_scenes=inputs.scenes.num_rows,
        sizes=PICTURE_SIZES if model.pictures else SIZES,
    )
    # A killed job, or one that handed its pipeline over, may have got as far as this.
    if not is_written(plan, with_found=wanted.index is not None):
        plans.start(plan)
        plans.write_lists(plan, inputs.scenes, inputs.products)
        write_excluded(plan, known)
        with run_pipeline(options) as pipeline:
            build_pipeline(
                pipeline,
                plan,
                model,
                wanted.rule,
                labels=labels,
                threads=_threads(options),
                approximation=_approximation(wanted, inputs),
            )
    written = read_written(plan)
    accounts = write_accounts(
        plan, inputs, wanted.rule, domain=labels.domain, known=known, written=written
    )
    recall = recall_of(read_found(plan)) if wanted.index else None
    storage.write_manifest(folder, provenance | _results(accounts, recall, written))


def _approximation(wanted: Wanted, inputs: Inputs) -> Approximation | None:
    if wanted.index is None:
        return None
    scene_ids = inputs.scenes.column("scene_id").to_pylist()
    return Approximation(wanted.index, sample_scenes(scene_ids))


def _results(
    accounts: Accounts, recall: Recall | None, written: Sequence[Written]
) -> dict[str, Any]:
    """What the manifest says besides where the rankings come from."""
    counts = accounts.counts
    if recall is not None:
        counts = counts | {
            "sample_lists": recall.lists,
            "sample_products": recall.products,
            "sample_found": recall.found,
        }
    return {
        "files": {file.name: file.rows for file in written},
        "counts": counts,
        "coverage": accounts.coverage,
        **manifest_of_recall(recall),
    }


def _model(
    root: Root, provenance: dict[str, Any], manifest: dict[str, Any]
) -> RankingModel:
    """The champion as the pipeline needs it.

    Raises:
        InputError: it looks at pictures, and its backbone is not there.
    """
    folder, pictures = str(root.model(provenance["model"])), None
    if needs_pictures(manifest):
        file = backbone_file(root, provenance["backbone"])
        pictures = PictureSource(folder, str(file), str(root.image_store))
    features = str(root.feature_store(provenance["backbone"]))
    return RankingModel(folder, features, _pair_rule(manifest), pictures)


def _pair_rule(manifest: dict[str, Any]) -> PairRule | None:
    sizes = pair_sizes(manifest)
    if sizes is None:
        return None
    return PairRule(sizes.distance, sizes.squared, sizes.near_regions)


def _threads(options: PipelineOptions) -> int:
    direct = options.view_as(DirectOptions)
    return threads_of(
        options.view_as(StandardOptions).runner,
        direct.direct_num_workers,
        processes=direct.direct_running_mode == "multi_processing",
        cores=usable_cores(),
    )


def _receipt(
    version: str, manifest: dict[str, Any] | None, *, seconds: float, reused: bool
) -> Receipt:
    return Receipt(
        stage=Stage.RANK_CATALOG,
        outputs={"rankings": version},
        counts=manifest["counts"] if manifest else {},
        seconds=seconds,
        reused=reused,
        notes=notes_of(manifest) if manifest else (),
    )


if __name__ == "__main__":
    exit_on_input_error(main)
