"""Publish a run's date: rankings, evaluation and image status into the warehouse.

Finds what the run made through its receipts, has everything staged and checked, and
replaces the date in all tables at once. A failed check publishes nothing; what the
checks found is in `runs/<date>/checks.json` either way.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import fnmatch
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from etils import epath

from beam_jobs.image_status import LATE_PART, status_parts
from beam_jobs.publishing.publication import (
    Checked,
    Load,
    parquet_rows,
    require_columns,
)
from beam_jobs.publishing.warehouse import Warehouse
from tfrecords_schema import cli, dataset_tables, storage
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date
from tfrecords_schema.parquet_files import read_parquet
from tfrecords_schema.segments import SegmentStore
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import Severity

_IMAGE_KEY = ["kind", "image_id"]
_NOT_RANKED = (
    "no model has been promoted, so nothing was ranked and no ranking published"
)

logger = logging.getLogger(__name__)


def publish(root: Root, run_date: datetime.date) -> Receipt:
    """Publish a date in all tables and leave the receipt.

    Raises:
        InputError: an earlier stage has not run, its output does not fit a table's
            definition, a check failed, or the warehouse is in use.
    """
    started = time.monotonic()
    loads = list(find_loads(root, run_date))
    with Warehouse.open(root.warehouse) as warehouse:
        staged = [warehouse.stage(load, run_date=run_date) for load in loads]
        checked = [warehouse.run_checks(item) for item in staged]
        storage.write_json(checks_path(root, run_date), _findings(checked))
        logger.info("findings of the checks are in %s", checks_path(root, run_date))
        rows = warehouse.publish(checked, tables=list(published_tables().values()))
    receipt = _receipt(
        checked, rows, warehouse=root.warehouse.name, seconds=time.monotonic() - started
    )
    for note in receipt.notes:
        logger.warning(note)
    root.write_receipt(run_date, receipt)
    logger.info("published %s: %s", run_date, receipt.counts)
    return receipt


def _receipt(
    checked: Sequence[Checked],
    rows: Mapping[str, int],
    *,
    warehouse: str,
    seconds: float,
) -> Receipt:
    results = sum(len(item.results) for item in checked)
    warned = [str(result) for item in checked for result in item.broken(Severity.WARN)]
    notes = [] if "rankings" in rows else [_NOT_RANKED]
    return Receipt(
        stage=Stage.PUBLISH,
        outputs={"warehouse": warehouse},
        counts={
            **rows,
            "checks_passed": results - len(warned),
            "checks_warned": len(warned),
        },
        seconds=seconds,
        notes=(*notes, *(f"warning: {text}" for text in warned)),
    )


def checks_path(root: Root, run_date: datetime.date) -> epath.Path:
    """Where the findings of a date's checks lie."""
    return root.path / "runs" / run_date.isoformat() / "checks.json"


def find_loads(root: Root, run_date: datetime.date) -> Iterator[Load]:
    """What a run has to publish, by its receipts; no rankings where none were made."""
    if version := _output(root, run_date, stage=Stage.RANK_CATALOG, name="rankings"):
        yield rankings_load(root.rankings(version))
    model = _output(root, run_date, stage=Stage.EVALUATE, name="model")
    yield evaluations_load(root.model(model) / "metrics.json", model, run_date=run_date)
    root.receipt(run_date, Stage.FETCH_IMAGES)
    yield image_status_load(SegmentStore(root.image_store), run_date)


def rankings_load(folder: epath.Path) -> Load:
    """The rankings of a complete ranking run, as its Parquet files hold them."""
    manifest = storage.read_manifest(folder)
    top_k = manifest.get("top_k")
    if not isinstance(top_k, int) or top_k < 1:
        raise InputError(f"{folder / storage.MANIFEST}: top_k is {top_k!r}")
    table = published_tables()["rankings"]
    return Load(
        table=table,
        rows=parquet_rows(table, _shards(folder)),
        relations={
            "queries": _relation(
                folder / "queries.parquet", dataset_tables.RANKED_QUERIES
            ),
            "products": _relation(
                folder / "products.parquet", dataset_tables.RANKED_PRODUCTS
            ),
        },
        parameters={"top_k": top_k},
    )


def _shards(folder: epath.Path) -> list[epath.Path]:
    # By name: epath's glob reads a bracket in the root's own path as a pattern.
    return sorted(
        file
        for file in folder.iterdir()
        if fnmatch.fnmatchcase(file.name, "rankings-*.parquet")
    )


