"""Parquet files of other stages, read into tables with exactly the wanted columns."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.dataset as ds
from etils import epath

from beam_jobs.publishing.publication import require_columns
from tfrecords_schema.errors import InputError
from tfrecords_schema.parquet_files import read_parquet


def relation(file: epath.Path, schema: pa.Schema) -> ds.Dataset:
    """A file as what checks look at."""
    return ds.dataset(read(file, schema))


def read(file: epath.Path, schema: pa.Schema) -> pa.Table:
    """The wanted columns of a file.

    Raises:
        InputError: it is absent, is not Parquet, or has other types.
    """
    if not file.exists():
        raise InputError(f"{file} does not exist; run the stage that writes it again")
    try:
        # Columns come from the file alone, never from a folder's name.
        with file.open("rb") as opened:
            table = read_parquet(opened)
    except pa.ArrowInvalid as error:
        raise InputError(f"{file} is not Parquet: {error}") from None
    # What a stage keeps there beside these columns is its own business.
    table = table.select([name for name in schema.names if name in table.column_names])
    require_columns(schema, table.schema, where=f"{file}")
    return table
