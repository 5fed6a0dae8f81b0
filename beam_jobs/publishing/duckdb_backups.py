"""What an approved swap replaced, kept in the schema `backup` of the DuckDB file."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from beam_jobs.publishing.dialects import relation_sql
from beam_jobs.publishing.duckdb_session import Session
from beam_jobs.publishing.duckdb_tables import column_list
from beam_jobs.publishing.publication import Staged, backup_name, require_backup
from tfrecords_schema.tables import PublishedTable, quoted

_BACKUP = "backup"


def back_up(session: Session, staged: Sequence[Staged]) -> None:
    """Keep the rows that staged ones are about to replace."""
    drop_all(session)
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {_BACKUP}")
    for item in staged:
        backup = _relation(backup_name(item.table, item.run_date))
        session.execute(
            f"CREATE TABLE {backup} AS SELECT * FROM {quoted(item.table.name)} "
            f"WHERE {quoted(item.table.partition_by)} = $run_date",
            {"run_date": item.run_date},
        )


def restore(
    session: Session, run_date: datetime.date, tables: Sequence[PublishedTable]
) -> dict[str, int]:
    """Put back what was kept of a date, and drop it; rows put back, by table.

    Raises:
        InputError: no backup of that date is kept.
    """
    found = find(session, run_date, tables)
    rows = {table.name: _restore(session, table, run_date) for table in found}
    drop_all(session)
    return rows


def _restore(session: Session, table: PublishedTable, run_date: datetime.date) -> int:
    columns, target = column_list(table), quoted(table.name)
    backup = _relation(backup_name(table, run_date))
    session.execute(
        f"DELETE FROM {target} WHERE {quoted(table.partition_by)} = $run_date",
        {"run_date": run_date},
    )
    session.execute(f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {backup}")
    return session.scalar(f"SELECT COUNT(*) FROM {backup}")


def find(
    session: Session, run_date: datetime.date, tables: Sequence[PublishedTable]
) -> list[PublishedTable]:
    """The tables of which rows of a date are kept.

    Raises:
        InputError: there is none.
    """
    kept = session.tables_in(_BACKUP)
    return [table for table, _ in require_backup(run_date, tables, kept)]


def drop_all(session: Session) -> list[str]:
    """Drop what is kept; the names of the tables."""
    kept = session.tables_in(_BACKUP)
    for name in kept:
        session.execute(f"DROP TABLE {_relation(name)}")
    return kept


def _relation(name: str) -> str:
    return relation_sql(f"{_BACKUP}.{name}")
