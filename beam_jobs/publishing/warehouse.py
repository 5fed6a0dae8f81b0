"""The local warehouse, one DuckDB file: staging, checks, one publishing transaction.

A run stages all its tables, checks them, and then replaces its date in all of them at
once. What the tables are and what is checked is data (`tfrecords_schema.tables`); where
the rows come from is the job's business (`beam_jobs.publish`).
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import duckdb
from etils import epath

from beam_jobs.publishing import duckdb_backups, duckdb_staging
from beam_jobs.publishing.dialects import relation_sql, to_duckdb
from beam_jobs.publishing.duckdb_session import Session, open_session, read_session
from beam_jobs.publishing.duckdb_tables import (
    column_list,
    ensure_table,
    has_table,
    replace_views,
)
from beam_jobs.publishing.partition_state import PartitionState
from beam_jobs.publishing.publication import (
    Checked,
    Load,
    Staged,
    require_passed,
    require_rows,
)
from tfrecords_schema.tables import PublishedTable, quoted


class Warehouse:
    """An open DuckDB file, held exclusively until closed.

    Two runs at once: the file's lock turns the second away.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._session = Session(connection)

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: epath.Path) -> Iterator[Warehouse]:
        """Open the file, or make it, for as long as the context lasts.

        Raises:
            InputError: it is not local, is open elsewhere or is no DuckDB file.
        """
        with open_session(path) as session:
            yield cls(session.connection)

    @classmethod
    @contextlib.contextmanager
    def open_to_read(cls, path: epath.Path) -> Iterator[Warehouse]:
        """Open the file for reading only, for as long as the context lasts.

        Raises:
            InputError: it is not there, is open elsewhere or is no DuckDB file.
        """
        with read_session(path) as session:
            yield cls(session.connection)

    def stage(
        self, load: Load, *, run_date: datetime.date, keep: bool = False
    ) -> Staged:
        """Copy a load's rows, and what its checks look at, into staging tables.

        Raises:
            InputError: the columns differ from the definition's, or a required one
                holds a null.
        """
        return duckdb_staging.stage(self._session, load, run_date=run_date, keep=keep)

    def run_checks(self, staged: Staged) -> Checked:
        """Run every check of the table over its staged rows."""
        return duckdb_staging.run_checks(self._session, staged)

    def discard(self, staged: Collection[Staged]) -> None:
        """Drop staging tables that were kept."""
        duckdb_staging.discard(self._session, staged)

    def missing(self, relations: Collection[str]) -> list[str]:
        """Those of the kept staging tables that are not there."""
        return duckdb_staging.missing(self._session, relations)

    def ensure_tables(self, tables: Sequence[PublishedTable]) -> None:
        """Have every table there, if need be empty.

        Raises:
            InputError: one has other columns than its definition.
        """
        with self._session.transaction():
            for table in tables:
                ensure_table(self._session, table)

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
        with self._session.transaction():
            for table in (*tables, *(item.table for item in staged)):
                ensure_table(self._session, table)
            if replacing is not None:
                self._keep(staged, replacing)
            rows = {item.table.name: self._replace_partition(item) for item in staged}
            if replacing is not None and staged:
                duckdb_backups.record(
                    self._session, [item.table for item in staged], staged[0].run_date
                )
            replace_views(self._session)
        return rows

    def _keep(
        self, staged: Sequence[Staged], replacing: Mapping[str, PartitionState]
    ) -> None:
        for item in staged:
            duckdb_backups.require_state(
                self._session,
                item.table,
                item.run_date,
                expected=replacing[item.table.name],
            )
        if staged:
            tables = [item.table for item in staged]
            duckdb_backups.back_up(self._session, tables, staged[0].run_date)

    def _replace_partition(self, staged: Staged) -> int:
        table, columns = staged.table, column_list(staged.table)
        target, date = quoted(table.name), quoted(table.partition_by)
        # Ordered, so that the same rows make the same table, and neighbours share
        # what they are looked up by.
        order = ", ".join(map(quoted, dict.fromkeys((*table.cluster_by, *table.key))))
        value = {"run_date": staged.run_date}
        self._session.execute(f"DELETE FROM {target} WHERE {date} = $run_date", value)
        self._session.execute(
            f"INSERT INTO {target} ({columns}) "
            f"SELECT {columns} FROM {relation_sql(staged.relations['table'])} "
            f"ORDER BY {order}"
        )
        rows = self._session.scalar(
            f"SELECT COUNT(*) FROM {target} WHERE {date} = $run_date", value
        )
        require_rows(table, rows, staged.rows, "published", "staged")
        return rows

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
        with self._session.transaction():
            rows = duckdb_backups.restore(
                self._session, run_date, tables, discard_newer=discard_newer
            )
            replace_views(self._session)
        return rows

    def drop_backups(
        self, run_date: datetime.date, tables: Sequence[PublishedTable]
    ) -> list[str]:
        """Drop what is kept for a date's `rollback`; the names of the tables.

        Raises:
            InputError: no backup of that date is kept.
        """
        duckdb_backups.find(self._session, run_date, tables)
        with self._session.transaction():
            return duckdb_backups.drop(self._session, run_date)

    def has(self, table: PublishedTable) -> bool:
        """Whether a published table is there."""
        return has_table(self._session, table)

    def relation(self, table: PublishedTable) -> str:
        """The name of a published table in a query."""
        return table.name

    def query(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query of BigQuery's dialect."""
        return self._session.rows(to_duckdb(sql), values)
