"""Rows of a retailer's table: CSV, Parquet or JSON-lines, each with its line.

A row comes out as values by column, unchecked, or as a `BadRow` where the file's own
format is broken there. Files that are no such table at all are input errors.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa
from etils import epath

from beam_jobs.catalogs.catalog_rows import BadRow, shown
from beam_jobs.catalogs.csv_records import read_records
from beam_jobs.catalogs.text_lines import read_lines
from tfrecords_schema.codes import RowCode
from tfrecords_schema.errors import InputError
from tfrecords_schema.parquet_files import open_parquet, read_batches

BOX = "box"
EDGES = ("left", "top", "right", "bottom")

_BATCH_ROWS = 8192
_NUMBER = re.compile(r"[ \t]*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?[ \t]*", re.ASCII)

Row = tuple[int, dict[str, Any] | BadRow]


@dataclasses.dataclass(frozen=True, slots=True)
class TableSpec:
    """A table that a catalogue must have.

    Attributes:
        name: of the file, without its ending.
        ids: columns of text, or of whole numbers that stand for it.
        texts: columns of text.
        values: columns of text, numbers, or yes and no; whoever asks takes them apart.
        has_box: whether there is a box besides: its four edges, or one column `box`
            of lists, which wins where both are there.
    """

    name: str
    ids: tuple[str, ...]
    texts: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    has_box: bool = False

    def columns(self, found: Collection[str]) -> tuple[str, ...]:
        """The columns that are read, of those found."""
        named = (*self.ids, *self.texts, *self.values)
        if not self.has_box:
            return named
        return (*named, BOX) if BOX in found else (*named, *EDGES)


def read_table(path: epath.Path, spec: TableSpec) -> Iterator[Row]:
    """Rows of a table, in file order.

    Yields:
        The line a row begins on, from 1 (of Parquet: the row's number), and its values
        or what is wrong with it.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    return FORMATS[path.suffix](path, spec)


def _missing(path: epath.Path, columns: Collection[str], found: object) -> InputError:
    names = ", ".join(repr(column) for column in columns)
    return InputError(f"catalogue file {path} has no column {names} ({found})")


def _check_unique(
    path: epath.Path, wanted: Collection[str], found: Sequence[str]
) -> None:
    for column in wanted:
        if found.count(column) > 1:
            raise InputError(f"catalogue file {path} has the column {column!r} twice")


def _read_csv(path: epath.Path, spec: TableSpec) -> Iterator[Row]:
    records = read_records(read_lines(path))
    _, header = next(records, (0, "the file is empty"))
    if isinstance(header, str):
        raise InputError(f"catalogue file {path} has no header: {header}")
    wanted = spec.columns(())  # no list in a CSV file
    if lacking := [column for column in wanted if column not in header]:
        raise _missing(path, lacking, f"its header, split at commas: {shown(header)}")
    _check_unique(path, wanted, header)
    places = {column: header.index(column) for column in wanted}
    for line, fields in records:
        if isinstance(fields, str):
            yield line, BadRow(RowCode.MALFORMED_ROW, fields)
        elif len(fields) != len(header):
            told = f"{len(fields)} fields, the header has {len(header)}"
            yield line, BadRow(RowCode.MALFORMED_ROW, told)
        else:
            yield line, {name: _value(name, fields[at]) for name, at in places.items()}


def _value(column: str, text: str) -> str | float:
    """A field's value: an edge of a box is a number, if it is written as one."""
    is_number = column in EDGES and _NUMBER.fullmatch(text)
    return float(text) if is_number else text


def _read_jsonl(path: epath.Path, spec: TableSpec) -> Iterator[Row]:
    n_rows = 0
    missing = dict.fromkeys((*spec.columns(EDGES), *EDGES), 0)
    for line, text in read_lines(path):
        if text is not None and not text.strip():
            continue
        n_rows += 1
        row = _parse_json(text)
        if isinstance(row, dict):
            wanted = spec.columns(row)
            lacking = [column for column in wanted if column not in row]
            for column in lacking:
                missing[column] += 1
            if lacking:
                yield line, BadRow(RowCode.MISSING_FIELD, ", ".join(lacking))
                continue
            row = {column: row[column] for column in wanted}
        yield line, row
    never = [column for column, count in missing.items() if count == n_rows > 0]
    if never:
        raise _missing(path, never, f"in none of its {n_rows} rows")


def _parse_json(text: str | None) -> dict[str, Any] | BadRow:
    if text is None:
        return BadRow(RowCode.MALFORMED_JSON, "a line is too long")
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return BadRow(RowCode.MALFORMED_JSON, shown(text))
    if not isinstance(row, dict):
        return BadRow(RowCode.MALFORMED_JSON, shown(row))
    return row


def _read_parquet(path: epath.Path, spec: TableSpec) -> Iterator[Row]:
    try:
        with path.open("rb") as file:
            table = open_parquet(file)
            columns = _checked_columns(path, table.schema_arrow, spec)
            number = 0
            for batch in read_batches(table, _BATCH_ROWS, columns):
                # Not in the order asked for, but in that of the file.
                values = [_values(batch.column(name), name) for name in columns]
                for row in zip(*values, strict=True):
                    number += 1
                    yield number, dict(zip(columns, row, strict=True))
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"catalogue file {path} cannot be read: {error}") from None


def _checked_columns(
    path: epath.Path, schema: pa.Schema, spec: TableSpec
) -> tuple[str, ...]:
    columns = spec.columns(schema.names)
    if lacking := [column for column in columns if column not in schema.names]:
        raise _missing(path, lacking, f"its columns: {', '.join(schema.names)}")
    _check_unique(path, columns, schema.names)
    for column in columns:
        kind = schema.field(column).type
        if not _is_readable(column, kind, spec):
            raise InputError(
                f"catalogue file {path}: column {column!r} is of type {kind}, not "
                f"{_wanted_type(column, spec)}"
            )
    return columns


def _wanted_type(column: str, spec: TableSpec) -> str:
    if column == BOX:
        return "a list of numbers"
    if column in EDGES:
        return "a number"
    if column in spec.values:
        return "text, a number or a boolean"
    return "text or a whole number" if column in spec.ids else "text"


def _is_readable(column: str, kind: pa.DataType, spec: TableSpec) -> bool:
    if pa.types.is_null(kind):
        return True  # every value is missing, and each row is told so
    if column == BOX:
        return _is_list(kind) and _is_number(kind.value_type)
    if column in EDGES:
        return _is_number(kind)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return True
    if column in spec.values:
        return pa.types.is_boolean(kind) or _is_number(kind)
    return column in spec.ids and pa.types.is_integer(kind)


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_decimal(kind)
    )


def _values(column: pa.Array, name: str) -> list[Any]:
    """Python values of a column; what is not text in it comes out as bytes."""
    if name in EDGES:
        column = column.cast(pa.float64(), safe=False)
    elif name == BOX and not pa.types.is_null(column.type):
        return [_floats(edges) for edges in column.to_pylist()]
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_text(scalar) for scalar in column]


def _floats(edges: list[Any] | None) -> list[float | None] | None:
    if edges is None:
        return None
    return [edge if edge is None else float(edge) for edge in edges]


def _text(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return b"not UTF-8"


FORMATS: dict[str, Callable[[epath.Path, TableSpec], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
}
"""File endings and their readers."""
