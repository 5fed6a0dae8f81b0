"""What a load job takes: rows as one local Parquet file, or objects where they lie."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from etils import epath

from beam_jobs.publishing.bigquery_jobs import LoadSource
from tfrecords_schema.errors import InputError
from tfrecords_schema.storage import is_local

_READ_BYTES = 1 << 20


@contextlib.contextmanager
def load_source(
    rows: ds.Dataset,
    files: Sequence[epath.Path],
    *,
    name: str,
    schema: pa.Schema | None = None,
) -> Iterator[LoadSource]:
    """A source of rows, for as long as the context lasts.

    Args:
        rows: all of them.
        files: the Parquet files that hold them, where there are such.
        name: of the table, for errors.
        schema: types to write, with what may be null; None for the rows' own.

    Raises:
        InputError: a required column holds a null.
    """
    if files and not any(map(is_local, files)):
        yield _objects(rows, files)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.parquet"
        try:
            count = _write(file, rows, schema or rows.schema)
        except pa.ArrowInvalid as error:
            raise InputError(f"{name} cannot be staged: {error}") from None
        yield LoadSource(
            open=lambda: file.open("rb"), uris=(), rows=count, digest=_digest(file)
        )


def _objects(rows: ds.Dataset, files: Sequence[epath.Path]) -> LoadSource:
    identity = hashlib.sha256()
    for file in files:
        # Objects are never changed in place; a newer one has another time.
        stat = file.stat()
        identity.update(f"{file} {stat.length} {stat.mtime}\n".encode())
    return LoadSource(
        open=None,
        uris=[str(file) for file in files],
        rows=rows.count_rows(),
        digest=identity.hexdigest(),
    )


def _write(file: Path, rows: ds.Dataset, schema: pa.Schema) -> int:
    """Write a file batch by batch: the same rows, the same bytes."""
    count = 0
    with pq.ParquetWriter(str(file), schema, compression="zstd") as writer:
        for batch in rows.scanner(columns=schema.names).to_batches():
            table = pa.Table.from_batches([batch])
            _refuse_nulls(table, schema)
            writer.write_table(table.cast(schema))
            count += len(batch)
    return count


def _refuse_nulls(table: pa.Table, schema: pa.Schema) -> None:
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise pa.ArrowInvalid(f"required column {field.name} holds a null")


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
