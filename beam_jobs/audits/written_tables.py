"""Columns of a data set's tables as they were written: one file, or a folder of parts.

For checks that look at a finished data set, so independent of the code that wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
from etils import epath

from tfrecords_schema import parquet_files

_BATCH_ROWS = 16_384


def read_batches(path: epath.Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a table, a bounded number of rows at a time.

    Yields:
        Batches of at least one row, with the columns in the order given.
    """
    for part in _parts(path):
        with part.open("rb") as file:
            for batch in parquet_files.read_batches(
                parquet_files.open_parquet(file), _BATCH_ROWS, columns
            ):
                if batch.num_rows:
                    yield batch.select(list(columns))


def _parts(path: epath.Path) -> list[epath.Path]:
    if not path.is_dir():
        return [path]
    return sorted(part for part in path.iterdir() if part.name.endswith(".parquet"))
