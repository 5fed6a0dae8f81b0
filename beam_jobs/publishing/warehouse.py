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
import pyarrow.dataset as ds
from etils import epath

from beam_jobs.publishing.dialects import relation_sql, to_duckdb
from beam_jobs.publishing.publication import (
    Checked,
    CheckResult,
    Load,
    Staged,
    backup_name,
    json_value,
    require_backup,
    require_columns,
    require_definition,
    require_passed,
    staging_name,
)
from tfrecords_schema.errors import InputError
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import Check, PublishedTable, quoted
from tfrecords_schema.view_folders import PublishedDates, PublishedView, published_views

_EXAMPLES = 3
_SOURCE = "arrow_source"
_STAGING = "staging"
_BACKUP = "backup"


class Warehouse:
    """An open DuckDB file, held exclusively until closed.

    Staging tables are DuckDB's temporary ones: they spill to disk as others do, but
    end with the connection, so that neither a failed check nor a killed process can
    leave one behind in the file that analysts open. Those that wait for an approval
    are in the schema `staging`, and what a swap replaced is in the schema `backup`.
    Two runs at once: the file's lock turns the second away.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: epath.Path) -> Iterator[Warehouse]:
        """Open the file, or make it, for as long as the context lasts.

        Raises:
            InputError: it is not local, is open elsewhere or is no DuckDB file.
        """
        if "://" in str(path):
            raise InputError(
                f"the DuckDB warehouse {path} must be a local file; set --root to a "
                "folder of this machine"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(path)
        try:
            yield cls(connection)
        finally:
            connection.close()

    def stage(
        self, load: Load, *, run_date: datetime.date, keep: bool = False
    ) -> Staged:
        """Copy a load's rows, and what its checks look at, into staging tables.

        Raises:
            InputError: the columns differ from the definition's, or a required one
                holds a null.
        """
        table = load.table
        name = staging_name(table, run_date)
        kind = "TEMP TABLE"
        if keep:
            self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_STAGING}")
            name, kind = f"{_STAGING}.{name}", "TABLE"
        rows = self._stage_rows(load, f"{kind} {relation_sql(name)}", name)
        relations = {"table": name}
        for relation in sorted(table.relations):
            relations[relation] = f"{name}_{relation}"
            target = relation_sql(relations[relation])
            with self._registered(load.relations[relation]) as source:
                self._connection.execute(
                    f"CREATE OR REPLACE {kind} {target} AS SELECT * FROM {source}"
                )
        parameters = {**load.parameters, "run_date": run_date}
        return Staged(table, rows, run_date, relations, parameters)

    def _stage_rows(self, load: Load, create: str, name: str) -> int:
        table, columns = load.table, _column_list(load.table)
        require_columns(table.arrow_schema, load.rows.schema, where=table.name)
        self._connection.execute(f"CREATE OR REPLACE {create} ({table.duckdb_columns})")
        with self._registered(load.rows) as source:
            try:
                self._connection.execute(
                    f"INSERT INTO {relation_sql(name)} ({columns}) "
                    f"SELECT {columns} FROM {source}"
                )
            except duckdb.ConstraintException as error:
                raise InputError(f"{table.name} cannot be staged: {error}") from None
        rows = self._scalar(f"SELECT COUNT(*) FROM {relation_sql(name)}")
        _require_equal(table, rows, load.rows.count_rows(), "staged", "in the source")
        return rows

    def run_checks(self, staged: Staged) -> Checked:
        """Run every check of the table over its staged rows."""
        results = tuple(self._run(check, staged) for check in staged.table.checks)
        return Checked(staged, results)

    def _run(self, check: Check, staged: Staged) -> CheckResult:
        query = to_duckdb(check.render(staged.relations))
        values = staged.values_of(check)
        failures = self._scalar(f"SELECT COUNT(*) FROM (\n{query}\n)", values)
        examples = (
            self._rows(
                f"SELECT * FROM (\n{query}\n) ORDER BY ALL LIMIT {_EXAMPLES}", values
            )
            if failures
            else []
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
        with self._transaction():
            for table in (*tables, *(item.staged.table for item in checked)):
                self._ensure_table(table)
            if back_up:
                self._back_up([item.staged for item in checked])
            rows = {
                item.staged.table.name: self._replace_partition(item.staged)
                for item in checked
            }
            self._replace_views()
        return rows

    def _back_up(self, staged: Sequence[Staged]) -> None:
        self._drop_backups()
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_BACKUP}")
        for item in staged:
            backup = relation_sql(f"{_BACKUP}.{backup_name(item.table, item.run_date)}")
            self._connection.execute(
                f"CREATE TABLE {backup} AS SELECT * FROM {quoted(item.table.name)} "
                f"WHERE {quoted(item.table.partition_by)} = $run_date",
                {"run_date": item.run_date},
            )

    def rollback(
        self, run_date: datetime.date, tables: Sequence[PublishedTable]
    ) -> dict[str, int]:
        """Put back what the last swap of a date replaced, and drop the backup.

        Raises:
            InputError: no backup of that date is kept.
        """
        kept = self._tables_in(_BACKUP)
        found = require_backup(run_date, tables, kept)
        with self._transaction():
            for table, backup in found:
                columns, target = _column_list(table), quoted(table.name)
                self._connection.execute(
                    f"DELETE FROM {target} "
                    f"WHERE {quoted(table.partition_by)} = $run_date",
                    {"run_date": run_date},
                )
                self._connection.execute(
                    f"INSERT INTO {target} ({columns}) "
                    f"SELECT {columns} FROM {relation_sql(f'{_BACKUP}.{backup}')}"
                )
            rows = {
                table.name: self._scalar(
                    f"SELECT COUNT(*) FROM {relation_sql(f'{_BACKUP}.{backup}')}"
                )
                for table, backup in found
            }
            self._drop_backups()
            self._replace_views()
        return rows

    def drop_backups(
        self, run_date: datetime.date, tables: Sequence[PublishedTable]
    ) -> list[str]:
        """Drop what is kept for a date's `rollback`; the names of the tables.

        Raises:
            InputError: no backup of that date is kept.
        """
        require_backup(run_date, tables, self._tables_in(_BACKUP))
        with self._transaction():
            return self._drop_backups()

    def _drop_backups(self) -> list[str]:
        kept = self._tables_in(_BACKUP)
        for name in kept:
            self._connection.execute(f"DROP TABLE {relation_sql(f'{_BACKUP}.{name}')}")
        return kept

    def discard(self, staged: Collection[Staged]) -> None:
        """Drop staging tables that were kept."""
        with self._transaction():
            for item in staged:
                for relation in item.relations.values():
                    self._connection.execute(
                        f"DROP TABLE IF EXISTS {relation_sql(relation)}"
                    )

    def missing(self, relations: Collection[str]) -> list[str]:
        """Those of the tables that are not there."""
        kept = {f"{_STAGING}.{name}" for name in self._tables_in(_STAGING)}
        return sorted(set(relations) - kept)

    def relation(self, table: PublishedTable) -> str:
        """The name of a published table in a query."""
        return table.name

    def query(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query of BigQuery's dialect."""
        return self._rows(to_duckdb(sql), values)

    def ensure_tables(self, tables: Sequence[PublishedTable]) -> None:
        """Have every table there, if need be empty.

        Raises:
            InputError: one has other columns than its definition.
        """
        with self._transaction():
            for table in tables:
                self._ensure_table(table)

    def _replace_partition(self, staged: Staged) -> int:
        table, columns = staged.table, _column_list(staged.table)
        target, date = quoted(table.name), quoted(table.partition_by)
        # Ordered, so that the same rows make the same table, and neighbours share
        # what they are looked up by.
        order = ", ".join(map(quoted, dict.fromkeys((*table.cluster_by, *table.key))))
        value = {"run_date": staged.run_date}
        self._connection.execute(
            f"DELETE FROM {target} WHERE {date} = $run_date", value
        )
        self._connection.execute(
            f"INSERT INTO {target} ({columns}) "
            f"SELECT {columns} FROM {relation_sql(staged.relations['table'])} "
            f"ORDER BY {order}"
        )
        rows = self._scalar(
            f"SELECT COUNT(*) FROM {target} WHERE {date} = $run_date", value
        )
        _require_equal(table, rows, staged.rows, "published", "staged")
        return rows

    def _ensure_table(self, table: PublishedTable) -> None:
        found = self._published_columns(table)
        if not found:
            self._connection.execute(
                f"CREATE TABLE {quoted(table.name)} ({table.duckdb_columns})"
            )
            self._describe_relation("TABLE", table.name, table.description)
            for column in table.columns:
                self._describe_column(table.name, column.name, column.description)
            return
        require_definition(
            table,
            f"table {table.name} of the warehouse",
            expected={
                column.name: _described(column.duckdb_type, not column.required)
                for column in table.columns
            },
            found={name: _described(*column) for name, column in found.items()},
        )

    def _replace_views(self) -> None:
        """Make the views anew for the dates that are published now."""
        there = [
            name
            for name, table in published_tables().items()
            if self._published_columns(table)
        ]
        dates = {name: self._dates(name) for name in there}
        every = [date for found in dates.values() for date in found]
        published = PublishedDates.of(dates.get("rankings", []), every)
        for view in published_views().values():
            if view.relations <= dates.keys():
                self._replace_view(view, published)

    def _replace_view(self, view: PublishedView, dates: PublishedDates) -> None:
        query = to_duckdb(view.render({name: name for name in view.relations}, dates))
        self._connection.execute(
            f"CREATE OR REPLACE VIEW {quoted(view.name)} AS {query}"
        )
        self._describe_relation("VIEW", view.name, view.description)
        for name, description in view.columns:
            self._describe_column(view.name, name, description)

    def _dates(self, table: str) -> list[datetime.date]:
        rows = self._connection.execute(
            f"SELECT DISTINCT run_date FROM {quoted(table)}"
        )
        return [date for (date,) in rows.fetchall()]

    def _describe_relation(self, kind: str, name: str, description: str) -> None:
        text = description.replace("'", "''")
        self._connection.execute(f"COMMENT ON {kind} {quoted(name)} IS '{text}'")

    def _describe_column(self, name: str, column: str, description: str) -> None:
        text = description.replace("'", "''")
        self._connection.execute(
            f"COMMENT ON COLUMN {quoted(name)}.{quoted(column)} IS '{text}'"
        )

    def _tables_in(self, schema: str) -> list[str]:
        rows = self._connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = $schema "
            "AND database_name = current_database() ORDER BY table_name",
            {"schema": schema},
        )
        return [name for (name,) in rows.fetchall()]

    def _published_columns(self, table: PublishedTable) -> dict[str, tuple[str, bool]]:
        rows = self._connection.execute(
            "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
            "WHERE database_name = current_database() AND schema_name = 'main' "
            "AND table_name = $name ORDER BY column_index",
            {"name": table.name},
        ).fetchall()
        return {name: (kind, nullable) for name, kind, nullable in rows}

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.begin()
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    @contextlib.contextmanager
    def _registered(self, rows: ds.Dataset) -> Iterator[str]:
        self._connection.register(_SOURCE, rows)
        try:
            yield quoted(_SOURCE)
        finally:
            self._connection.unregister(_SOURCE)

    def _scalar(self, query: str, values: Mapping[str, Any] | None = None) -> int:
        return self._connection.execute(query, dict(values or {})).fetchall()[0][0]

    def _rows(self, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        cursor = self._connection.execute(query, dict(values))
        names = [column[0] for column in cursor.description]
        return [
            dict(zip(names, map(json_value, row), strict=True))
            for row in cursor.fetchall()
        ]


def _connect(path: epath.Path) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(path))
    except duckdb.IOException as error:
        if "lock" in str(error):
            raise InputError(
                f"the warehouse {path} is open in another process; close it there and "
                f"run this date again ({error})"
            ) from None
        raise InputError(f"the warehouse {path} cannot be opened: {error}") from None


def _column_list(table: PublishedTable) -> str:
    return ", ".join(map(quoted, table.column_names))


def _described(kind: str, nullable: bool) -> str:
    return kind if nullable else f"{kind} NOT NULL"


def _require_equal(
    table: PublishedTable, found: int, expected: int, what: str, where: str
) -> None:
    if found != expected:
        raise RuntimeError(
            f"{table.name}: {found} rows were {what}, but {expected} are {where}"
        )
