"""Staging tables of the local warehouse, and the checks over them.

They are DuckDB's temporary ones: they spill to disk as others do, but end with the
connection, so that neither a failed check nor a killed process can leave one behind in
the file that analysts open. Those that wait for an approval are in the schema
`staging`.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection

import duckdb

from beam_jobs.publishing.dialects import relation_sql, to_duckdb
from beam_jobs.publishing.duckdb_session import Session
from beam_jobs.publishing.duckdb_tables import STAGING, column_list
from beam_jobs.publishing.publication import (
    Checked,
    CheckResult,
    Load,
    Staged,
    require_columns,
    require_rows,
    staging_name,
)
from tfrecords_schema.errors import InputError
from tfrecords_schema.tables import Check

_EXAMPLES = 3


def stage(
    session: Session, load: Load, *, run_date: datetime.date, keep: bool
) -> Staged:
    """Copy a load's rows, and what its checks look at, into staging tables.

    Raises:
        InputError: the columns differ from the definition's, or a required one holds a
            null.
    """
    table = load.table
    name = staging_name(table, run_date)
    kind = "TEMP TABLE"
    if keep:
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {STAGING}")
        name, kind = f"{STAGING}.{name}", "TABLE"
    rows = _stage_rows(session, load, f"{kind} {relation_sql(name)}", name=name)
    relations = {"table": name}
    for relation in sorted(table.relations):
        relations[relation] = f"{name}_{relation}"
        target = relation_sql(relations[relation])
        with session.registered(load.relations[relation]) as source:
            session.execute(
                f"CREATE OR REPLACE {kind} {target} AS SELECT * FROM {source}"
            )
    parameters = {**load.parameters, "run_date": run_date}
    return Staged(table, rows, run_date, relations, parameters)


def _stage_rows(session: Session, load: Load, create: str, *, name: str) -> int:
    table, columns = load.table, column_list(load.table)
    require_columns(table.arrow_schema, load.rows.schema, where=table.name)
    session.execute(f"CREATE OR REPLACE {create} ({table.duckdb_columns})")
    with session.registered(load.rows) as source:
        try:
            session.execute(
                f"INSERT INTO {relation_sql(name)} ({columns}) "
                f"SELECT {columns} FROM {source}"
            )
        except duckdb.ConstraintException as error:
            raise InputError(f"{table.name} cannot be staged: {error}") from None
    rows = session.scalar(f"SELECT COUNT(*) FROM {relation_sql(name)}")
    require_rows(table, rows, load.rows.count_rows(), "staged", "in the source")
    return rows


def run_check(session: Session, check: Check, staged: Staged) -> CheckResult:
    """Run one check over its staged rows."""
    query = to_duckdb(check.render(staged.relations))
    values = staged.values_of(check)
    failures = session.scalar(f"SELECT COUNT(*) FROM (\n{query}\n)", values)
    examples = (
        session.rows(
            f"SELECT * FROM (\n{query}\n) ORDER BY ALL LIMIT {_EXAMPLES}", values
        )
        if failures
        else []
    )
    return CheckResult.of(check, staged, failures, examples)


def run_checks(session: Session, staged: Staged) -> Checked:
    """Run every check of the table over its staged rows."""
    checks = staged.table.checks
    return Checked(staged, tuple(run_check(session, check, staged) for check in checks))


def missing(session: Session, relations: Collection[str]) -> list[str]:
    """Those of the kept staging tables that are not there."""
    kept = {f"{STAGING}.{name}" for name in session.tables_in(STAGING)}
    return sorted(set(relations) - kept)


def discard(session: Session, staged: Collection[Staged]) -> None:
    """Drop staging tables that were kept."""
    with session.transaction():
        for item in staged:
            for relation in item.relations.values():
                session.execute(f"DROP TABLE IF EXISTS {relation_sql(relation)}")
