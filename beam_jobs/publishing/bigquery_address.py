"""The address of a BigQuery warehouse, and the client that it is reached with."""

from __future__ import annotations

import dataclasses
import os
import re
from urllib.parse import parse_qsl, urlsplit

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from tfrecords_schema.errors import InputError

_PROJECT = re.compile(r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1000}")
_LOCATION = re.compile(r"[A-Za-z0-9-]+")


@dataclasses.dataclass(frozen=True, slots=True)
class BigQueryAddress:
    """A data set of BigQuery.

    Attributes:
        project: that holds it, and pays for the jobs.
        dataset: of the published tables; what is staged and kept lies beside it, in
            `<dataset>_staging` and `<dataset>_backup`.
        location: where the data sets are; None for BigQuery's default.
    """

    project: str
    dataset: str
    location: str | None = None

    @property
    def published(self) -> str:
        """The data set that analysts open."""
        return f"{self.project}.{self.dataset}"

    @property
    def staging(self) -> str:
        """The data set whose tables expire by themselves."""
        return f"{self.project}.{self.dataset}_staging"

    @property
    def backup(self) -> str:
        """The data set of what a swap replaced."""
        return f"{self.project}.{self.dataset}_backup"


def parse_address(address: str) -> BigQueryAddress:
    """An address from an option's value.

    Raises:
        InputError: it has another form than bigquery://project/dataset[?location=EU].
    """
    parts = urlsplit(address)
    dataset = parts.path.removeprefix("/")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    location = options.pop("location", None)
    if (
        not _PROJECT.fullmatch(parts.netloc)
        or not _DATASET.fullmatch(dataset)
        or (location is not None and not _LOCATION.fullmatch(location))
        or options
        or parts.fragment
    ):
        raise InputError(
            f"--warehouse {address!r} is not bigquery://project/dataset or "
            "bigquery://project/dataset?location=EU"
        )
    return BigQueryAddress(parts.netloc, dataset, location)


def make_client(address: BigQueryAddress) -> bigquery.Client:
    """A client of the address, with the credentials of the environment.

    Where `BIGQUERY_EMULATOR_HOST` is set, as the client library has it, there are no
    credentials to send.
    """
    emulated = "BIGQUERY_EMULATOR_HOST" in os.environ
    return bigquery.Client(
        project=address.project,
        location=address.location,
        credentials=AnonymousCredentials() if emulated else None,
    )
