"""The address of a BigQuery warehouse, and the client that it is reached with."""

from __future__ import annotations

import dataclasses
import os
import re
from urllib.parse import parse_qsl, urlsplit

import google.auth
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials, Credentials
from google.cloud import bigquery

from tfrecords_schema.errors import InputError

_PROJECT = re.compile(r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1000}")
_LOCATION = re.compile(r"[A-Za-z0-9-]+")
_ACCOUNT = re.compile(r"[a-z0-9-]+@[a-z0-9-]+\.iam\.gserviceaccount\.com")
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclasses.dataclass(frozen=True, slots=True)
class BigQueryAddress:
    """A data set of BigQuery.

    Attributes:
        project: that holds it, and pays for the jobs.
        dataset: of the published tables; what is staged and kept lies beside it, in
            `<dataset>_staging` and `<dataset>_backup`.
        location: where the data sets are; None for BigQuery's default.
        account: service account whose tokens are taken, so that only it needs rights
            on the tables; None for the environment's own.
    """

    project: str
    dataset: str
    location: str | None = None
    account: str | None = None

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
        InputError: it has another form than bigquery://project/dataset, with
            `location` and `as` behind a question mark where they are wanted.
    """
    parts = urlsplit(address)
    dataset = parts.path.removeprefix("/")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    location, account = options.pop("location", None), options.pop("as", None)
    if (
        not _PROJECT.fullmatch(parts.netloc)
        or not _DATASET.fullmatch(dataset)
        or (location is not None and not _LOCATION.fullmatch(location))
        or (account is not None and not _ACCOUNT.fullmatch(account))
        or options
        or parts.fragment
    ):
        raise InputError(
            f"--warehouse {address!r} is not bigquery://project/dataset or "
            "bigquery://project/dataset?location=EU, with &as=<service account> where "
            "another account's tokens are to be taken"
        )
    return BigQueryAddress(parts.netloc, dataset, location, account)


def make_client(address: BigQueryAddress) -> bigquery.Client:
    """A client of the address, with its account's credentials or the environment's.

    Where `BIGQUERY_EMULATOR_HOST` is set, as the client library has it, there are no
    credentials to send.
    """
    return bigquery.Client(
        project=address.project,
        location=address.location,
        credentials=_credentials(address),
    )


def _credentials(address: BigQueryAddress) -> Credentials | None:
    """None for the environment's own."""
    if "BIGQUERY_EMULATOR_HOST" in os.environ:
        return AnonymousCredentials()
    if address.account is None:
        return None
    own, _ = google.auth.default(scopes=[_SCOPE])
    return impersonated_credentials.Credentials(
        source_credentials=own,
        target_principal=address.account,
        target_scopes=[_SCOPE],
    )
