"""What a published table is: its columns, its checks and its form in each engine.

The tables themselves are data, see `tfrecords_schema.table_folders`; running their
checks is the warehouse's business. The Parquet tables that stay between jobs are in
`tfrecords_schema.dataset_tables`.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping, Sequence

import jinja2
import pyarrow as pa

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
JINJA = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
"""Renders identifiers into SQL, so nothing is escaped; a missing one is an error."""


class ColumnType(enum.StrEnum):
    """Column types, in BigQuery's terms."""

    STRING = "STRING"
    INT64 = "INT64"
    FLOAT64 = "FLOAT64"
    DATE = "DATE"
    BOOL = "BOOL"


_DUCKDB_TYPES = {
    ColumnType.STRING: "VARCHAR",
    ColumnType.INT64: "BIGINT",
    ColumnType.FLOAT64: "DOUBLE",
    ColumnType.DATE: "DATE",
    ColumnType.BOOL: "BOOLEAN",
}
_ARROW_TYPES = {
    ColumnType.STRING: pa.string(),
    ColumnType.INT64: pa.int64(),
    ColumnType.FLOAT64: pa.float64(),
    ColumnType.DATE: pa.date32(),
    ColumnType.BOOL: pa.bool_(),
}


class Mode(enum.StrEnum):
    """How many values a row may have in a column."""

    REQUIRED = "REQUIRED"  # one
    NULLABLE = "NULLABLE"  # one or none
    REPEATED = "REPEATED"  # a list, which may be empty but is never null


class Severity(enum.StrEnum):
    """What a check with offending rows does to the run."""

    FAIL = "fail"  # nothing is published
    WARN = "warn"  # published, and said in the run's report


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column of a published table."""

    name: str
    type: ColumnType
    mode: Mode
    description: str

    @property
    def duckdb_type(self) -> str:
        """The column's type in DuckDB."""
        return _DUCKDB_TYPES[self.type] + ("[]" if self.repeated else "")

    @property
    def arrow_type(self) -> pa.DataType:
        """The column's type in Parquet files."""
        kind = _ARROW_TYPES[self.type]
        return pa.list_(kind) if self.repeated else kind

    @property
    def repeated(self) -> bool:
        """Whether a row has a list of values."""
        return self.mode is Mode.REPEATED

    @property
    def required(self) -> bool:
        """Whether null is refused."""
        return self.mode is not Mode.NULLABLE


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """A query that selects the rows which break a rule.

    Attributes:
        name: unique within the table.
        severity: what offending rows do.
        description: the rule, in words.
        sql: template in BigQuery's dialect; `{{ table }}` is the staged table, other
            names are relations.
        relations: the names that the template wants, `table` among them.
        parameters: the `@name` parameters of the query.
    """

    name: str
    severity: Severity
    description: str
    sql: str
    relations: frozenset[str]
    parameters: frozenset[str]

    def render(self, relations: Mapping[str, str]) -> str:
        """The query over the given relations, each the name of a table."""
        return render_sql(self.sql, relations)


@dataclasses.dataclass(frozen=True, slots=True)
class PublishedTable:
    """A published table: what its folder says.

    Attributes:
        name: public name, without the version.
        version: of the definition.
        friendly_name: title for people.
        description: what one row is, and what the table is for.
        owner: who answers for it.
        partition_by: the date column that a run replaces as a whole.
        cluster_by: columns that neighbouring rows share.
        key: columns that identify a row.
        labels: for cost and search in BigQuery.
        partition_expiration_days: after which BigQuery drops a date.
        require_partition_filter: whether BigQuery refuses queries over all dates.
        columns: in order.
        checks: in order.
    """

    name: str
    version: int
    friendly_name: str
    description: str
    owner: str
    partition_by: str
    cluster_by: tuple[str, ...]
    key: tuple[str, ...]
    labels: Mapping[str, str]
    partition_expiration_days: int
    require_partition_filter: bool
    columns: tuple[Column, ...]
    checks: tuple[Check, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def relations(self) -> frozenset[str]:
        """What the checks want beside the staged rows."""
        wanted: frozenset[str] = frozenset()
        return wanted.union(*(check.relations for check in self.checks)) - {"table"}

    @property
    def arrow_schema(self) -> pa.Schema:
        """The schema of Parquet files that hold the table's rows."""
        return pa.schema(
            [
                pa.field(column.name, column.arrow_type, nullable=not column.required)
                for column in self.columns
            ]
        )

    def columns_after(self, found: Sequence[str]) -> tuple[Column, ...]:
        """The columns that a table of an earlier definition lacks and can be given.

        Those are new ones at the end, null in the rows that are there. Nothing, where
        the table differs in another way.

        Args:
            found: names of the table's columns, in order.
        """
        n_found = len(found)
        added = self.columns[n_found:]
        is_earlier = tuple(found) == self.column_names[:n_found]
        fits = all(column.mode is Mode.NULLABLE for column in added)
        return added if is_earlier and fits else ()

    @property
    def duckdb_columns(self) -> str:
        """The column list of the table's `CREATE TABLE` in DuckDB.

        No primary key: BigQuery enforces none, so a check holds the key in both.
        """
        return ", ".join(
            f"{quoted(column.name)} {column.duckdb_type}"
            + (" NOT NULL" if column.required else "")
            for column in self.columns
        )


def render_sql(template: str, relations: Mapping[str, str]) -> str:
    """A query of BigQuery's dialect over tables, whose names may have dots."""
    names = {name: f"`{relation}`" for name, relation in relations.items()}
    return JINJA.from_string(template).render(names)


def quoted(identifier: str) -> str:
    """A validated identifier in SQL, whatever words the dialect reserves.

    Raises:
        ValueError: it is not lower-case letters, digits and underscores.
    """
    if not _IDENTIFIER.fullmatch(identifier):
        raise ValueError(f"{identifier!r} is not an identifier of this warehouse")
    return f'"{identifier}"'
