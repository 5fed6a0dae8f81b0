"""The warehouse in BigQuery: what `warehouse` does in a DuckDB file, with jobs.

Rows are loaded into tables of a staging data set, which expire by themselves, are
checked there, and replace their date in one transaction over all tables. Two runs of a
date at once: BigQuery aborts the transaction that comes second, which then starts anew
and replaces the date as a whole, so that readers see one run or the other.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from beam_jobs.publishing import bigquery_backups, bigquery_staging
from beam_jobs.publishing.bigquery_address import (
    BigQueryAddress,
    make_client,
    parse_address,
)
from beam_jobs.publishing.bigquery_datasets import Datasets
from beam_jobs.publishing.bigquery_jobs import Jobs
from beam_jobs.publishing.bigquery_statements import Swap, transaction
from beam_jobs.publishing.partition_state import PartitionState
from beam_jobs.publishing.publication import Checked, Load, Staged, require_passed
from tfrecords_schema.tables import PublishedTable


class BigQueryWarehouse:
    """A data set of BigQuery, with one for staging and one for backups beside it."""

    def __init__(self, address: BigQueryAddress, jobs: Jobs) -> None:
        self._jobs = jobs
        self._datasets = Datasets(address, jobs)

    @classmethod
    @contextlib.contextmanager
    def open(cls, address: str) -> Iterator[BigQueryWarehouse]:
        """Open the warehouse at an address for as long as the context lasts.

        Raises:
            InputError: the address is malformed, or its data sets cannot be made.
        """
        parsed = parse_address(address)
        with contextlib.closing(make_client(parsed)) as client:
            warehouse = cls(parsed, Jobs(client))
            warehouse.ensure_datasets()
            yield warehouse

    @classmethod
    @contextlib.contextmanager
    def open_to_read(cls, address: str) -> Iterator[BigQueryWarehouse]:
        """Open the warehouse at an address, making nothing there.

        Raises:
            InputError: the address is malformed, or there is no such data set.
        """
        parsed = parse_address(address)
        with contextlib.closing(make_client(parsed)) as client:
            warehouse = cls(parsed, Jobs(client))
            warehouse._datasets.require()
            yield warehouse

    def ensure_datasets(self) -> None:
        """Have the three data sets there.

        Raises:
            InputError: one can neither be read nor made.
        """
        self._datasets.ensure()

    def stage(
        self, load: Load, *, run_date: datetime.date, keep: bool = False
    ) -> Staged:
        """Load a table's rows, and what its checks look at, into staging tables.

        Args:
            load: what to stage.
            run_date: the date that it is to replace.
            keep: makes no difference, as staging tables here outlive the process.

        Raises:
            InputError: the columns differ from the definition's, a required one holds a
                null, or the load job failed.
        """
        return bigquery_staging.stage(self._datasets, load, run_date=run_date)

    def run_checks(self, staged: Staged) -> Checked:
        """Run every check of the table over its staged rows, in one query."""
        return bigquery_staging.run_checks(self._datasets, staged)

    def discard(self, staged: Collection[Staged]) -> None:
        """Drop staging tables."""
        self._datasets.delete(
            name for item in staged for name in item.relations.values()
        )

    def missing(self, relations: Collection[str]) -> list[str]:
        """Those of the staging tables that are not there."""
        there = self._datasets.tables_in(self._datasets.address.staging)
        return sorted(set(relations).difference(there))

    def ensure_tables(self, tables: Sequence[PublishedTable]) -> None:
        """Have every table there as it is defined, if need be empty.

        Raises:
            InputError: one has other columns than its definition.
        """
        self._datasets.ensure_tables(tables)

    def publish(
        self,
        checked: Sequence[Checked],
        *,
        tables: Sequence[PublishedTable] = (),
        replacing: Mapping[str, PartitionState] | None = None,
    ) -> dict[str, int]:
        """Replace the run's date in all its tables, or in none; then the views.

        Raises:
            InputError: a check has failed, a published table has other columns than
                its definition, or others are published than those to be replaced.
        """
        require_passed(checked)
        staged = [item.staged for item in checked]
        self.ensure_tables([*tables, *(item.table for item in staged)])
        if staged:
            self._publish(staged, replacing)
        self._datasets.replace_views()
        return {item.table.name: item.rows for item in staged}

    def _publish(
        self,
        staged: Sequence[Staged],
        replacing: Mapping[str, PartitionState] | None,
    ) -> None:
        run_date, record = staged[0].run_date, ""
        swaps = [
            Swap(
                table=item.table,
                target=self.relation(item.table),
                source=item.relations["table"],
                rows=item.rows,
            )
            for item in staged
        ]
        if replacing is not None:
            swaps = bigquery_backups.keeping(
                self._datasets, swaps, run_date, replacing=replacing
            )
            record = bigquery_backups.record_table(self._datasets, run_date)
        self._swap(swaps, run_date, record=record)

    def _swap(
        self, swaps: Sequence[Swap], run_date: datetime.date, *, record: str = ""
    ) -> None:
        script = transaction(swaps, run_date, record=record)
        self._jobs.run_transaction(script, what=f"replace {run_date}")

    def rollback(
        self,
        run_date: datetime.date,
        tables: Sequence[PublishedTable],
        *,
        discard_newer: bool = False,
    ) -> dict[str, int]:
        """Put back what the approved swap of a date replaced, and drop the backup.

        Raises:
            InputError: no backup of that date is kept, or the date was published
                again since and `discard_newer` is not set.
        """
        swaps = bigquery_backups.restoring(
            self._datasets, run_date, tables, discard_newer=discard_newer
        )
        self._swap(swaps, run_date)
        self._datasets.replace_views()
        # Last: a rollback that was killed before can be asked for again.
        bigquery_backups.drop(self._datasets, run_date)
        return {swap.table.name: swap.rows for swap in swaps}

    def drop_backups(
        self, run_date: datetime.date, tables: Sequence[PublishedTable]
    ) -> list[str]:
        """Drop what is kept for a date's `rollback`; the names of the tables.

        Raises:
            InputError: no backup of that date is kept.
        """
        bigquery_backups.find(self._datasets, run_date, tables)
        return bigquery_backups.drop(self._datasets, run_date)

    def has(self, table: PublishedTable) -> bool:
        """Whether a published table is there."""
        return self._datasets.has(table)

    def relation(self, table: PublishedTable) -> str:
        """The full name of a published table."""
        return self._datasets.published(table)

    def query(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query, as JSON values."""
        return self._jobs.json_rows(sql, values)
