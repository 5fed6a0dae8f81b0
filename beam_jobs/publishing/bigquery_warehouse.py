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

from google.api_core import exceptions
from google.cloud import bigquery

from beam_jobs.publishing.bigquery_address import (
    BigQueryAddress,
    make_client,
    parse_address,
)
from beam_jobs.publishing.bigquery_jobs import Jobs, explained
from beam_jobs.publishing.bigquery_statements import (
    Swap,
    count_failures,
    create_view,
    published_dates,
    transaction,
)
from beam_jobs.publishing.bigquery_tables import (
    adopt_metadata,
    fields_of,
    outdated_metadata,
    require_same_columns,
    schema_of,
    table_of,
)
from beam_jobs.publishing.parquet_sources import load_source
from beam_jobs.publishing.publication import (
    Checked,
    CheckResult,
    Load,
    Staged,
    backup_name,
    json_value,
    require_backup,
    require_columns,
    require_passed,
    staging_name,
)
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import Check, ColumnType, PublishedTable
from tfrecords_schema.view_folders import PublishedDates, published_views

_EXAMPLES = 3
_STAGING_DAYS = 7
_DIGEST_DIGITS = 16

_PARAMETER_TYPES = {
    bool: ColumnType.BOOL,
    int: ColumnType.INT64,
    float: ColumnType.FLOAT64,
    str: ColumnType.STRING,
    datetime.date: ColumnType.DATE,
}


