"""What an approved swap replaced, kept in the data set `<dataset>_backup`."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from beam_jobs.publishing.bigquery_datasets import Datasets
from beam_jobs.publishing.bigquery_statements import Swap
from beam_jobs.publishing.bigquery_tables import schema_of
from beam_jobs.publishing.publication import Staged, backup_name, require_backup
from tfrecords_schema.tables import PublishedTable


def make_tables(datasets: Datasets, staged: Sequence[Staged]) -> list[str]:
    """Have the tables there that keep what staged rows replace; their names.

    Before the swap: no statement makes a table inside a transaction.
    """
    names = [_relation(datasets, item.table, item.run_date) for item in staged]
    for item, name in zip(staged, names, strict=True):
        datasets.make_table(name, schema_of(item.table))
    return names


def _relation(
    datasets: Datasets, table: PublishedTable, run_date: datetime.date
) -> str:
    return f"{datasets.address.backup}.{backup_name(table, run_date)}"


def restoring_swaps(
    datasets: Datasets, run_date: datetime.date, tables: Sequence[PublishedTable]
) -> list[Swap]:
    """What puts the kept rows of a date back.

    Raises:
        InputError: no backup of that date is kept.
    """
    swaps = []
    for table in find(datasets, run_date, tables):
        source = _relation(datasets, table, run_date)
        (counted,) = datasets.jobs.query(f"SELECT COUNT(*) AS n FROM `{source}`")
        target = datasets.published(table)
        swaps.append(Swap(table, target, source, counted["n"]))
    return swaps


def find(
    datasets: Datasets, run_date: datetime.date, tables: Sequence[PublishedTable]
) -> list[PublishedTable]:
    """The tables of which rows of a date are kept.

    Raises:
        InputError: there is none.
    """
    kept = [name.rpartition(".")[2] for name in names(datasets)]
    return [table for table, _ in require_backup(run_date, tables, kept)]


def names(datasets: Datasets) -> list[str]:
    """Full names of all that is kept."""
    return datasets.tables_in(datasets.address.backup)
