"""What is asked of Google Cloud, and how its answers are told."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from told_settings import told

from beam_jobs.preflight.findings import Finding
from beam_jobs.preflight.google_checks import (
    attempt,
    check_bigquery,
    check_bucket,
    check_services,
)

NOW = 1_764_000_000.0
ROOT = "gs://bucket/runs"


class Bucket:
    """Stands in for google-cloud-storage."""

    def __init__(self, *, error: Exception | None = None, ahead_s: float = 0) -> None:
        self.error = error
        self.names: list[str] = []
        self.deleted: list[str] = []
        self.updated = datetime.datetime.fromtimestamp(NOW + ahead_s, datetime.UTC)

    def bucket(self, name: str) -> Any:
        assert name == "bucket"
        return SimpleNamespace(blob=self.blob)

    def blob(self, name: str) -> Any:
        return SimpleNamespace(
            upload_from_string=lambda *_, **__: self.upload(name),
            delete=lambda **_: self.deleted.append(name),
            updated=self.updated,
        )

    def upload(self, name: str) -> None:
        if self.error:
            raise self.error
        self.names.append(name)


class Session:
    """Answers by the host that is asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.urls: list[str] = []

    def get(self, url: str, *, timeout: float) -> Any:
        assert timeout
        self.urls.append(url)
        status, body = next(
            (answer for host, answer in self.answers.items() if host in url), (200, {})
        )
        answer = requests.Response()
        answer.status_code = status
        answer.request = requests.Request("GET", url).prepare()
        answer._content = json.dumps(body).encode()
        return answer


def only_failed(found: list[Finding]) -> Finding:
    (failed,) = [finding for finding in found if not finding.ok]
    return failed


def test_a_bucket_is_written_under_its_prefix_and_left_as_it_was() -> None:
    client = Bucket(ahead_s=2)
    found = check_bucket(ROOT, told("gcp"), client=client, now=NOW)
    assert all(finding.ok for finding in found)
    (name,) = client.names
    assert name.startswith("runs/.preflight-")
    assert client.deleted == [name]


def test_a_clock_that_differs_from_googles_is_told() -> None:
    client = Bucket(ahead_s=-4000)
    failed = only_failed(check_bucket(ROOT, told("gcp"), client=client, now=NOW))
    assert "differ by 4000 s, above preflight.max_clock_skew_s 300" in failed.message


@pytest.mark.parametrize(
    ("error", "words", "may_pass"),
    [
        (exceptions.NotFound("no bucket"), "gs://bucket/runs does not exist", False),
        (exceptions.Forbidden("no"), "gs://bucket/runs is refused to this", False),
        (RefreshError("invalid_grant"), "missing, expired or revoked", False),
        (DefaultCredentialsError("none"), "missing, expired or revoked", False),
        (exceptions.Unauthorized("401"), "missing, expired or revoked", False),
        (exceptions.ServiceUnavailable("503"), "cannot be reached", True),
        (requests.exceptions.ConnectionError("dns"), "cannot be reached", True),
    ],
)
def test_a_bucket_that_cannot_be_had_names_the_setting_and_why(
    error: Exception, words: str, may_pass: bool
) -> None:
    client = Bucket(error=error)
    failed = only_failed(check_bucket(ROOT, told("gcp"), client=client, now=NOW))
    assert failed.message.startswith("root (settings file ")
    assert "gcp.yaml" in failed.message
    assert words in failed.message
    assert failed.may_pass is may_pass


def test_what_is_no_fault_of_googles_is_not_told_as_one() -> None:
    def broken() -> Finding:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attempt("root", "root", broken)


QUOTAS = {
    "quotas": [
        {"metric": "CPUS", "limit": 400, "usage": 100},
        {"metric": "NVIDIA_L4_GPUS", "limit": 8, "usage": 0},
    ]
}


def services(session: Session, **changes: Any) -> list[Finding]:
    return list(check_services(told("gcp", **changes), session=session))


def test_services_and_quotas_of_the_project_are_asked() -> None:
    session = Session(**{"compute.": (200, QUOTAS)})
    assert all(finding.ok for finding in services(session))
    assert len(session.urls) == 3
    for url in session.urls:
        assert "complete-the-look" in url
        assert "europe-west1" in url


def test_a_wrong_project_names_the_setting() -> None:
    session = Session(
        **{"dataflow.": (404, {"error": {"message": "project not found"}})},
        **{"compute.": (200, QUOTAS)},
    )
    failed = only_failed(services(session))
    assert failed.message.startswith("beam.dataflow.project, beam.dataflow.region of ")
    assert "does not exist" in failed.message
    assert not failed.may_pass


def test_a_service_that_is_refused_names_the_setting() -> None:
    session = Session(
        **{"aiplatform.": (403, {"error": {"message": "API not enabled"}})},
        **{"compute.": (200, QUOTAS)},
    )
    failed = only_failed(services(session))
    assert failed.message.startswith("training.vertex.project")
    assert "is refused to this account" in failed.message


def test_a_quota_that_others_use_up_names_the_setting_and_may_pass() -> None:
    session = Session(**{"compute.": (200, QUOTAS)})
    failed = only_failed(services(session, min_quota={"CPUS": 350, "IN_USE": 1}))
    assert failed.message.startswith("preflight.min_quota of ")
    assert "300 CPUS are left, 350 wanted; 0 IN_USE are left, 1 wanted" in (
        failed.message
    )
    assert failed.may_pass


def _raises(error: Exception) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


ADDRESS = "bigquery://project/shop?location=EU"


def test_a_warehouse_that_is_not_there_yet_will_be_made() -> None:
    def client(found: Callable[..., Any]) -> Any:
        return SimpleNamespace(query=lambda *_, **__: None, get_dataset=found)

    def look(client: Any) -> Finding:
        return check_bigquery(ADDRESS, told("gcp"), dataset="shop", client=client)

    assert look(client(lambda name: name)).ok
    absent = client(_raises(exceptions.NotFound("shop")))
    assert look(absent).message == f"{ADDRESS} will be made"


def test_a_warehouse_without_permission_names_the_setting() -> None:
    client = SimpleNamespace(query=_raises(exceptions.Forbidden("no jobs.create")))
    found = check_bigquery(ADDRESS, told("gcp"), dataset="shop", client=client)
    assert found.message.startswith("warehouse (settings file ")
    assert "is refused to this account" in found.message
