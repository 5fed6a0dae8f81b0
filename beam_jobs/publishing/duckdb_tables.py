"""Published tables and views in a DuckDB file, as their definitions want them."""

from __future__ import annotations

import datetime
import re

from beam_jobs.publishing.dialects import relation_sql, to_duckdb
from beam_jobs.publishing.duckdb_session import Session
from beam_jobs.publishing.publication import require_definition
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import PublishedTable, quoted
from tfrecords_schema.view_folders import PublishedDates, PublishedView, published_views

STAGING = "staging"
"""Schema of the tables that wait for an approval."""

BACKUP = "backup"
"""Schema of what approved swaps have replaced."""


def ensure_table(session: Session, table: PublishedTable) -> None:
    """Have a table there, if need be empty; one of an earlier definition gets columns.

    Raises:
        InputError: it has other columns than its definition.
    """
    if not _columns_of(session, "main", table.name):
        session.execute(f"CREATE TABLE {quoted(table.name)} ({table.duckdb_columns})")
        _describe_relation(session, "TABLE", table.name, text=table.description)
        for column in table.columns:
            _describe_column(session, table.name, column.name, text=column.description)
        return
    _add_columns(session, table)
    found = _columns_of(session, "main", table.name)
    require_definition(
        table,
        f"table {table.name} of the warehouse",
        expected={
            column.name: _described(column.duckdb_type, not column.required)
            for column in table.columns
        },
        found={name: _described(*column) for name, column in found.items()},
    )


def _add_columns(session: Session, table: PublishedTable) -> None:
    """Give a table, and what is kept of it, the columns of a later definition.

    What is kept waits for an approval, or for a roll-back.
    """
    added = table.columns_after(list(_columns_of(session, "main", table.name)))
    if not added:
        return
    kept = re.compile(rf"(staging|backup)_{table.name}_\d{{8}}")
    places = [("main", table.name)]
    for schema in (STAGING, BACKUP):
        names = filter(kept.fullmatch, session.tables_in(schema))
        places += [(schema, name) for name in names]
    for schema, name in places:
        for column in table.columns_after(list(_columns_of(session, schema, name))):
            session.execute(
                f"ALTER TABLE {relation_sql(f'{schema}.{name}')} "
                f"ADD COLUMN {quoted(column.name)} {column.duckdb_type}"
            )
    for column in added:
        _describe_column(session, table.name, column.name, text=column.description)


def has_table(session: Session, table: PublishedTable) -> bool:
    """Whether a table is there."""
    return bool(_columns_of(session, "main", table.name))


def column_list(table: PublishedTable) -> str:
    """A table's columns for a statement, in order."""
    return ", ".join(map(quoted, table.column_names))


def replace_views(session: Session) -> None:
    """Make the views anew for the dates that are published now."""
    there = [
        name for name, table in published_tables().items() if has_table(session, table)
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


def _columns_of(
    session: Session, schema: str, name: str
) -> dict[str, tuple[str, bool]]:
    rows = session.connection.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = $schema "
        "AND table_name = $name ORDER BY column_index",
        {"schema": schema, "name": name},
    ).fetchall()
    return {name: (kind, nullable) for name, kind, nullable in rows}


def _described(kind: str, nullable: bool) -> str:
    return kind if nullable else f"{kind} NOT NULL"
