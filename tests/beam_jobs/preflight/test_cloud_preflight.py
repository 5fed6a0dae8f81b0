"""The preflight of a root in a bucket, against stand-ins for Google's libraries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import google.auth
import pytest
from etils import epath
from google.api_core import exceptions
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.cloud import storage as google_storage
from test_google_checks import Bucket
from test_preflight import run
from told_settings import settings_json, told

from beam_jobs.preflight import __main__ as preflight
from tfrecords_schema.errors import InputError, UnreachableError

ROOT = "gs://bucket/runs"
ACCOUNT = "publisher@some-project.iam.gserviceaccount.com"


def refuse(path: object) -> bool:
    raise OSError(f"permission denied when reading {path}")


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects cannot be read, as the library of paths finds it."""
    monkeypatch.setattr(type(epath.Path(ROOT)), "exists", refuse)


def look(tmp_path: Path, *options: str) -> None:
    run(
        tmp_path,
        f"--root={ROOT}",
        f"--warehouse={tmp_path}/none/w.duckdb",
        *options,
        settings=settings_json(min_free_gib=0),
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (exceptions.NotFound("no bucket"), f"{ROOT} does not exist"),
        (exceptions.Forbidden("no"), f"{ROOT} is refused to this account"),
        (RefreshError("invalid_grant"), "the credential of this process is missing"),
    ],
)
def test_a_bucket_that_is_not_to_be_had_is_told_with_all_else_and_not_tried_again(
    error: Exception, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(google_storage, "Client", lambda: Bucket(error=error))
    with pytest.raises(InputError) as caught:  # exit code 2
        look(tmp_path, "--catalog=gs://catalog/current")
    assert words in str(caught.value)
    for name in ("root: ", "warehouse: ", "catalogue: "):
        assert name in str(caught.value), name


def test_no_credential_at_all_is_told_with_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def client() -> Any:
        raise DefaultCredentialsError("none were found")

    monkeypatch.setattr(google_storage, "Client", client)
    with pytest.raises(InputError, match=r"gcloud auth.*; warehouse: "):
        look(tmp_path)


def test_a_store_that_does_not_answer_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = exceptions.ServiceUnavailable("503")
    monkeypatch.setattr(google_storage, "Client", lambda: Bucket(error=error))
    (tmp_path / "none").mkdir()
    with pytest.raises(UnreachableError, match=f"{ROOT} cannot be reached"):
        look(tmp_path)


def test_a_bucket_that_only_this_jobs_library_cannot_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead_s = time.time() - 1_764_000_000.0
    monkeypatch.setattr(google_storage, "Client", lambda: Bucket(ahead_s=ahead_s))
    (tmp_path / "none").mkdir()
    with pytest.raises(UnreachableError, match=f"--root {ROOT} cannot be reached"):
        look(tmp_path)


def test_a_root_in_another_kind_of_store_is_told_with_all_else(tmp_path: Path) -> None:
    words = r"root: .*s3://bucket is neither.*warehouse: "
    with pytest.raises(InputError, match=words):
        look(tmp_path, "--root=s3://bucket")


def test_the_warehouse_is_asked_with_a_token_of_the_account_that_publishes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def refresh(self: impersonated_credentials.Credentials, request: object) -> None:
        asked.append(self.service_account_email)
        raise RefreshError("Unable to acquire impersonated credentials", "denied")

    own = AnonymousCredentials()
    monkeypatch.setattr(google.auth, "default", lambda **_: (own, "some-project"))
    monkeypatch.setattr(impersonated_credentials.Credentials, "refresh", refresh)
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    address = f"bigquery://some-project/shop?location=EU&as={ACCOUNT}"
    found = preflight._warehouse(address, told("gcp"))
    assert asked == [ACCOUNT]
    assert not found.ok
    assert f"warehouse (settings file {told('gcp').file}" in found.message
    assert "grant it roles/iam.serviceAccountTokenCreator" in found.message


def test_an_address_that_is_none_names_the_setting() -> None:
    found = preflight._warehouse("bigquery://shop", told("gcp"))
    assert not found.ok
    assert found.message.startswith("warehouse (settings file ")
