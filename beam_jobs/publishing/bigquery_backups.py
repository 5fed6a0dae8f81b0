"""What approved swaps replaced, kept by date in the data set `<dataset>_backup`.

Beside the rows lies what the swap put in their place, so that a later roll-back can
tell whether the date was published again since.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence

from google.cloud import bigquery

from beam_jobs.publishing.bigquery_datasets import Datasets
from beam_jobs.publishing.bigquery_statements import Swap
from beam_jobs.publishing.bigquery_tables import schema_of
from beam_jobs.publishing.partition_state import (
    PartitionState,
    require_newest,
    state_query,
)
from beam_jobs.publishing.publication import (
    backup_name,
    record_name,
    require_backup,
    tables_of_date,
)
from tfrecords_schema.errors import InputError
from tfrecords_schema.tables import PublishedTable

_RECORD = [
    bigquery.SchemaField("table_name", "STRING", mode="REQUIRED"),
    bigquery.SchemaField("rows", "INT64", mode="REQUIRED"),
    bigquery.SchemaField("runs", "STRING", mode="REQUIRED"),
    bigquery.SchemaField("checksum", "STRING", mode="REQUIRED"),
]


def keeping(
    datasets: Datasets,
    swaps: Sequence[Swap],
    run_date: datetime.date,
    *,
    replacing: Mapping[str, PartitionState],
) -> list[Swap]:
    """Swaps that keep what they replace, and replace nothing else than what was seen.

    The tables that take it are made here, as no statement makes one inside a
    transaction.
    """
    datasets.make_table(record_table(datasets, run_date), _RECORD)
    kept = []
    for swap in swaps:
        backup = _relation(datasets, backup_name(swap.table, run_date))
        datasets.make_table(backup, schema_of(swap.table))
        seen = replacing[swap.table.name]
        kept.append(dataclasses.replace(swap, replacing=seen, backup=backup))
    return kept


def record_table(datasets: Datasets, run_date: datetime.date) -> str:
    """Full name of the table that says what a swap has put in."""
    return _relation(datasets, record_name(run_date))


def restoring(
    datasets: Datasets,
    run_date: datetime.date,
    tables: Sequence[PublishedTable],
    *,
    discard_newer: bool,
) -> list[Swap]:
    """What puts the kept rows of a date back.

    Raises:
        InputError: no backup of that date is kept, or the date was published again.
    """
    found = find(datasets, run_date, tables)
    swapped_in = _recorded(datasets, run_date)
    if not swapped_in:
        # The tables are made before the swap, which may not have come about.
        raise InputError(
            f"no swap of {run_date} is written down in "
            f"{record_table(datasets, run_date)}: it was refused or killed before it "
            "changed anything, and there is nothing to put back; --drop_backup removes "
            "the empty tables"
        )
    sources = {
        table.name: _relation(datasets, backup_name(table, run_date)) for table in found
    }
    published = {
        table.name: _state_of(datasets, table, datasets.published(table), run_date)
        for table in found
    }
    kept = {
        table.name: _state_of(datasets, table, sources[table.name], run_date)
        for table in found
    }
    if not discard_newer:
        require_newest(run_date, published, swapped_in=swapped_in, kept=kept)
    return [
        Swap(
            table=table,
            target=datasets.published(table),
            source=sources[table.name],
            rows=kept[table.name].rows,
            replacing=published[table.name],
        )
        for table in found
    ]


def _state_of(
    datasets: Datasets,
    table: PublishedTable,
    relation: str,
    run_date: datetime.date,
) -> PartitionState:
    (found,) = datasets.jobs.query(state_query(table, relation, run_date))
    return PartitionState.of(found)


def _recorded(datasets: Datasets, run_date: datetime.date) -> dict[str, PartitionState]:
    name = record_table(datasets, run_date)
    if name not in datasets.tables_in(datasets.address.backup):
        return {}
    rows = datasets.jobs.query(f"SELECT * FROM `{name}`")
    return {row["table_name"]: PartitionState.of(row) for row in rows}


def find(
    datasets: Datasets, run_date: datetime.date, tables: Sequence[PublishedTable]
) -> list[PublishedTable]:
    """The tables of which rows of a date are kept.

    Raises:
        InputError: there is none.
    """
    kept = datasets.tables_in(datasets.address.backup)
    return require_backup(run_date, tables, [name.split(".")[-1] for name in kept])


def drop(datasets: Datasets, run_date: datetime.date) -> list[str]:
    """Drop what is kept of a date; the names of the tables."""
    names = tables_of_date(run_date, datasets.tables_in(datasets.address.backup))
    datasets.delete(names)
    return names


def _relation(datasets: Datasets, name: str) -> str:
    return f"{datasets.address.backup}.{name}"
