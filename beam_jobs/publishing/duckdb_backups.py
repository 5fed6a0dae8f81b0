"""What approved swaps replaced, kept by date in the schema `backup` of the DuckDB file.

Beside the rows lies what the swap put in their place, so that a later roll-back can
tell whether the date was published again since.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from beam_jobs.publishing.dialects import relation_sql, to_duckdb
from beam_jobs.publishing.duckdb_session import Session
from beam_jobs.publishing.duckdb_tables import BACKUP, column_list
from beam_jobs.publishing.partition_state import (
    PartitionState,
    require_newest,
    state_query,
    why_changed,
)
from beam_jobs.publishing.publication import (
    backup_name,
    record_name,
    require_backup,
    tables_of_date,
)
from tfrecords_schema.errors import InputError
from tfrecords_schema.tables import PublishedTable, quoted


def state_of(
    session: Session, table: PublishedTable, run_date: datetime.date, *, relation: str
) -> PartitionState:
    """What a table in a definition's columns holds of a date."""
    (found,) = session.rows(to_duckdb(state_query(table, relation, run_date)), {})
    return PartitionState.of(found)


def require_state(
    session: Session,
    table: PublishedTable,
    run_date: datetime.date,
    *,
    expected: PartitionState,
) -> None:
    """Refuse to replace other rows than those that a person saw.

    Raises:
        InputError: something else is published by now.
    """
    if state_of(session, table, run_date, relation=table.name) != expected:
        raise InputError(why_changed(table, run_date, expected))


def back_up(
    session: Session, tables: Sequence[PublishedTable], run_date: datetime.date
) -> None:
    """Keep what is published of a date, in place of what was kept of it before."""
    drop(session, run_date)
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {BACKUP}")
    for table in tables:
        session.execute(
            f"CREATE TABLE {_relation(backup_name(table, run_date))} AS "
            f"SELECT * FROM {quoted(table.name)} "
            f"WHERE {quoted(table.partition_by)} = $run_date",
            {"run_date": run_date},
        )


def record(
    session: Session, tables: Sequence[PublishedTable], run_date: datetime.date
) -> None:
    """Write down what a swap has put in."""
    name = _relation(record_name(run_date))
    session.execute(
        f"CREATE TABLE {name} "
        "(table_name VARCHAR, rows BIGINT, runs VARCHAR, checksum VARCHAR)"
    )
    for table in tables:
        state = state_of(session, table, run_date, relation=table.name)
        session.execute(
            f"INSERT INTO {name} VALUES ($table, $rows, $runs, $checksum)",
            {
                "table": table.name,
                "rows": state.rows,
                "runs": state.runs,
                "checksum": state.checksum,
            },
        )


def _recorded(session: Session, run_date: datetime.date) -> dict[str, PartitionState]:
    if record_name(run_date) not in session.tables_in(BACKUP):
        return {}
    rows = session.rows(f"SELECT * FROM {_relation(record_name(run_date))}", {})
    return {row["table_name"]: PartitionState.of(row) for row in rows}


def restore(
    session: Session,
    run_date: datetime.date,
    tables: Sequence[PublishedTable],
    *,
    discard_newer: bool,
) -> dict[str, int]:
    """Put back what was kept of a date, and drop it; rows put back, by table.

    Raises:
        InputError: no backup of that date is kept, or the date was published again.
    """
    found = find(session, run_date, tables)
    kept = {
        table.name: state_of(
            session,
            table,
            run_date,
            relation=f"{BACKUP}.{backup_name(table, run_date)}",
        )
        for table in found
    }
    if not discard_newer:
        published = {
            table.name: state_of(session, table, run_date, relation=table.name)
            for table in found
        }
        swapped_in = _recorded(session, run_date)
        require_newest(run_date, published, swapped_in=swapped_in, kept=kept)
    for table in found:
        _restore(session, table, run_date)
    drop(session, run_date)
    return {name: state.rows for name, state in kept.items()}


def _restore(session: Session, table: PublishedTable, run_date: datetime.date) -> None:
    columns, target = column_list(table), quoted(table.name)
    session.execute(
        f"DELETE FROM {target} WHERE {quoted(table.partition_by)} = $run_date",
        {"run_date": run_date},
    )
    session.execute(
        f"INSERT INTO {target} ({columns}) SELECT {columns} FROM "
        f"{_relation(backup_name(table, run_date))}"
    )


def find(
    session: Session, run_date: datetime.date, tables: Sequence[PublishedTable]
) -> list[PublishedTable]:
    """The tables of which rows of a date are kept.

    Raises:
        InputError: there is none.
    """
    return require_backup(run_date, tables, session.tables_in(BACKUP))


def drop(session: Session, run_date: datetime.date) -> list[str]:
    """Drop what is kept of a date; the names of the tables."""
    kept = tables_of_date(run_date, session.tables_in(BACKUP))
    for name in kept:
        session.execute(f"DROP TABLE {_relation(name)}")
    return kept


def _relation(name: str) -> str:
    return relation_sql(f"{BACKUP}.{name}")
