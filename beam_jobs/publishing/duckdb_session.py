"""A connection to the local warehouse's file: statements, transactions, names."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import duckdb
import pyarrow.dataset as ds
from etils import epath

from beam_jobs.publishing.publication import json_value
from tfrecords_schema.errors import InputError
from tfrecords_schema.tables import quoted

PATIENCE_S = 60.0
"""How long a file that another process has open is waited for."""

_POLL_S = 0.2
_SOURCE = "arrow_source"
_NO_DATABASE = (
    "the warehouse {} is no DuckDB file; give --warehouse one, or a path where nothing "
    "is yet"
)


class Session:
    """An open DuckDB file.

    Attributes:
        connection: to it.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> None:
        """Run a statement for what it does."""
        self.connection.execute(sql, dict(values or {}))

    def scalar(self, query: str, values: Mapping[str, Any] | None = None) -> int:
        """The one number that a query gives."""
        return self.connection.execute(query, dict(values or {})).fetchall()[0][0]

    def rows(self, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query, as JSON values."""
        cursor = self.connection.execute(query, dict(values))
        names = [column[0] for column in cursor.description]
        return [
            dict(zip(names, map(json_value, row), strict=True))
            for row in cursor.fetchall()
        ]

    def tables_in(self, schema: str) -> list[str]:
        """Names of the tables of a schema, ascending."""
        rows = self.connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = $schema "
            "AND database_name = current_database() ORDER BY table_name",
            {"schema": schema},
        )
        return [name for (name,) in rows.fetchall()]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements of the context, or, where it ends in an error, none."""
        self.connection.begin()
        try:
            yield
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()

    @contextlib.contextmanager
    def registered(self, rows: ds.Dataset) -> Iterator[str]:
        """A name by which a query can read rows, for as long as the context lasts."""
        self.connection.register(_SOURCE, rows)
        try:
            yield quoted(_SOURCE)
        finally:
            self.connection.unregister(_SOURCE)


@contextlib.contextmanager
def open_session(path: epath.Path) -> Iterator[Session]:
    """Open a file, or make it, for as long as the context lasts.

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
        _require_file(connection, path)
        yield Session(connection)
    finally:
        connection.close()


@contextlib.contextmanager
def read_session(path: epath.Path) -> Iterator[Session]:
    """Open a file for reading only, for as long as the context lasts.

    Raises:
        InputError: it is not there, is open for writing elsewhere, or is no DuckDB
            file.
    """
    if not path.exists():
        raise InputError(
            f"the warehouse {path} does not exist; publish a date there, or change "
            "--warehouse"
        )
    try:
        connection = _patiently(lambda: duckdb.connect(str(path), read_only=True))
    except duckdb.IOException as error:
        raise InputError(
            f"the warehouse {path} cannot be read; close it where it is open and run "
            f"this again ({error})"
        ) from None
    except duckdb.CatalogException:
        raise InputError(_NO_DATABASE.format(path)) from None
    try:
        yield Session(connection)
    finally:
        connection.close()


def _patiently(
    connect: Callable[[], duckdb.DuckDBPyConnection],
) -> duckdb.DuckDBPyConnection:
    """Connect, once no other process has the file open.

    Dates of a backfill are published while others are reported, and each job has the
    file for seconds. A person may have it for hours, which is not waited for.

    Raises:
        duckdb.IOException: it is still open elsewhere after `PATIENCE_S`, or cannot be
            opened for another reason.
    """
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return connect()
        except duckdb.IOException as error:
            if not _is_locked(error) or time.monotonic() > end:
                raise
        time.sleep(_POLL_S)


def _is_locked(error: duckdb.IOException) -> bool:
    return "lock" in str(error)


def _require_file(connection: duckdb.DuckDBPyConnection, path: epath.Path) -> None:
    """Refuse a database in memory, whose rows end with the process.

    DuckDB makes one of a file that it can read as a table, such as CSV or Parquet;
    for reading only it raises a `CatalogException` instead.
    """
    rows = connection.execute(
        "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    )
    if rows.fetchall() == [(None,)]:
        raise InputError(_NO_DATABASE.format(path))


def _connect(path: epath.Path) -> duckdb.DuckDBPyConnection:
    try:
        return _patiently(lambda: duckdb.connect(str(path)))
    except duckdb.IOException as error:
        if _is_locked(error):
            raise InputError(
                f"the warehouse {path} is open in another process; close it there and "
                f"run this date again ({error})"
            ) from None
        raise InputError(f"the warehouse {path} cannot be opened: {error}") from None
