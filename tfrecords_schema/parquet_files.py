"""Reading Parquet out of Python files, in the thread that asks for it.

Arrow would read with threads of its own. They outlive the read, and one that drops the
last reference to a Python file while the interpreter shuts down ends the process with
SIGABRT, after all of its work was done: 3 of 100 processes that read a small table did
(apache/arrow issues 34314 and 50482).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq


def open_parquet(file: IO[bytes]) -> pq.ParquetFile:
    """A Parquet file's metadata; read its rows with `read_batches`.

    Raises:
        pa.ArrowInvalid: it is not Parquet.
    """
    return pq.ParquetFile(file, pre_buffer=False)


def read_parquet(file: IO[bytes], columns: Sequence[str] | None = None) -> pa.Table:
    """A whole file.

    Args:
        file: open for reading.
        columns: those wanted, in this order; None for all.

    Raises:
        KeyError: the file lacks one of the columns.
        pa.ArrowInvalid: it is not Parquet.
    """
    wanted = None if columns is None else list(columns)
    table = open_parquet(file).read(columns=wanted, use_threads=False)
    return table if wanted is None else table.select(wanted)


def read_batches(
    parquet: pq.ParquetFile, rows: int, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Some columns of a file, in the file's order of them.

    Args:
        parquet: of `open_parquet`.
        rows: at most so many in a batch.
        columns: those wanted.
    """
    return parquet.iter_batches(rows, columns=list(columns), use_threads=False)
