"""Publish a run's date: rankings, evaluation, statuses and figures of the night.

Finds what the run made through its receipts, has everything staged and checked, and
replaces the date in all tables at once. A failed check publishes nothing; what the
checks found is in `runs/<date>/checks.json` either way. With `--stage_only` the checked
rows wait for a person, who approves them with `beam_jobs.approve`.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from beam_jobs.publishing.approval import (
    decision_note,
    require_open,
    summary,
    withdraw_request,
    write_request,
)
from beam_jobs.publishing.domains import require_one_domain
from beam_jobs.publishing.image_loads import image_status_load
from beam_jobs.publishing.loads import (
    attention_load,
    evaluations_load,
    rankings_load,
    unranked_loads,
)
from beam_jobs.publishing.publication import Checked, Load, require_passed
from beam_jobs.publishing.run_loads import dataset_load, run_loads
from beam_jobs.publishing.target import (
    Target,
    absolute_address,
    add_warehouse_argument,
    address_of,
    open_target,
)
from tfrecords_schema import cli, storage
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import Severity
from tfrecords_schema.usage import Meter

_NOT_RANKED = (
    "no model has been promoted, so nothing was ranked and the date has no lists"
)
_ALL_IMAGES = (
    "image_status has pictures of earlier catalogues too: an earlier version has "
    "fetched those of {run_date}; run fetch_images for it again, and publish"
)

logger = logging.getLogger(__name__)


def publish(
    root: Root,
    run_date: datetime.date,
    *,
    warehouse: str = "",
    stage_only: bool = False,
) -> Receipt:
    """Publish a date in all tables, or have it wait, and leave the receipt.

    Args:
        root: the storage root.
        run_date: the partition.
        warehouse: address of the warehouse; empty for the root's DuckDB file.
        stage_only: whether the rows are to wait for an approval.

    Raises:
        InputError: an earlier stage has not run, its output does not fit a table's
            definition, a check failed, the warehouse is in use or has the date of
            another domain, or a person is asked about the date or has rejected it.
    """
    meter = Meter()
    if not stage_only:
        require_open(root, run_date)
    loads = list(find_loads(root, run_date))
    warehouse = absolute_address(warehouse)
    address = address_of(root, warehouse)
    with open_target(address) as target:
        require_one_domain(target, root, run_date)
        if stage_only:
            withdraw_request(root, run_date)
        staged = [
            target.stage(load, run_date=run_date, keep=stage_only) for load in loads
        ]
        checked = [target.run_checks(item) for item in staged]
        storage.write_json(checks_path(root, run_date), _findings(checked))
        logger.info("findings of the checks are in %s", checks_path(root, run_date))
        tables = list(published_tables().values())
        if stage_only:
            _keep_only_passed(target, checked)
            target.ensure_tables(tables)
            request = write_request(root, target, checked, warehouse=warehouse)
            told = summary(request)
            notes = [decision_note(request)]
        else:
            target.publish(checked, tables=tables)
            notes, told = [], ""
    if not _output(root, run_date, stage=Stage.RANK_CATALOG, name="rankings"):
        notes.append(_NOT_RANKED)
    if not root.catalog_images(run_date).exists():
        notes.append(_ALL_IMAGES.format(run_date=run_date))
    receipt = _receipt(
        checked,
        outputs={"warehouse": warehouse or root.warehouse.name},
        meter=meter,
        notes=notes,
    )
    for note in receipt.notes:
        logger.warning(note)
    root.write_receipt(run_date, receipt)
    logger.info("%s %s: %s", _done(stage_only), run_date, receipt.counts)
    if told:
        print(told, flush=True)
    return receipt


def _keep_only_passed(target: Target, checked: Sequence[Checked]) -> None:
    """Let nothing wait that could never be approved."""
    try:
        require_passed(checked)
    except InputError:
        target.discard([item.staged for item in checked])
        raise


def _done(stage_only: bool) -> str:
    return "staged" if stage_only else "published"


def _receipt(
    checked: Sequence[Checked],
    *,
    outputs: dict[str, str],
    meter: Meter,
    notes: Sequence[str],
) -> Receipt:
    rows = {item.staged.table.name: item.staged.rows for item in checked}
    results = sum(len(item.results) for item in checked)
    warned = [str(result) for item in checked for result in item.broken(Severity.WARN)]
    return Receipt(
        stage=Stage.PUBLISH,
        outputs=outputs,
        counts={
            **rows,
            "checks_passed": results - len(warned),
            "checks_warned": len(warned),
        },
        seconds=meter.seconds,
        notes=(*notes, *(f"warning: {text}" for text in warned)),
        usage=meter.usage(),
    )


def checks_path(root: Root, run_date: datetime.date) -> epath.Path:
    """Where the findings of a date's checks lie."""
    return root.path / "runs" / run_date.isoformat() / "checks.json"


def find_loads(root: Root, run_date: datetime.date) -> Iterator[Load]:
    """What a run has to publish, by its receipts; no lists where nothing was ranked."""
    if version := ranking_version(root, run_date):
        yield rankings_load(root.rankings(version))
        yield attention_load(root.rankings(version))
    else:
        yield from unranked_loads()
    trained = any(
        root.find_receipt(run_date, stage) for stage in (Stage.TRAIN, Stage.EVALUATE)
    )
    if trained or not version:
        model = _output(root, run_date, stage=Stage.EVALUATE, name="model")
        metrics = root.model(model) / "metrics.json"
        yield evaluations_load(metrics, model, run_date=run_date)
    else:
        # Ranked by a model of another date, whose figures are published there.
        model = storage.read_manifest(root.rankings(version))["model"]
    root.receipt(run_date, Stage.FETCH_IMAGES)
    yield image_status_load(root, run_date)
    yield dataset_load(root, run_date, root.receipt(run_date, Stage.BUILD_DATASET))
    yield from run_loads(root, run_date, run_id=model)


def ranking_version(root: Root, run_date: datetime.date) -> str:
    """The rankings of a date; empty where nothing was ranked.

    Raises:
        InputError: there was a champion when they were made, and there is none now.
    """
    version = _output(root, run_date, stage=Stage.RANK_CATALOG, name="rankings")
    if version and not root.champion.exists():
        raise InputError(
            f"{root.champion} was removed since rankings {version} were made, so no "
            "model is in force to publish the lists of. Promote one, or run "
            f"beam_jobs.rank_catalog for {run_date} again to publish it without lists"
        )
    return version


def _output(root: Root, run_date: datetime.date, *, stage: Stage, name: str) -> str:
    receipt = root.receipt(run_date, stage)
    if name not in receipt.outputs:
        raise InputError(f"the receipt of {stage} for {run_date} names no {name}")
    return receipt.outputs[name]


def _findings(checked: Sequence[Checked]) -> list[Mapping[str, Any]]:
    return [dataclasses.asdict(result) for item in checked for result in item.results]


def main(argv: Sequence[str] | None = None) -> None:
    """Publish one date."""
    cli.configure_logging(Stage.PUBLISH, argv)
    parser = argparse.ArgumentParser(
        description="Publish a run's tables.", allow_abbrev=False
    )
    cli.add_run_arguments(parser)
    add_warehouse_argument(parser)
    parser.add_argument(
        "--stage_only",
        action="store_true",
        help="check the rows and have them wait for python -m beam_jobs.approve",
    )
    arguments = parser.parse_args(argv)
    publish(
        Root.of(arguments.root),
        parse_run_date(arguments.run_date),
        warehouse=arguments.warehouse,
        stage_only=arguments.stage_only,
    )


if __name__ == "__main__":
    exit_on_input_error(main)
