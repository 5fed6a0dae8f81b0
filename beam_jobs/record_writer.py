"""Writing a job's tables as Parquet parts, with no worker that sees a whole one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import pyarrow as pa
from etils import epath

from beam_jobs.batches import PackByKey, unpack
from tfrecords_schema import dataset_tables
from tfrecords_schema.hashing import stable_hash

PART_ROWS = 20_000
"""Aimed-at rows of a part: some 100 MB, with 32 negatives in a row, while they are
sorted."""

Row = dict[str, Any]
Rows = dict[str, list[Row]]


@dataclasses.dataclass(frozen=True, slots=True)
class TableSpec:
    """How a table is written.

    Attributes:
        name: of its folder, without the suffix.
        schema: of the table.
        order_by: columns that together order its rows fully.
    """

    name: str
    schema: pa.Schema
    order_by: tuple[str, ...]

    def key(self, row: Row) -> tuple[Any, ...]:
        """What orders the rows."""
        return tuple(row[name] for name in self.order_by)


@dataclasses.dataclass(frozen=True, slots=True)
class TableFamily:
    """Tables whose rows are dealt to parts by a value that they share.

    Attributes:
        name: unique.
        tables: written together.
        rows: about how many there are of all; decides the number of parts.
        complete: fills in, part by part, what rows with the same value tell each
            other; it gets the rows of every table by its name.
    """

    name: str
    tables: tuple[TableSpec, ...]
    rows: int
    complete: Callable[[Rows], None] | None = None

    @property
    def n_parts(self) -> int:
        """Number of parts of each table."""
        return max(1, -(-self.rows // PART_ROWS))

    def part_of(self, value: str) -> int:
        """The part of a row, by a hash of its value."""
        return (stable_hash(value) * self.n_parts) >> 64 if self.n_parts > 1 else 0


@dataclasses.dataclass(frozen=True, slots=True)
class KeyRow:
    """Address a row, as `WriteTables` wants it.

    Attributes:
        family: the row's.
    """

    family: TableFamily

    def __call__(
        self, table: str, value: str, row: Row
    ) -> tuple[tuple[str, int], tuple[str, Row]]:
        """A row of a table, with the value that decides its part."""
        return (self.family.name, self.family.part_of(value)), (table, row)


class WriteTables(beam.PTransform):
    """Write rows as tables, each a folder of Parquet parts; one without rows as well.

    PCollection in: ((family, part), (table, row as a dictionary)), see `KeyRow`.
    PCollection out: (family, part), when it is written.

    A part is sorted, so the files are the same whatever the runner and the number of
    workers.
    """

    def __init__(self, folder: str, families: Iterable[TableFamily]) -> None:
        """Set where to write.

        Args:
            folder: an existing folder without parts of these tables.
            families: of every table that rows may name.
        """
        super().__init__()
        self._folder = folder
        self._families = {family.name: family for family in families}

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Wire the transform."""
        every_part = [
            ((family.name, part), b"")
            for family in self._families.values()
            for part in range(family.n_parts)
        ]
        return (
            (
                rows | "PackRows" >> beam.ParDo(PackByKey()),
                rows.pipeline | "ListParts" >> beam.Create(every_part, reshuffle=False),
            )
            | "FlattenParts" >> beam.Flatten()
            | "GroupParts" >> beam.GroupByKey()
            | "WriteParts" >> beam.MapTuple(_WritePart(self._folder, self._families))
        )


class _WritePart:
    def __init__(self, folder: str, families: dict[str, TableFamily]) -> None:
        self._folder = folder
        self._families = families

    def __call__(
        self, key: tuple[str, int], batches: Iterable[bytes]
    ) -> tuple[str, int]:
        name, part = key
        family = self._families[name]
        rows: Rows = {table.name: [] for table in family.tables}
        for table_name, row in unpack(batch for batch in batches if batch):
            rows[table_name].append(row)
        if family.complete is not None:
            family.complete(rows)
        file = f"{part:05d}-of-{family.n_parts:05d}.parquet"
        for table in family.tables:
            ordered = sorted(rows[table.name], key=table.key)
            folder = dataset_tables.table_path(epath.Path(self._folder), table.name)
            dataset_tables.write_table(folder / file, ordered, table.schema)
        return key
