"""Checks as statements of SQL files: a table's own, and those that tables share.

A statement has one header, `-- #fail <name>: <rule>` or `-- #warn <name>: <rule>`,
above the query, and `;` at its end. Whatever is wrong in one is a `ValueError` that
names the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Any

import jinja2
import jinja2.meta

from tfrecords_schema.definition_files import (
    identifier,
    member,
    read_text,
    refuse_repeats,
)
from tfrecords_schema.tables import JINJA, Check, Column, ColumnType, Severity

_HEADER = re.compile(
    r"-- #(?P<severity>\w+) (?P<name>[a-z][a-z0-9_]*): (?P<description>.+)"
)
_STATEMENT_END = re.compile(r";[ \t]*$", re.MULTILINE)
_PARAMETER = re.compile(r"@([a-z][a-z0-9_]*)")


def read_checks(file: Traversable, *, optional: bool = False) -> tuple[Check, ...]:
    """The checks of a file.

    Args:
        file: of one table.
        optional: whether it may be absent.
    """
    if optional and not file.is_file():
        return ()
    checks = _parse(read_text(file), where=f"{file}")
    if not checks:
        raise ValueError(f"{file} has no checks")
    return checks


def shared_checks(
    template: str,
    wanted: object,
    columns: Sequence[Column],
    metadata: Mapping[str, Any],
    *,
    where: str,
) -> tuple[Check, ...]:
    """Those of the shared checks that a table names, for its columns.

    Args:
        template: text of the shared file.
        wanted: names of checks, as the table's metadata have them.
        columns: of the table.
        metadata: of the table; its key and partitioning.
        where: names the metadata in errors.
    """
    if not isinstance(wanted, list):
        raise ValueError(f"{where} is {wanted!r}; expected a list of checks")
    refuse_repeats(wanted, where=where)
    numbers = [
        column.name
        for column in columns
        if column.type is ColumnType.FLOAT64 and not column.repeated
    ]
    text = JINJA.from_string(template).render(
        table="{{ table }}",  # stays a name, for the staged table of each run
        partition_by=metadata["partition_by"],
        key=", ".join(metadata["key"]),
        numbers=numbers,
    )
    known = {check.name: check for check in _parse(text, where=where)}
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(
            f"{where}: {unknown[0]!r} is none of {', '.join(known) or 'none'}"
        )
    if "finite" in wanted and not numbers:
        raise ValueError(f"{where}: finite is named, and no column is FLOAT64")
    return tuple(known[name] for name in wanted)


def _parse(text: str, *, where: str) -> tuple[Check, ...]:
    checks = tuple(
        _check(statement, where=where)
        for statement in _STATEMENT_END.split(text)
        if statement.strip()
    )
    refuse_repeats([check.name for check in checks], where=f"{where}: check")
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
        if header := _HEADER.fullmatch(line.strip()):
            yield at, header


def _relations(sql: str, *, where: str) -> frozenset[str]:
    try:
        wanted = jinja2.meta.find_undeclared_variables(JINJA.parse(sql))
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"{where}: {error}") from None
    if "table" not in wanted:
        raise ValueError(f"{where}: does not look at {{{{ table }}}}")
    return frozenset(identifier(name, where=where) for name in wanted)
