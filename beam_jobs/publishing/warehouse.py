"""The local warehouse, one DuckDB file: staging, checks, one publishing transaction.

A run stages all its tables, checks them, and then replaces its date in all of them at
once. What the tables are and what is checked is data (`tfrecords_schema.tables`); where
the rows come from is the job's business (`beam_jobs.publish`).
"""

from __future__ import annotations

import contextlib
import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow.dataset as ds
from etils import epath

from beam_jobs.publishing.publication import (
    Checked,
    CheckResult,
    Load,
    Staged,
    require_columns,
    require_passed,
)
from tfrecords_schema.errors import InputError
from tfrecords_schema.tables import Check, PublishedTable, quoted

_EXAMPLES = 3
_SOURCE = "arrow_source"


class Warehouse:
    """An open DuckDB file, held exclusively until closed.

    Staging tables are DuckDB's temporary ones: they spill to disk as others do, but
    end with the connection, so that neither a failed check nor a killed process can
    leave one behind in the file that analysts open.
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

    def stage(self, load: Load, *, run_date: datetime.date) -> Staged:
        """Copy a load's rows, and what its checks look at, into staging tables.

        Raises:
            InputError: the columns differ from the definition's, or a required one
                holds a null.
        """
        table = load.table
        name = f"staging_{table.name}_{run_date:%Y%m%d}"
        rows = self._stage_rows(load, quoted(name))
        relations = {"table": quoted(name)}
        for relation in sorted(table.relations):
            relations[relation] = quoted(f"{name}_{relation}")
            with self._registered(load.relations[relation]) as source:
                self._connection.execute(
                    f"CREATE OR REPLACE TEMP TABLE {relations[relation]} AS "
                    f"SELECT * FROM {source}"
                )
        parameters = {**load.parameters, "run_date": run_date}
        return Staged(table, rows, run_date, relations, parameters)

    def _stage_rows(self, load: Load, staging: str) -> int:
        table, columns = load.table, _column_list(load.table)
        require_columns(table.arrow_schema, load.rows.schema, where=table.name)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {staging} ({table.duckdb_columns})"
        )
        with self._registered(load.rows) as source:
            try:
                self._connection.execute(
                    f"INSERT INTO {staging} ({columns}) SELECT {columns} FROM {source}"
                )
            except duckdb.ConstraintException as error:
                raise InputError(f"{table.name} cannot be staged: {error}") from None
        rows = self._scalar(f"SELECT COUNT(*) FROM {staging}")
        _require_equal(table, rows, load.rows.count_rows(), "staged", "in the source")
        return rows

    def run_checks(self, staged: Staged) -> Checked:
        """Run every check of the table over its staged rows."""
        results = tuple(self._run(check, staged) for check in staged.table.checks)
        return Checked(staged, results)

    def _run(self, check: Check, staged: Staged) -> CheckResult:
        query = check.render(staged.relations)
        # DuckDB refuses parameters that a query does not use.
        values = {name: staged.parameters[name] for name in check.parameters}
        failures = self._scalar(f"SELECT COUNT(*) FROM (\n{query}\n)", values)
        examples = (
            self._rows(
                f"SELECT * FROM (\n{query}\n) ORDER BY ALL LIMIT {_EXAMPLES}", values
            )
            if failures
            else []
        )
        return CheckResult(
            table=staged.table.name,
            name=check.name,
            severity=check.severity,
            description=check.description,
            failures=failures,
            examples=tuple(examples),
        )

    def publish(
        self, checked: Sequence[Checked], *, tables: Sequence[PublishedTable] = ()
    ) -> dict[str, int]:
        """Replace the run's date in all its tables, or in none.

        Args:
            checked: the run's tables.
            tables: others that must exist, if need be empty.

        Returns:
            Rows published, by table.

        Raises:
            InputError: a check has failed, or a published table has other columns
                than its definition.
        """
        require_passed(checked)
        with self._transaction():
            for table in (*tables, *(item.staged.table for item in checked)):
                self._ensure_table(table)
            return {
                item.staged.table.name: self._replace_partition(item.staged)
                for item in checked
            }

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
            f"SELECT {columns} FROM {staged.relations['table']} ORDER BY {order}"
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
            return
        expected = {
            column.name: (column.duckdb_type, not column.required)
            for column in table.columns
        }
        for name in (*expected, *found):
            if expected.get(name) != found.get(name):
                raise InputError(
                    f"table {table.name} of the warehouse: column {name} is "
                    f"{_describe(found.get(name))}, its definition (version "
                    f"{table.version}) says {_describe(expected.get(name))}; alter or "
                    "drop the table"
                )

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
            dict(zip(names, map(_json_value, row), strict=True))
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


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, type(None))) else str(value)


def _column_list(table: PublishedTable) -> str:
    return ", ".join(map(quoted, table.column_names))


def _describe(column: tuple[str, bool] | None) -> str:
    if column is None:
        return "absent"
    return column[0] if column[1] else f"{column[0]} NOT NULL"


def _require_equal(
    table: PublishedTable, found: int, expected: int, what: str, where: str
) -> None:
    if found != expected:
        raise RuntimeError(
            f"{table.name}: {found} rows were {what}, but {expected} are {where}"
        )
