"""Published tables in BigQuery's form, and how one differs from its definition."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from google.cloud import bigquery

from beam_jobs.publishing.publication import require_definition
from tfrecords_schema.errors import InputError
from tfrecords_schema.tables import ColumnType, PublishedTable

_DAY_MS = 24 * 60 * 60 * 1000

# The API answers with the names of its older dialect.
_TYPES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
_ARROW_TYPES = {
    pa.string(): ColumnType.STRING,
    pa.int64(): ColumnType.INT64,
    pa.float64(): ColumnType.FLOAT64,
    pa.date32(): ColumnType.DATE,
    pa.bool_(): ColumnType.BOOL,
}
_METADATA = (
    *("description", "friendly_name", "labels", "clustering_fields"),
    *("time_partitioning", "require_partition_filter", "schema"),
)


def schema_of(table: PublishedTable) -> list[bigquery.SchemaField]:
    """The columns with their descriptions."""
    return [
        bigquery.SchemaField(
            column.name,
            column.type.value,
            mode=column.mode.value,
            description=column.description,
        )
        for column in table.columns
    ]


def fields_of(schema: pa.Schema) -> list[bigquery.SchemaField]:
    """The columns of a table that is not published, as a file has them.

    Said rather than left to the load job, which knows no type for a file without rows.
    """
    return [
        bigquery.SchemaField(field.name, _ARROW_TYPES[field.type].value)
        for field in schema
    ]


def table_of(table: PublishedTable, dataset: str) -> bigquery.Table:
    """The table as its definition wants it to be."""
    found = bigquery.Table(f"{dataset}.{table.name}", schema=schema_of(table))
    found.time_partitioning = bigquery.TimePartitioning(
        type_=bigquery.TimePartitioningType.DAY,
        field=table.partition_by,
        expiration_ms=table.partition_expiration_days * _DAY_MS,
    )
    found.require_partition_filter = table.require_partition_filter
    found.clustering_fields = list(table.cluster_by)
    found.friendly_name = table.friendly_name
    found.description = f"{table.description} Owner: {table.owner}."
    found.labels = {**table.labels, "definition_version": str(table.version)}
    return found


def require_same_columns(table: PublishedTable, found: bigquery.Table) -> None:
    """Refuse a published table whose columns are others than the definition's.

    Columns that it lacks and can be given are for the update of its schema.

    Raises:
        InputError: naming the first column that differs, or the partitioning.
    """
    added = table.columns_after([field.name for field in found.schema])
    expected = schema_of(table)[: len(table.columns) - len(added)]
    name = found.full_table_id or found.table_id
    require_definition(
        table,
        f"table {name}",
        expected=_columns(expected),
        found=_columns(found.schema),
    )
    partitioning = found.time_partitioning
    if partitioning is None or partitioning.field != table.partition_by:
        raise InputError(
            f"table {name} is not partitioned by {table.partition_by}; copy it into "
            "one that is, or drop it"
        )


def _columns(schema: Sequence[bigquery.SchemaField]) -> dict[str, str]:
    return {
        field.name: f"{_TYPES.get(field.field_type, field.field_type)} {field.mode}"
        for field in schema
    }


def outdated_metadata(wanted: bigquery.Table, found: bigquery.Table) -> list[str]:
    """The properties, descriptions among them, that the definition has changed."""
    return [name for name in _METADATA if _plain(wanted, name) != _plain(found, name)]


def _plain(table: bigquery.Table, name: str) -> object:
    value = getattr(table, name)
    if name == "schema":
        return [(field.name, field.description) for field in value]
    return value


def adopt_metadata(wanted: bigquery.Table, found: bigquery.Table) -> bigquery.Table:
    """The found table with the definition's properties."""
    for name in _METADATA:
        setattr(found, name, getattr(wanted, name))
    return found
