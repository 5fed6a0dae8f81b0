"""Where a run is published: the protocol of a warehouse, and its address.

The addresses are a DuckDB file's path and `bigquery://project/dataset`; what is
published, and when, is the same for both (`beam_jobs.publish`, `beam_jobs.approve`).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from etils import epath

from beam_jobs.publishing.partition_state import PartitionState
from beam_jobs.publishing.publication import Checked, Load, Staged
from beam_jobs.publishing.warehouse import Warehouse
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.storage import is_local
from tfrecords_schema.tables import PublishedTable

BIGQUERY = "bigquery://"


class Reader(Protocol):
    """A warehouse that is looked at."""

    def has(self, table: PublishedTable) -> bool:
        """Whether a published table is there."""

    def relation(self, table: PublishedTable) -> str:
        """The name of a published table in a query."""

    def query(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query of BigQuery's dialect, as JSON values."""


class Target(Reader, Protocol):
    """An open warehouse."""

    def stage(
        self, load: Load, *, run_date: datetime.date, keep: bool = False
    ) -> Staged:
        """Copy a load's rows, and what its checks look at, into staging tables.

        Args:
            load: what to stage.
            run_date: the date that it is to replace.
            keep: whether the staging tables outlive this process, for an approval.
        """

    def run_checks(self, staged: Staged) -> Checked:
        """Run every check of the table over its staged rows."""

    def publish(
        self,
        checked: Sequence[Checked],
        *,
        tables: Sequence[PublishedTable] = (),
        replacing: Mapping[str, PartitionState] | None = None,
    ) -> dict[str, int]:
        """Replace the run's date in all its tables, or in none; then the views.

        Args:
            checked: the run's tables.
            tables: others that must exist, if need be empty.
            replacing: by table, what a person saw published and agreed to replace.
                It is kept for `rollback`, in place of what was kept of the date
                before; where something else is published by now, nothing changes.

        Returns:
            Rows published, by table.
        """

    def ensure_tables(self, tables: Sequence[PublishedTable]) -> None:
        """Have every table there, if need be empty."""

    def rollback(
        self,
        run_date: datetime.date,
        tables: Sequence[PublishedTable],
        *,
        discard_newer: bool = False,
    ) -> dict[str, int]:
        """Put back what the approved swap of a date replaced, and drop the backup.

        Args:
            run_date: the date.
            tables: all that are published.
            discard_newer: whether to do so where the date was published again since.
        """

    def drop_backups(
        self, run_date: datetime.date, tables: Sequence[PublishedTable]
    ) -> list[str]:
        """Drop what is kept for a date's `rollback`; the names of the tables."""

    def discard(self, staged: Collection[Staged]) -> None:
        """Drop staging tables that were kept."""

    def missing(self, relations: Collection[str]) -> list[str]:
        """Those of the tables that are not there."""


def absolute_address(option: str) -> str:
    """What `--warehouse` gives, such that it means the same in every folder.

    Empty, for the root's DuckDB file, stays so: a root may be moved.
    """
    if not option or "://" in option:
        return option
    return str(Path(option).absolute())


def address_of(root: Root, option: str) -> str:
    """The address that `--warehouse` gives; empty means the root's DuckDB file.

    Raises:
        InputError: it is of a kind that nothing is published to.
    """
    if "://" in option and not option.startswith(BIGQUERY):
        raise InputError(
            f"--warehouse {option!r} is neither the path of a DuckDB file on this "
            f"machine nor {BIGQUERY}project/dataset"
        )
    return option or str(root.warehouse)


def add_warehouse_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the published tables are."""
    parser.add_argument(
        "--warehouse",
        default="",
        help="path of a DuckDB file (default: the root's warehouse.duckdb), or "
        "bigquery://project/dataset[?location=EU&as=ACCOUNT]",
    )


def open_target(address: str) -> contextlib.AbstractContextManager[Target]:
    """Open the warehouse at an address for as long as the context lasts.

    Raises:
        InputError: the address is malformed, or the warehouse cannot be opened.
    """
    if address.startswith(BIGQUERY):
        # Only a deployment that publishes there has the client.
        from beam_jobs.publishing.bigquery_warehouse import BigQueryWarehouse

        return BigQueryWarehouse.open(address)
    return Warehouse.open(epath.Path(address))


@contextlib.contextmanager
def open_reader(root: Root, option: str) -> Iterator[Reader | None]:
    """Open what `--warehouse` gives for reading, for as long as the context lasts.

    None where nothing is given and the root has no file of its own on this machine.

    Raises:
        InputError: the address is malformed, or what it names cannot be read.
    """
    address = address_of(root, option)
    if address.startswith(BIGQUERY):
        from beam_jobs.publishing.bigquery_warehouse import BigQueryWarehouse

        with BigQueryWarehouse.open_to_read(address) as reader:
            yield reader
        return
    path = epath.Path(address)
    if not option and not (is_local(path) and path.exists()):
        yield None
        return
    with Warehouse.open_to_read(path) as local:
        yield local
