"""The data sets of a BigQuery warehouse, their tables and their views."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence

from google.api_core import exceptions
from google.cloud import bigquery

from beam_jobs.publishing.bigquery_address import BigQueryAddress
from beam_jobs.publishing.bigquery_jobs import Jobs, explained
from beam_jobs.publishing.bigquery_statements import create_view, published_dates
from beam_jobs.publishing.bigquery_tables import (
    adopt_metadata,
    outdated_metadata,
    require_same_columns,
    schema_of,
    table_of,
)
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import PublishedTable
from tfrecords_schema.view_folders import PublishedDates, published_views

_STAGING_DAYS = 7


class Datasets:
    """The three data sets of an address: published, staging and backup.

    Attributes:
        address: of them.
        jobs: that are run in its project.
    """

    def __init__(self, address: BigQueryAddress, jobs: Jobs) -> None:
        self.address = address
        self.jobs = jobs
        self._client = jobs.client

    def ensure(self) -> None:
        """Have the three data sets there.

        Raises:
            InputError: one can neither be read nor made.
        """
        for name in (self.address.published, self.address.staging, self.address.backup):
            with explained(f"find or make the data set {name}"):
                try:
                    self._client.get_dataset(name, retry=self.jobs.retry)
                except exceptions.NotFound:
                    self._create(name)

    def _create(self, name: str) -> None:
        dataset = bigquery.Dataset(name)
        if self.address.location is not None:
            dataset.location = self.address.location
        if name == self.address.staging:
            dataset.default_table_expiration_ms = _STAGING_DAYS * 24 * 60 * 60 * 1000
        self._client.create_dataset(dataset, exists_ok=True, retry=self.jobs.retry)

    def require(self) -> None:
        """Refuse an address at which nothing was ever published.

        Raises:
            InputError: there is no such data set.
        """
        name = self.address.published
        with explained(f"find the data set {name}"):
            self._client.get_dataset(name, retry=self.jobs.retry)

    def has(self, table: PublishedTable) -> bool:
        """Whether a published table is there."""
        with explained(f"find the table {self.published(table)}"):
            try:
                self._client.get_table(self.published(table), retry=self.jobs.retry)
            except exceptions.NotFound:
                return False
        return True

    def published(self, table: PublishedTable) -> str:
        """The full name of a published table."""
        return f"{self.address.published}.{table.name}"

    def ensure_tables(self, tables: Sequence[PublishedTable]) -> None:
        """Have every published table there as it is defined, if need be empty.

        Raises:
            InputError: one has other columns than its definition.
        """
        for table in tables:
            with explained(f"find or make the table {self.published(table)}"):
                self._ensure_table(table)

    def _ensure_table(self, table: PublishedTable) -> None:
        wanted = table_of(table, self.address.published)
        try:
            found = self._client.get_table(wanted.reference, retry=self.jobs.retry)
        except exceptions.NotFound:
            self._client.create_table(wanted, exists_ok=True, retry=self.jobs.retry)
            return
        require_same_columns(table, found)
        if table.columns_after([field.name for field in found.schema]):
            self._add_columns(table)
        if changed := outdated_metadata(wanted, found):
            self._client.update_table(
                adopt_metadata(wanted, found), changed, retry=self.jobs.retry
            )

    def _add_columns(self, table: PublishedTable) -> None:
        """Give what is kept of a table the columns of a later definition."""
        kept = re.compile(rf".*\.(staging|backup)_{table.name}_\d{{8}}(_[0-9a-f]+)?")
        for dataset in (self.address.staging, self.address.backup):
            for name in filter(kept.fullmatch, self.tables_in(dataset)):
                found = self._client.get_table(name, retry=self.jobs.retry)
                if table.columns_after([field.name for field in found.schema]):
                    found.schema = schema_of(table)
                    self._client.update_table(found, ["schema"], retry=self.jobs.retry)

    def make_table(self, name: str, schema: Sequence[bigquery.SchemaField]) -> None:
        """Have a table there that is none of the published ones."""
        with explained(f"make the table {name}"):
            self._client.create_table(
                bigquery.Table(name, schema=schema),
                exists_ok=True,
                retry=self.jobs.retry,
            )

    def tables_in(self, dataset: str) -> list[str]:
        """Full names of the tables of a data set, ascending."""
        with explained(f"list the tables of {dataset}"):
            found = self._client.list_tables(dataset, retry=self.jobs.retry)
            return sorted(f"{dataset}.{table.table_id}" for table in found)

    def delete(self, tables: Iterable[str]) -> None:
        """Drop tables, those that are there."""
        for table in tables:
            with explained(f"drop the table {table}"):
                self._client.delete_table(
                    table, not_found_ok=True, retry=self.jobs.retry
                )

    def replace_views(self) -> None:
        """Make the views anew for the dates that are published now.

        Another run may publish a date between the look at the dates and the views, and
        make its views before these are. So whoever was last to make a view looks again,
        and makes them anew until no date has come or gone meanwhile.
        """
        made, published = None, self._published_dates()
        while made != published:
            made = published
            for view in published_views().values():
                self.jobs.query(create_view(view, self.address.published, made))
            published = self._published_dates()

    def _published_dates(self) -> PublishedDates:
        dates: dict[str, list[datetime.date]] = {}
        for row in self.jobs.query(published_dates(self.address.published)):
            if (
                row["partition_id"].isdecimal()
                and row["table_name"] in published_tables()
            ):
                date = datetime.datetime.strptime(row["partition_id"], "%Y%m%d").date()
                dates.setdefault(row["table_name"], []).append(date)
        every = [date for found in dates.values() for date in found]
        return PublishedDates.of(dates.get("rankings", []), every)
