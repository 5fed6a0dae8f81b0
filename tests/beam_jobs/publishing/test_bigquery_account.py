"""Publishing as another service account: `&as=…` of a warehouse's address."""

from __future__ import annotations

import google.auth
import pytest
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials

from beam_jobs.publishing.bigquery_address import make_client, parse_address
from tfrecords_schema.errors import InputError

ACCOUNT = "publisher@my-project.iam.gserviceaccount.com"
ADDRESS = f"bigquery://my-project/shop?location=EU&as={ACCOUNT}"


class OwnCredentials(AnonymousCredentials):
    """Of the environment; they ask nothing over the network."""


def test_account_of_the_address_is_the_one_whose_tokens_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = OwnCredentials()
    monkeypatch.setattr(google.auth, "default", lambda scopes: (own, "other"))
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    client = make_client(parse_address(ADDRESS))
    credentials = client._credentials
    assert isinstance(credentials, impersonated_credentials.Credentials)
    assert credentials.service_account_email == ACCOUNT
    assert isinstance(credentials._source_credentials, OwnCredentials)
    assert (client.project, client.location) == ("my-project", "EU")


def test_emulator_is_sent_no_credentials_whatever_the_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
    client = make_client(parse_address(ADDRESS))
    assert isinstance(client._credentials, AnonymousCredentials)


@pytest.mark.parametrize(
    "account",
    ["", "me", "me@example.com", "a@b.iam.gserviceaccount.com.evil.example", "a b@c"],
)
def test_what_is_no_service_account_is_refused(account: str) -> None:
    with pytest.raises(InputError, match="&as="):
        parse_address(f"bigquery://my-project/shop?as={account}")
