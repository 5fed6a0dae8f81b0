"""What a publication is made of, whatever the engine: loads, staged rows, findings.

Nothing here knows SQL or a connection; `warehouse` does the work in DuckDB, and
`bigquery_warehouse` in BigQuery.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as fs
from etils import epath

from tfrecords_schema.errors import InputError
from tfrecords_schema.storage import is_local
from tfrecords_schema.tables import Check, PublishedTable, Severity


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """What one table of a run is published from.

    Attributes:
        table: the definition.
        rows: its rows, in the definition's columns.
        relations: what its checks look at beside the rows.
        files: the Parquet files that hold exactly `rows`, where there are such.
        parameters: what its checks are told beside the run date.
    """

    table: PublishedTable
    rows: ds.Dataset
    relations: Mapping[str, ds.Dataset] = dataclasses.field(default_factory=dict)
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    files: tuple[epath.Path, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Staged:
    """A load whose rows are in the run's staging table, and nowhere else.

    Attributes:
        table: the definition.
        rows: how many there are.
        run_date: the date they are to replace.
        relations: names of tables by the names that the checks use.
        parameters: values by the names that the checks use.
    """

    table: PublishedTable
    rows: int
    run_date: datetime.date
    relations: Mapping[str, str]
    parameters: Mapping[str, Any]

    def values_of(self, *checks: Check) -> dict[str, Any]:
        """What some checks are told, and no more: engines refuse what is not used."""
        names = set().union(*(check.parameters for check in checks))
        return {name: self.parameters[name] for name in sorted(names)}


@dataclasses.dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found in a staged table.

    Attributes:
        table: the table's public name.
        name: the check's.
        severity: what offending rows do.
        description: the rule, in words.
        failures: number of offending rows.
        examples: the first of them, as JSON values.
    """

    table: str
    name: str
    severity: Severity
    description: str
    failures: int
    examples: tuple[dict[str, Any], ...]

    @classmethod
    def of(
        cls,
        check: Check,
        staged: Staged,
        failures: int,
        examples: Iterable[dict[str, Any]],
    ) -> CheckResult:
        """What a check found in a staged table."""
        return cls(
            table=staged.table.name,
            name=check.name,
            severity=check.severity,
            description=check.description,
            failures=failures,
            examples=tuple(examples),
        )

    def __str__(self) -> str:
        found = f"{self.table}.{self.name} ({self.description}): {self.failures} row(s)"
        if not self.examples:
            return found
        example = ", ".join(
            f"{key}={value!r}" for key, value in self.examples[0].items()
        )
        return f"{found}, for example {example}"


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """A staged table and what its checks found; only such may be published."""

    staged: Staged
    results: tuple[CheckResult, ...]

    def broken(self, severity: Severity) -> tuple[CheckResult, ...]:
        """The checks of that severity that found something."""
        return tuple(
            result
            for result in self.results
            if result.failures and result.severity is severity
        )


def require_definition(
    table: PublishedTable,
    where: str,
    *,
    expected: Mapping[str, str],
    found: Mapping[str, str],
) -> None:
    """Refuse a published table whose columns are others than its definition's.

    Args:
        table: the definition.
        where: how an error names the published table.
        expected: the definition's columns by name, as the engine tells them.
        found: those of the published table.

    Raises:
        InputError: naming the first column that differs.
    """
    for name in (*expected, *found):
        if expected.get(name) != found.get(name):
            raise InputError(
                f"{where}: column {name} is {found.get(name, 'absent')}, its "
                f"definition (version {table.version}) says "
                f"{expected.get(name, 'absent')}; alter or drop the table"
            )


def staging_name(table: PublishedTable, run_date: datetime.date) -> str:
    """The staging table of a run's rows."""
    return f"staging_{table.name}_{run_date:%Y%m%d}"


def backup_name(table: PublishedTable, run_date: datetime.date) -> str:
    """The table that keeps what a swap replaced."""
    return f"backup_{table.name}_{run_date:%Y%m%d}"


def record_name(run_date: datetime.date) -> str:
    """The table that says what a swap has put in."""
    return f"swapped_in_{run_date:%Y%m%d}"


