"""The published tables as folders of data in `infra/warehouse`, read and validated.

A folder `<name>_v<version>` holds `schema.yaml` (columns), `metadata.yaml` (who, what,
how it is partitioned) and `checks.sql` (what must hold before rows are published).
Whatever is wrong in one is a `ValueError` that names the file: a definition is part of
the code, so nobody but its author ever sees it.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Any

import jinja2
import jinja2.meta

from tfrecords_schema.definition_files import (
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
    JINJA,
    Check,
    Column,
    ColumnType,
    Mode,
    PublishedTable,
    Severity,
)

_FOLDER = re.compile(r"(?P<name>[a-z][a-z0-9_]*)_v(?P<version>[1-9][0-9]*)")
_CHECK_HEADER = re.compile(
    r"-- #(?P<severity>\w+) (?P<name>[a-z][a-z0-9_]*): (?P<description>.+)"
)
_STATEMENT_END = re.compile(r";[ \t]*$", re.MULTILINE)
_PARAMETER = re.compile(r"@([a-z][a-z0-9_]*)")
_MAX_CLUSTERING_COLUMNS = 4  # BigQuery's limit

_COLUMN_KEYS = frozenset({"name", "type", "mode", "description"})
_METADATA_TEXTS = ("friendly_name", "description", "owner", "partition_by")
_METADATA_KEYS = frozenset(
    {
        *_METADATA_TEXTS,
        *("cluster_by", "key", "labels"),
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
        if hidden or folder.name == VIEWS or not folder.is_dir():
            continue
        table = load_table(folder)
        if table.name in tables:
            raise ValueError(f"{folder}: table {table.name} is defined twice")
        tables[table.name] = table
    return tables


def load_table(folder: Traversable) -> PublishedTable:
    """The table that one folder defines.

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
        checks=_read_checks(folder / "checks.sql"),
        **metadata,
    )


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


def _read_checks(file: Traversable) -> tuple[Check, ...]:
    checks = tuple(
        _check(statement, where=f"{file}")
        for statement in _STATEMENT_END.split(read_text(file))
        if statement.strip()
    )
    if not checks:
        raise ValueError(f"{file} has no checks")
    refuse_repeats([check.name for check in checks], where=f"{file}: check")
    return checks


def _check(statement: str, *, where: str) -> Check:
    lines = statement.strip().splitlines()
    headers = list(_headers(lines))
    if len(headers) != 1:
        raise ValueError(
            f"{where}: {lines[0]!r} opens a query with {len(headers)} headers; write "
            "one '-- #fail <name>: <rule>' or '-- #warn <name>: <rule>' above the "
            "query, and ';' at its end"
        )
    at, header = headers[0]
    where = f"{where}: check {header['name']}"
    sql = "\n".join(lines[at + 1 :])
    return Check(
        name=header["name"],
        severity=member(Severity, header["severity"], where=f"{where}: severity"),
        description=header["description"],
        sql=sql,
        relations=_relations(sql, where=where),
        parameters=frozenset(_PARAMETER.findall(sql)),
    )


def _headers(lines: Sequence[str]) -> Iterator[tuple[int, re.Match[str]]]:
    for at, line in enumerate(lines):
        if header := _CHECK_HEADER.fullmatch(line.strip()):
            yield at, header


def _relations(sql: str, *, where: str) -> frozenset[str]:
    try:
        wanted = jinja2.meta.find_undeclared_variables(JINJA.parse(sql))
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"{where}: {error}") from None
    if "table" not in wanted:
        raise ValueError(f"{where}: does not look at {{{{ table }}}}")
    return frozenset(identifier(name, where=where) for name in wanted)
