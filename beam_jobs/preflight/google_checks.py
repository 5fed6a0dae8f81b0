"""Checks of Google Cloud: credential, bucket, services, quotas, BigQuery."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from beam_jobs.preflight.findings import Finding, Told
from beam_jobs.preflight.local_checks import check_skew

_EXPIRED = (
    "the credential of this process is missing, expired or revoked: run gcloud auth "
    "application-default login, or give the service account a new key or Workload "
    "Identity"
)
_NO_TOKEN = (
    "this account gets no token of the one that is named after as=; grant it "
    "roles/iam.serviceAccountTokenCreator there"
)

T = TypeVar("T")


class Session(Protocol):
    """What of `requests.Session` is used."""

    def get(self, url: str, *, timeout: float) -> Any:
        """Answer a GET."""


def attempt(name: str, setting: str, call: Callable[[], T]) -> T | Finding:
    """What a call returns, or what Google's libraries raise told in a sentence.

    Args:
        name: of the check.
        setting: its key, its value, and where to change it.
        call: a check, or what a check needs.
    """
    # A second's imports, that a run without Google Cloud spares.
    from google.api_core import exceptions
    from google.auth import exceptions as auth
    from requests import exceptions as transport

    try:
        return call()
    except auth.RefreshError as error:
        if "impersonated" in str(error):
            message = f"{setting}: {_NO_TOKEN} ({_line(error)})"
            return Finding(name, message, ok=False)
        return Finding(name, f"{setting}: {_EXPIRED} ({_line(error)})", ok=False)
    except auth.DefaultCredentialsError as error:
        return Finding(name, f"{setting}: {_EXPIRED} ({_line(error)})", ok=False)
    except exceptions.Unauthorized as error:
        return Finding(name, f"{setting}: {_EXPIRED} ({_line(error)})", ok=False)
    except exceptions.NotFound as error:
        return Finding(name, f"{setting} does not exist ({_line(error)})", ok=False)
    except exceptions.Forbidden as error:
        message = f"{setting} is refused to this account ({_line(error)})"
        return Finding(name, message, ok=False)
    except (
        exceptions.ServerError,
        exceptions.RetryError,
        auth.TransportError,
        transport.ConnectionError,
        transport.Timeout,
    ) as error:
        message = f"{setting} cannot be reached ({_line(error)})"
        return Finding(name, message, ok=False, may_pass=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def check_bucket(root: str, told: Told, *, client: Any, now: float) -> list[Finding]:
    """Write an object under a `gs://` root and remove it; its time is Google's clock.

    Args:
        root: `gs://bucket/prefix`.
        told: the settings.
        client: of google-cloud-storage.
        now: this machine's clock, seconds since 1970.
    """
    bucket, _, prefix = root.removeprefix("gs://").partition("/")
    skew: list[Finding] = []

    def probe() -> Finding:
        name = f"{prefix.strip('/')}/.preflight-{uuid.uuid4().hex[:8]}".lstrip("/")
        blob = client.bucket(bucket).blob(name)
        blob.upload_from_string(b"x", timeout=60)
        if blob.updated is not None:
            skew.append(check_skew(blob.updated.timestamp() - now, told))
        blob.delete(timeout=60)
        return Finding("root", f"{root} can be written")

    return [attempt("root", f"{told.named('root')} {root}", probe), *skew]


def check_services(told: Told, *, session: Session) -> Iterator[Finding]:
    """Ask the services that run jobs for their list of jobs, and for the quotas."""
    dataflow, vertex = told.value("beam.dataflow"), told.value("training.vertex")
    if dataflow:
        place = f"projects/{dataflow['project']}/locations/{dataflow['region']}"
        url = f"https://dataflow.googleapis.com/v1b3/{place}/jobs?pageSize=1"
        yield _answers("Dataflow", "beam.dataflow", dataflow, url, told, session)
        yield _quotas(dataflow, told, session)
    if vertex:
        region = vertex["region"]
        place = f"projects/{vertex['project']}/locations/{region}"
        url = (
            f"https://{region}-aiplatform.googleapis.com/v1/{place}/trainingPipelines"
            "?pageSize=1"
        )
        yield _answers("Vertex AI", "training.vertex", vertex, url, told, session)


def _answers(
    name: str,
    key: str,
    part: Mapping[str, Any],
    url: str,
    told: Told,
    session: Session,
) -> Finding:
    where = f"{part['project']} in {part['region']}"
    setting = f"{key}.project, {key}.region of {told.file}: {name} of {where}"

    def ask() -> Finding:
        _get(session, url)
        return Finding(name, f"answers for {where}")

    return attempt(name, setting, ask)


def _quotas(part: Mapping[str, Any], told: Told, session: Session) -> Finding:
    wanted = told.value("preflight.min_quota")
    setting = f"preflight.min_quota of {told.file}"
    url = (
        f"https://compute.googleapis.com/compute/v1/projects/{part['project']}"
        f"/regions/{part['region']}"
    )

    def ask() -> Finding:
        rows = _get(session, url).get("quotas", [])
        left = {row["metric"]: row["limit"] - row["usage"] for row in rows}
        short = [
            f"{left.get(metric, 0):g} {metric} are left, {least:g} wanted"
            for metric, least in wanted.items()
            if left.get(metric, 0) < least
        ]
        if short:
            # Others' jobs end.
            message = f"{setting}: {'; '.join(short)} in {part['region']}"
            return Finding("quotas", message, ok=False, may_pass=True)
        return Finding("quotas", f"suffice: {wanted}")

    return attempt("quotas", setting, ask)


def _get(session: Session, url: str) -> dict[str, Any]:
    from google.api_core import exceptions

    answer = session.get(url, timeout=60)
    if answer.status_code >= 400:
        raise exceptions.from_http_response(answer)
    found: dict[str, Any] = answer.json()
    return found


def check_bigquery(address: str, told: Told, *, dataset: str, client: Any) -> Finding:
    """Whether queries may be run in the project, and the data set is there or not yet.

    Args:
        address: `bigquery://project/dataset`, with what follows.
        told: the settings.
        dataset: of the address.
        client: of google-cloud-bigquery, of the address: the account that publishes.
    """
    from google.api_core import exceptions
    from google.cloud import bigquery

    setting = f"{told.named('warehouse')} {address}"

    def ask() -> Finding:
        client.query("SELECT 1", job_config=bigquery.QueryJobConfig(dry_run=True))
        try:
            client.get_dataset(dataset)
        except exceptions.NotFound:
            return Finding("warehouse", f"{address} will be made")
        return Finding("warehouse", f"{address} is there")

    return attempt("warehouse", setting, ask)
