"""The published tables as folders of data in `infra/warehouse`, read and validated.

A folder `<name>_v<version>` holds `schema.yaml` (columns), `metadata.yaml` (who, what,
how it is partitioned) and `checks.sql` (what must hold before rows are published).
What many tables must hold is in `shared/checks.sql`; `metadata.yaml` names it.
Whatever is wrong in one is a `ValueError` that names the file: a definition is part of
the code, so nobody but its author ever sees it.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Any

from tfrecords_schema.check_files import read_checks, shared_checks
from tfrecords_schema.definition_files import (
    SHARED,
    VIEWS,
    identifier,
    mapping,
    member,
    names,
    read_text,
    read_yaml,
    refuse_repeats,
    text,
    validate_labels,
)
from tfrecords_schema.tables import (
    Check,
    Column,
    ColumnType,
    Mode,
    PublishedTable,
)

_FOLDER = re.compile(r"(?P<name>[a-z][a-z0-9_]*)_v(?P<version>[1-9][0-9]*)")
_MAX_CLUSTERING_COLUMNS = 4  # BigQuery's limit

_COLUMN_KEYS = frozenset({"name", "type", "mode", "description"})
_METADATA_TEXTS = ("friendly_name", "description", "owner", "partition_by")
_METADATA_KEYS = frozenset(
    {
        *_METADATA_TEXTS,
        *("cluster_by", "key", "shared_checks", "labels"),
        *("partition_expiration_days", "require_partition_filter"),
    }
)


@functools.cache
def published_tables() -> Mapping[str, PublishedTable]:
    """Every published table by its public name, read once."""
    return load_tables(importlib.resources.files("infra") / "warehouse")


def load_tables(warehouse: Traversable) -> Mapping[str, PublishedTable]:
    """The tables defined by the folders of `warehouse`, in the order of their names.

    Raises:
        ValueError: a definition is wrong; the message names the file.
    """
    tables: dict[str, PublishedTable] = {}
    for folder in sorted(warehouse.iterdir(), key=lambda entry: entry.name):
        hidden = folder.name.startswith((".", "_"))
        if hidden or folder.name in (SHARED, VIEWS) or not folder.is_dir():
            continue
        table = load_table(folder, warehouse / SHARED / "checks.sql")
        if table.name in tables:
            raise ValueError(f"{folder}: table {table.name} is defined twice")
        tables[table.name] = table
    return tables


def load_table(folder: Traversable, shared: Traversable) -> PublishedTable:
    """The table that one folder defines.

    Args:
        folder: of the table.
        shared: file of the checks that tables share.

    Raises:
        ValueError: the definition is wrong; the message names the file.
    """
    match = _FOLDER.fullmatch(folder.name)
    if match is None:
        raise ValueError(f"{folder}: a table's folder is named <name>_v<version>")
    columns = _read_columns(folder / "schema.yaml")
    metadata = _read_metadata(folder / "metadata.yaml", columns)
    return PublishedTable(
        name=match["name"],
        version=int(match["version"]),
        columns=columns,
        checks=_checks_of(folder, columns, metadata, shared),
        **metadata,
    )


def _checks_of(
    folder: Traversable,
    columns: Sequence[Column],
    metadata: dict[str, Any],
    shared: Traversable,
) -> tuple[Check, ...]:
    """The shared checks that the metadata name, then the table's own."""
    wanted = metadata.pop("shared_checks")
    where = f"{folder / 'metadata.yaml'}: shared_checks"
    text = read_text(shared) if wanted else ""
    checks = (
        *shared_checks(text, wanted, columns, metadata, where=where),
        *read_checks(folder / "checks.sql", optional=bool(wanted)),
    )
    refuse_repeats([check.name for check in checks], where=f"{folder}: check")
    return checks


def _read_columns(file: Traversable) -> tuple[Column, ...]:
    rows = read_yaml(file, {"columns"})["columns"]
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{file}: columns is {rows!r}; expected a list")
    columns = tuple(
        _column(row, where=f"{file}: column {number}")
        for number, row in enumerate(rows, start=1)
    )
    refuse_repeats([column.name for column in columns], where=f"{file}: column")
    return columns


def _column(row: object, *, where: str) -> Column:
    fields = mapping(row, _COLUMN_KEYS, where=where)
    where = f"{where} ({fields['name']})"
    return Column(
        name=identifier(fields["name"], where=where),
        type=member(ColumnType, fields["type"], where=f"{where}: type"),
        mode=member(Mode, fields["mode"], where=f"{where}: mode"),
        description=text(fields["description"], where=f"{where}: description"),
    )


def _read_metadata(file: Traversable, columns: Sequence[Column]) -> dict[str, Any]:
    metadata = read_yaml(file, _METADATA_KEYS)
    for key in _METADATA_TEXTS:
        text(metadata[key], where=f"{file}: {key}")
    types = {column.name: column.type for column in columns}
    if types.get(metadata["partition_by"]) is not ColumnType.DATE:
        raise ValueError(
            f"{file}: partition_by is {metadata['partition_by']!r}; "
            "expected a DATE column"
        )
    for key in ("cluster_by", "key"):
        metadata[key] = names(metadata[key], types, where=f"{file}: {key}")
    if len(metadata["cluster_by"]) > _MAX_CLUSTERING_COLUMNS:
        raise ValueError(
            f"{file}: cluster_by has more than {_MAX_CLUSTERING_COLUMNS} columns"
        )
    validate_labels(metadata["labels"], where=f"{file}: labels")
    _validate_partitions(metadata, where=f"{file}")
    return metadata


def _validate_partitions(metadata: Mapping[str, Any], *, where: str) -> None:
    days = metadata["partition_expiration_days"]
    if type(days) is not int or days < 1:
        raise ValueError(
            f"{where}: partition_expiration_days is {days!r}; expected days, 1 or more"
        )
    required = metadata["require_partition_filter"]
    if not isinstance(required, bool):
        raise ValueError(
            f"{where}: require_partition_filter is {required!r}; expected true or false"
        )