class BigQueryWarehouse:
    """A data set of BigQuery, with one for staging and one for backups beside it."""

    def __init__(self, address: BigQueryAddress, jobs: Jobs) -> None:
        self._address = address
        self._jobs = jobs
        self._client = jobs.client

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

    def ensure_datasets(self) -> None:
        """Have the three data sets there.

        Raises:
            InputError: one can neither be read nor made.
        """
        for name in (
            self._address.published,
            self._address.staging,
            self._address.backup,
        ):
            with explained(f"find or make the data set {name}"):
                try:
                    self._client.get_dataset(name, retry=self._jobs.retry)
                except exceptions.NotFound:
                    self._create_dataset(name)

    def _create_dataset(self, name: str) -> None:
        dataset = bigquery.Dataset(name)
        if self._address.location is not None:
            dataset.location = self._address.location
        if name == self._address.staging:
            dataset.default_table_expiration_ms = _STAGING_DAYS * 24 * 60 * 60 * 1000
        self._client.create_dataset(dataset, exists_ok=True, retry=self._jobs.retry)

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
        table = load.table
        require_columns(table.arrow_schema, load.rows.schema, where=table.name)
        name = staging_name(table, run_date)
        with load_source(
            load.rows, load.files, name=table.name, schema=table.arrow_schema
        ) as source:
            staged = self._staging_table(name, source.digest)
            self._jobs.load(
                source, staged, job_id=_job_id(staged), schema=schema_of(table)
            )
            rows = source.rows
        relations = {"table": staged}
        for relation in sorted(table.relations):
            rows_of = load.relations[relation]
            with load_source(rows_of, (), name=relation) as source:
                target = self._staging_table(f"{name}_{relation}", source.digest)
                self._jobs.load(
                    source,
                    target,
                    job_id=_job_id(target),
                    schema=fields_of(rows_of.schema),
                )
            relations[relation] = target
        parameters = {**load.parameters, "run_date": run_date}
        return Staged(table, rows, run_date, relations, parameters)

    def _staging_table(self, name: str, digest: str) -> str:
        """By content, so that runs with other content never share one."""
        return f"{self._address.staging}.{name}_{digest[:_DIGEST_DIGITS]}"

    def run_checks(self, staged: Staged) -> Checked:
        """Run every check of the table over its staged rows, in one query."""
        checks = staged.table.checks
        query = count_failures(checks, staged.relations)
        failures = {
            row["name"]: row["failures"]
            for row in self.query(query, staged.values_of(*checks))
        }
        return Checked(
            staged,
            tuple(
                self._result(check, staged, failures[check.name]) for check in checks
            ),
        )

    def _result(self, check: Check, staged: Staged, failures: int) -> CheckResult:
        examples: list[dict[str, Any]] = []
        if failures:
            examples = self.query(
                f"SELECT * FROM (\n{check.render(staged.relations)}\n) AS found "
                f"ORDER BY TO_JSON_STRING(found) LIMIT {_EXAMPLES}",
                staged.values_of(check),
            )
        return CheckResult.of(check, staged, failures, examples)

    def publish(
        self,
        checked: Sequence[Checked],
        *,
        tables: Sequence[PublishedTable] = (),
        back_up: bool = False,
    ) -> dict[str, int]:
        """Replace the run's date in all its tables, or in none; then the views.

        Raises:
            InputError: a check has failed, or a published table has other columns
                than its definition.
        """
        require_passed(checked)
        self.ensure_tables([*tables, *(item.staged.table for item in checked)])
        staged = [item.staged for item in checked]
        if staged:
            self._swap(
                [self._swap_of(item, back_up=back_up) for item in staged],
                staged[0].run_date,
                back_up=back_up,
            )
        self._replace_views()
        return {item.table.name: item.rows for item in staged}

    def _swap_of(self, staged: Staged, *, back_up: bool) -> Swap:
        backup = backup_name(staged.table, staged.run_date)
        return Swap(
            table=staged.table,
            target=self.relation(staged.table),
            source=staged.relations["table"],
            rows=staged.rows,
            backup=f"{self._address.backup}.{backup}" if back_up else "",
        )

    def _swap(
        self, swaps: Sequence[Swap], run_date: datetime.date, *, back_up: bool
    ) -> None:
        for swap in swaps if back_up else ():
            # No statement makes a table inside a transaction.
            backup = bigquery.Table(swap.backup, schema=schema_of(swap.table))
            with explained(f"make the table {swap.backup}"):
                self._client.create_table(
                    backup, exists_ok=True, retry=self._jobs.retry
                )
        self._jobs.run_transaction(
            transaction(swaps, run_date), what=f"replace {run_date}"
        )
        if back_up:
            kept = {swap.backup for swap in swaps}
            self._delete(set(self._tables_in(self._address.backup)) - kept)

    def ensure_tables(self, tables: Sequence[PublishedTable]) -> None:
        """Have every table there as it is defined, if need be empty.

        Raises:
            InputError: one has other columns than its definition.
        """
        for table in tables:
            wanted = table_of(table, self._address.published)
            with explained(f"find or make the table {self.relation(table)}"):
                try:
                    found = self._client.get_table(
                        wanted.reference, retry=self._jobs.retry
                    )
                except exceptions.NotFound:
                    self._client.create_table(
                        wanted, exists_ok=True, retry=self._jobs.retry
                    )
                    continue
                require_same_columns(table, found)
                if changed := outdated_metadata(wanted, found):
                    self._client.update_table(
                        adopt_metadata(wanted, found), changed, retry=self._jobs.retry
                    )

    def _replace_views(self) -> None:
        """Make the views anew for the dates that are published now."""
        dates: dict[str, list[datetime.date]] = {}
        for row in self._jobs.query(published_dates(self._address.published)):
            if (
                row["partition_id"].isdecimal()
                and row["table_name"] in published_tables()
            ):
                date = datetime.datetime.strptime(row["partition_id"], "%Y%m%d").date()
                dates.setdefault(row["table_name"], []).append(date)
        every = [date for found in dates.values() for date in found]
        published = PublishedDates.of(dates.get("rankings", []), every)
        for view in published_views().values():
            self._jobs.query(create_view(view, self._address.published, published))

    def rollback(
        self, run_date: datetime.date, tables: Sequence[PublishedTable]
    ) -> dict[str, int]:
        """Put back what the last swap of a date replaced, and drop the backup.

        Raises:
            InputError: no backup of that date is kept.
        """
        names = self._tables_in(self._address.backup)
        swaps = []
        for table, name in require_backup(run_date, tables, _ids(names)):
            source = f"{self._address.backup}.{name}"
            (counted,) = self._jobs.query(f"SELECT COUNT(*) AS n FROM `{source}`")
            swaps.append(Swap(table, self.relation(table), source, counted["n"]))
        self._swap(swaps, run_date, back_up=False)
        self._replace_views()
        # Last: a rollback that was killed before can be asked for again.
        self._delete(names)
        return {swap.table.name: swap.rows for swap in swaps}

    def drop_backups(
        self, run_date: datetime.date, tables: Sequence[PublishedTable]
    ) -> list[str]:
        """Drop what is kept for a date's `rollback`; the names of the tables.

        Raises:
            InputError: no backup of that date is kept.
        """
        names = self._tables_in(self._address.backup)
        require_backup(run_date, tables, _ids(names))
        self._delete(names)
        return names

    def discard(self, staged: Collection[Staged]) -> None:
        """Drop staging tables."""
        self._delete(name for item in staged for name in item.relations.values())

    def missing(self, relations: Collection[str]) -> list[str]:
        """Those of the tables that are not there."""
        return sorted(set(relations).difference(self._tables_in(self._address.staging)))

    def relation(self, table: PublishedTable) -> str:
        """The full name of a published table."""
        return f"{self._address.published}.{table.name}"

    def query(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query, as JSON values."""
        parameters = [
            bigquery.ScalarQueryParameter(name, _PARAMETER_TYPES[type(value)], value)
            for name, value in values.items()
        ]
        return [
            {name: json_value(value) for name, value in row.items()}
            for row in self._jobs.query(sql, parameters)
        ]

    def _tables_in(self, dataset: str) -> list[str]:
        with explained(f"list the tables of {dataset}"):
            found = self._client.list_tables(dataset, retry=self._jobs.retry)
            return sorted(f"{dataset}.{table.table_id}" for table in found)

    def _delete(self, tables: Iterator[str] | Collection[str]) -> None:
        for table in tables:
            with explained(f"drop the table {table}"):
                self._client.delete_table(
                    table, not_found_ok=True, retry=self._jobs.retry
                )


def _ids(tables: Sequence[str]) -> list[str]:
    """Without project and data set."""
    return [table.rpartition(".")[2] for table in tables]


def _job_id(staging: str) -> str:
    """Of the run, the table and the content, all of which the staging table names."""
    # Ids are a project's, so the data set is part of it.
    return "ctl-load-" + "-".join(staging.split(".")[-2:])
