"""Staging tables in BigQuery, which expire by themselves, and the checks over them."""

from __future__ import annotations

import datetime
from typing import Any

from beam_jobs.publishing.bigquery_datasets import Datasets
from beam_jobs.publishing.bigquery_statements import count_failures
from beam_jobs.publishing.bigquery_tables import fields_of, schema_of
from beam_jobs.publishing.parquet_sources import load_source
from beam_jobs.publishing.publication import (
    Checked,
    CheckResult,
    Load,
    Staged,
    require_columns,
    staging_name,
)
from tfrecords_schema.tables import Check

_EXAMPLES = 3
_DIGEST_DIGITS = 16


def stage(datasets: Datasets, load: Load, *, run_date: datetime.date) -> Staged:
    """Load a table's rows, and what its checks look at, into staging tables.

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
        staged = _staging_table(datasets, name, source.digest)
        datasets.jobs.load(
            source, staged, job_id=_job_id(staged), schema=schema_of(table)
        )
        rows = source.rows
    relations = {"table": staged}
    for relation in sorted(table.relations):
        rows_of = load.relations[relation]
        with load_source(rows_of, (), name=relation) as source:
            target = _staging_table(datasets, f"{name}_{relation}", source.digest)
            schema = fields_of(rows_of.schema)
            datasets.jobs.load(source, target, job_id=_job_id(target), schema=schema)
        relations[relation] = target
    parameters = {**load.parameters, "run_date": run_date}
    return Staged(table, rows, run_date, relations, parameters)


def _staging_table(datasets: Datasets, name: str, digest: str) -> str:
    """By content, so that runs with other content never share one."""
    return f"{datasets.address.staging}.{name}_{digest[:_DIGEST_DIGITS]}"


def _job_id(staging: str) -> str:
    """Of the run, the table and the content, all of which the staging table names."""
    # Ids are a project's, so the data set is part of it.
    return "ctl-load-" + "-".join(staging.split(".")[-2:])


def run_checks(datasets: Datasets, staged: Staged) -> Checked:
    """Run every check of the table over its staged rows, in one query."""
    checks = staged.table.checks
    query = count_failures(checks, staged.relations)
    failures = {
        row["name"]: row["failures"]
        for row in datasets.jobs.json_rows(query, staged.values_of(*checks))
    }
    return Checked(
        staged,
        tuple(
            _result(datasets, check, staged, failures[check.name]) for check in checks
        ),
    )


def _result(
    datasets: Datasets, check: Check, staged: Staged, failures: int
) -> CheckResult:
    examples: list[dict[str, Any]] = []
    if failures:
        examples = datasets.jobs.json_rows(
            f"SELECT * FROM (\n{check.render(staged.relations)}\n) AS found "
            f"ORDER BY TO_JSON_STRING(found) LIMIT {_EXAMPLES}",
            staged.values_of(check),
        )
    return CheckResult.of(check, staged, failures, examples)
