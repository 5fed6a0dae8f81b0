"""Jobs of BigQuery that are safe to start again: ids by content, retries, clear errors.

A load job's id says which run, table and content it is of. Starting it a second time,
after a lost answer or by a second run, meets the first job, which is then waited for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, TypeAlias

import requests
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.cloud import bigquery

from beam_jobs.publishing.publication import json_value
from tfrecords_schema.errors import InputError
from tfrecords_schema.tables import ColumnType

_REASONS = frozenset(
    {
        *("rateLimitExceeded", "quotaExceeded", "backendError", "internalError"),
        *("badGateway", "jobRateLimitExceeded", "jobBackendError", "jobInternalError"),
    }
)
_TRANSIENT = (
    exceptions.TooManyRequests,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.ServiceUnavailable,
    exceptions.GatewayTimeout,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
)
# How BigQuery says that another transaction was first.
_CONFLICT = "due to concurrent update"
_PARAMETER_TYPES = {
    bool: ColumnType.BOOL,
    int: ColumnType.INT64,
    float: ColumnType.FLOAT64,
    str: ColumnType.STRING,
    datetime.date: ColumnType.DATE,
}
_Parameter: TypeAlias = bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, _TRANSIENT):
        return True
    if not isinstance(error, exceptions.GoogleAPICallError):
        return False
    reasons = {found.get("reason") for found in error.errors if isinstance(found, dict)}
    return bool(reasons & _REASONS) or _CONFLICT in str(error)


RETRY = Retry(
    predicate=is_transient, initial=1.0, maximum=60.0, multiplier=2.0, timeout=900.0
)
"""Exponential back-off with jitter, for a quarter of an hour: quotas are by minutes."""


@dataclasses.dataclass(frozen=True, slots=True)
class LoadSource:
    """Parquet that one load job takes.

    Attributes:
        open: opens the local file that holds it; None where it is in an object store.
        uris: objects that hold it; empty where it is a file.
        rows: how many.
        digest: of the content, or of what identifies the objects.
    """

    open: Callable[[], IO[bytes]] | None
    uris: Sequence[str]
    rows: int
    digest: str


class Jobs:
    """Starts jobs on a client, and waits for them.

    Attributes:
        client: of the project that pays.
        retry: how requests and jobs that failed for the moment are started again.
        upload_retries: how often a piece of an upload is sent again before `retry`
            starts with the whole file.
    """

    def __init__(
        self,
        client: bigquery.Client,
        retry: Retry = RETRY,
        *,
        upload_retries: int = 6,
    ) -> None:
        self.client = client
        self.retry = retry
        self.upload_retries = upload_retries

    def load(
        self,
        source: LoadSource,
        table: str,
        *,
        job_id: str,
        schema: Sequence[bigquery.SchemaField],
    ) -> None:
        """Have a table hold exactly the source's rows.

        An id is of one job for ever, failed or not, so a number at its end counts the
        tries. A job that an earlier try of ours or another run started is waited for;
        if it failed, or its table has expired since, the next number is taken.

        Raises:
            InputError: the job failed for good; the message has BigQuery's reasons.
        """
        config = _load_config(schema)
        numbers = itertools.count()

        def try_once() -> None:
            for number in numbers:
                job, found = self._begin(
                    lambda name: self._start_load(source, table, name, config),
                    f"{job_id}-{number}",
                )
                try:
                    job.result(retry=self.retry)
                except exceptions.GoogleAPICallError:
                    if found:
                        continue
                    raise
                if self._rows(table) == source.rows:
                    return
                if not found:
                    raise RuntimeError(
                        f"{table}: {self._rows(table)} rows were loaded, but "
                        f"{source.rows} are in the source"
                    )

        with explained(f"load {table} (job {job_id})"):
            self.retry(try_once)()

    def _start_load(
        self,
        source: LoadSource,
        table: str,
        job_id: str,
        config: bigquery.LoadJobConfig,
    ) -> Any:
        if source.open is None:
            return self.client.load_table_from_uri(
                list(source.uris), table, job_id=job_id, job_config=config, retry=None
            )
        with source.open() as file:
            # Without a size it is resumable: a large one goes on where it broke.
            return self.client.load_table_from_file(
                file,
                table,
                num_retries=self.upload_retries,
                job_id=job_id,
                job_config=config,
            )

    def _begin(self, start: Callable[[str], Any], job_id: str) -> tuple[Any, bool]:
        """Start a job, or find the one that has its id; whether it was found."""
        try:
            return self.retry(start)(job_id), False
        except exceptions.Conflict:
            return self.client.get_job(job_id, retry=self.retry), True

    def _rows(self, table: str) -> int | None:
        try:
            return self.client.get_table(table, retry=self.retry).num_rows
        except exceptions.NotFound:
            return None

    def run_transaction(self, script: str, *, what: str) -> None:
        """Run a script that has happened as a whole or not at all.

        A lost answer is asked for again under the same id, so that it never runs twice;
        a conflict with another transaction has rolled it back, and it starts anew.

        Raises:
            InputError: BigQuery refused it; nothing has changed.
        """

        def try_once() -> None:
            job, _ = self._begin(
                lambda name: self.client.query(
                    script, job_id=name, retry=None, job_retry=None
                ),
                f"ctl-publish-{uuid.uuid4().hex}",
            )
            job.result(retry=self.retry, job_retry=None)

        with explained(what):
            self.retry(try_once)()

    def query(
        self, sql: str, parameters: Sequence[_Parameter] = ()
    ) -> list[dict[str, Any]]:
        """The rows of a query.

        Raises:
            InputError: BigQuery refused it.
        """
        config = bigquery.QueryJobConfig(query_parameters=list(parameters))

        def try_once() -> list[dict[str, Any]]:
            job = self.client.query(
                sql, job_config=config, retry=self.retry, job_retry=None
            )
            rows = job.result(retry=self.retry, job_retry=None)
            return [dict(row.items()) for row in rows]

        with explained(f"run the query {sql.strip().splitlines()[0]} …"):
            return self.retry(try_once)()

    def json_rows(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query with parameters, as JSON values.

        Raises:
            InputError: BigQuery refused it.
        """
        parameters = [_parameter(name, value) for name, value in values.items()]
        return [
            {name: json_value(value) for name, value in row.items()}
            for row in self.query(sql, parameters)
        ]


def _parameter(name: str, value: Any) -> _Parameter:
    """A value of a query; a list is one of texts."""
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, ColumnType.STRING, value)
    return bigquery.ScalarQueryParameter(name, _PARAMETER_TYPES[type(value)], value)


def _load_config(schema: Sequence[bigquery.SchemaField]) -> bigquery.LoadJobConfig:
    parquet = bigquery.ParquetOptions()
    parquet.enable_list_inference = True  # a list is a REPEATED column
    return bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        parquet_options=parquet,
        schema=list(schema),
    )


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Say what BigQuery was asked for when it refuses.

    Raises:
        InputError: it refused for good.
        RuntimeError: it could not answer in time; the same may work later.
    """
    try:
        yield
    except exceptions.RetryError as error:
        raise RuntimeError(
            f"BigQuery could not {what}, however often it was asked: {error.cause}; "
            "run this date again later"
        ) from error
    except exceptions.GoogleAPICallError as error:
        if is_transient(error):
            raise
        raise InputError(f"BigQuery refused to {what}: {error.message}") from error
