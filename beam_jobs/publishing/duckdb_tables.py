"""Published tables and views in a DuckDB file, as their definitions want them."""

from __future__ import annotations

import datetime

from beam_jobs.publishing.dialects import to_duckdb
from beam_jobs.publishing.duckdb_session import Session
from beam_jobs.publishing.publication import require_definition
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import PublishedTable, quoted
from tfrecords_schema.view_folders import PublishedDates, PublishedView, published_views


def ensure_table(session: Session, table: PublishedTable) -> None:
    """Have a table there, if need be empty.

    Raises:
        InputError: it has other columns than its definition.
    """
    found = _published_columns(session, table)
    if not found:
        session.execute(f"CREATE TABLE {quoted(table.name)} ({table.duckdb_columns})")
        _describe_relation(session, "TABLE", table.name, text=table.description)
        for column in table.columns:
            _describe_column(session, table.name, column.name, text=column.description)
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


def has_table(session: Session, table: PublishedTable) -> bool:
    """Whether a table is there."""
    return bool(_published_columns(session, table))


def column_list(table: PublishedTable) -> str:
    """A table's columns for a statement, in order."""
    return ", ".join(map(quoted, table.column_names))


def replace_views(session: Session) -> None:
    """Make the views anew for the dates that are published now."""
    there = [
        name
        for name, table in published_tables().items()
        if _published_columns(session, table)
    ]
    dates = {name: _dates(session, name) for name in there}
    every = [date for found in dates.values() for date in found]
    published = PublishedDates.of(dates.get("rankings", []), every)
    for view in published_views().values():
        if view.relations <= dates.keys():
            _replace_view(session, view, published)


def _replace_view(session: Session, view: PublishedView, dates: PublishedDates) -> None:
    query = to_duckdb(view.render({name: name for name in view.relations}, dates))
    session.execute(f"CREATE OR REPLACE VIEW {quoted(view.name)} AS {query}")
    _describe_relation(session, "VIEW", view.name, text=view.description)
    for name, description in view.columns:
        _describe_column(session, view.name, name, text=description)


def _dates(session: Session, table: str) -> list[datetime.date]:
    rows = session.connection.execute(f"SELECT DISTINCT run_date FROM {quoted(table)}")
    return [date for (date,) in rows.fetchall()]


def _describe_relation(session: Session, kind: str, name: str, *, text: str) -> None:
    session.execute(f"COMMENT ON {kind} {quoted(name)} IS {_literal(text)}")


def _describe_column(session: Session, name: str, column: str, *, text: str) -> None:
    session.execute(
        f"COMMENT ON COLUMN {quoted(name)}.{quoted(column)} IS {_literal(text)}"
    )


def _literal(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _published_columns(
    session: Session, table: PublishedTable
) -> dict[str, tuple[str, bool]]:
    rows = session.connection.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = 'main' "
        "AND table_name = $name ORDER BY column_index",
        {"name": table.name},
    ).fetchall()
    return {name: (kind, nullable) for name, kind, nullable in rows}


def _described(kind: str, nullable: bool) -> str:
    return kind if nullable else f"{kind} NOT NULL"