def tables_of_date(run_date: datetime.date, kept: Sequence[str]) -> list[str]:
    """Those of the tables beside the published ones that are of a date."""
    return [name for name in kept if name.endswith(f"_{run_date:%Y%m%d}")]


class NoBackupError(InputError):
    """Nothing is kept of a date that could be put back."""


def require_backup(
    run_date: datetime.date, tables: Sequence[PublishedTable], kept: Sequence[str]
) -> list[PublishedTable]:
    """The tables of which a backup of a date is kept.

    Raises:
        NoBackupError: there is none.
    """
    found = [table for table in tables if backup_name(table, run_date) in kept]
    if not found:
        raise NoBackupError(
            f"no backup of {run_date} is kept (kept: {', '.join(kept) or 'nothing'}); "
            "only an approved swap can be rolled back, until --drop_backup"
        )
    return found


def json_value(value: Any) -> Any:
    """A value of a row as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, type(None))) else str(value)


def parquet_rows(table: PublishedTable, files: Sequence[epath.Path]) -> ds.Dataset:
    """The rows of Parquet files, unread; each file must have the table's columns.

    Raises:
        InputError: there is no file, or one is not Parquet or has other columns.
    """
    if not files:
        raise InputError(f"{table.name}: there is no Parquet file to publish")
    paths, system = _in_file_system(files)
    for file, path in zip(files, paths, strict=True):
        try:
            found = ds.dataset(path, format="parquet", filesystem=system).schema
        except pa.ArrowInvalid as error:
            raise InputError(f"{file} is not Parquet: {error}") from None
        require_columns(table.arrow_schema, found, where=f"{file}")
    return ds.dataset(
        paths, schema=table.arrow_schema, format="parquet", filesystem=system
    )


def _in_file_system(
    files: Sequence[epath.Path],
) -> tuple[list[str], fs.FileSystem | None]:
    """Names as Arrow takes them; None for the system of local files."""
    if is_local(files[0]):
        return [str(file) for file in files], None
    system, _ = fs.FileSystem.from_uri(str(files[0]))
    return [str(file).partition("://")[2] for file in files], system


def empty_rows(table: PublishedTable) -> ds.Dataset:
    """No rows, with the table's columns."""
    return ds.dataset(table.arrow_schema.empty_table())


def require_columns(expected: pa.Schema, found: pa.Schema, *, where: str) -> None:
    """Refuse columns that are missing, too many or of another type; order is free.

    Raises:
        InputError: naming the first column that differs.
    """
    for field in expected:
        if field.name not in found.names:
            raise InputError(f"{where} has no column {field.name} ({field.type})")
        kind = found.field(field.name).type
        if kind != field.type and not _widens(kind, field.type):
            raise InputError(
                f"{where}: column {field.name} is {kind}, the definition says "
                f"{field.type}"
            )
    for name in found.names:
        if name not in expected.names:
            raise InputError(f"{where}: column {name} is not in the definition")


def _widens(found: pa.DataType, expected: pa.DataType) -> bool:
    """Whether every value is exactly one of the expected type: single in double."""
    if pa.types.is_list(found) and pa.types.is_list(expected):
        return found.value_type == expected.value_type or _widens(
            found.value_type, expected.value_type
        )
    return pa.types.is_float32(found) and pa.types.is_float64(expected)


def require_passed(checked: Sequence[Checked]) -> None:
    """Refuse tables of which a `#fail` check found something.

    Raises:
        InputError: naming each such check, its count and an example.
    """
    failed = [result for item in checked for result in item.broken(Severity.FAIL)]
    if failed:
        run_date = checked[0].staged.run_date
        raise InputError(
            f"{len(failed)} check(s) failed for {run_date}, nothing was published: "
            + "; ".join(map(str, failed))
        )


def require_rows(
    table: PublishedTable, found: int, expected: int, what: str, where: str
) -> None:
    """Hold what came out of a copy against what went in.

    Raises:
        RuntimeError: rows were lost, or have slipped in.
    """
    if found != expected:
        raise RuntimeError(
            f"{table.name}: {found} rows were {what}, but {expected} are {where}"
        )
