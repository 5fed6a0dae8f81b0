"""SQL of the definitions, which is BigQuery's, in the dialect of DuckDB."""

from __future__ import annotations

import functools

import sqlglot


@functools.cache
def to_duckdb(sql: str) -> str:
    """A statement of BigQuery's dialect in DuckDB's; `@name` becomes `$name`."""
    (statement,) = sqlglot.transpile(sql, read="bigquery", write="duckdb")
    return statement


def relation_sql(relation: str) -> str:
    """A table's name as DuckDB takes it; dots part schema and name."""
    return ".".join(f'"{part}"' for part in relation.split("."))