def evaluations_load(
    metrics_file: epath.Path, run_id: str, *, run_date: datetime.date
) -> Load:
    """The metrics of a model, one row each."""
    table = published_tables()["model_evaluations"]
    document = storage.read_json(metrics_file)
    try:
        common = {
            "run_date": run_date,
            "run_id": run_id,
            "dataset_version": document["evaluation"]["dataset"],
        }
        names = [name for name in table.column_names if name not in common]
        rows = [
            {**common, **{name: metric[name] for name in names}}
            for metric in document["metrics"]
        ]
        found = pa.Table.from_pylist(rows, schema=table.arrow_schema)
    except KeyError as error:
        raise InputError(f"{metrics_file} has no {error}") from None
    except (TypeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"{metrics_file} does not fit {table.name}: {error}") from None
    return Load(table=table, rows=ds.dataset(found))


def image_status_load(store: SegmentStore, run_date: datetime.date) -> Load:
    """The last known status of every picture of the store."""
    table = published_tables()["image_status"]
    latest = latest_status(store.segments())
    dated = _with_constant(latest, "run_date", pa.scalar(run_date, pa.date32()))
    # Types only: a null where none may be is staging's to refuse, by name.
    types = pa.schema([field.with_nullable(True) for field in table.arrow_schema])
    rows = dated.select(table.column_names).cast(types)
    return Load(table=table, rows=ds.dataset(rows))


def latest_status(segments: Sequence[epath.Path]) -> pa.Table:
    """The newest status of each picture.

    Args:
        segments: oldest first.

    Returns:
        Columns of `dataset_tables.IMAGE_STATUS`. A picture that two units of one
        segment name stays twice: that is a fault, which the checks are to see.
    """
    parts = [
        _with_constant(
            _read(path, dataset_tables.IMAGE_STATUS), "age", pa.scalar(age, pa.int64())
        )
        for age, path in _aged_parts(segments)
    ]
    if not parts:
        return dataset_tables.IMAGE_STATUS.empty_table()
    rows = pa.concat_tables(parts)
    newest = (
        rows.group_by(_IMAGE_KEY)
        .aggregate([("age", "max")])
        .rename_columns([*_IMAGE_KEY, "age"])
    )
    joined = rows.join(newest, keys=[*_IMAGE_KEY, "age"], join_type="inner")
    return joined.select(dataset_tables.IMAGE_STATUS.names)


def _aged_parts(
    segments: Sequence[epath.Path],
) -> Iterator[tuple[int, epath.Path]]:
    """Status parts with their age: later is newer, units of a segment are equal."""
    for number, segment in enumerate(segments):
        for path in status_parts(segment):
            yield 2 * number + (path.name == LATE_PART), path


def _with_constant(table: pa.Table, name: str, value: pa.Scalar) -> pa.Table:
    return table.append_column(name, pa.repeat(value, len(table)))


def _relation(file: epath.Path, schema: pa.Schema) -> ds.Dataset:
    return ds.dataset(_read(file, schema))


def _read(file: epath.Path, schema: pa.Schema) -> pa.Table:
    if not file.exists():
        raise InputError(f"{file} does not exist; run the stage that writes it again")
    try:
        # Columns come from the file alone, never from a folder's name.
        with file.open("rb") as opened:
            table = read_parquet(opened)
    except pa.ArrowInvalid as error:
        raise InputError(f"{file} is not Parquet: {error}") from None
    # What a stage keeps there beside these columns is its own business.
    table = table.select([name for name in schema.names if name in table.column_names])
    require_columns(schema, table.schema, where=f"{file}")
    return table


def _output(root: Root, run_date: datetime.date, *, stage: Stage, name: str) -> str:
    receipt = root.receipt(run_date, stage)
    if name not in receipt.outputs:
        raise InputError(f"the receipt of {stage} for {run_date} names no {name}")
    return receipt.outputs[name]


def _findings(checked: Sequence[Checked]) -> list[Mapping[str, Any]]:
    return [dataclasses.asdict(result) for item in checked for result in item.results]


def main(argv: Sequence[str] | None = None) -> None:
    """Publish one date."""
    parser = argparse.ArgumentParser(description="Publish a run's tables.")
    cli.add_run_arguments(parser)
    arguments = parser.parse_args(argv)
    cli.configure_logging()
    publish(Root.of(arguments.root), parse_run_date(arguments.run_date))


if __name__ == "__main__":
    exit_on_input_error(main)
