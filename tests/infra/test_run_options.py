"""The options of `make run` that go to the DAG as its parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.nightly import _parser, given_parameters
from tfrecords_schema.errors import InputError


def test_only_what_was_given_reaches_the_dag() -> None:
    # As `make` passes them: an option that is not set is empty.
    options = (
        *("contact", "retry", "negatives", "baseline", "warehouse"),
        *("top-k", "filters", "attributes", "index"),
    )
    empty = [part for option in options for part in (f"--{option}", "")]
    assert given_parameters(_parser().parse_args(empty)) == {}

    given = [
        *("--allow-hosts", "cdn.local:8080,10.0.0.7"),
        *("--contact", "ops@example.org"),
        *("--retry", "failed"),
        *("--negatives", "hard"),
        *("--baseline", "none"),
        *("--warehouse", "bigquery://shop/looks?location=EU"),
        *("--top-k", "7"),
        *("--filters", "gs://shop/rules.yaml"),
        *("--index", "yes"),
    ]
    assert given_parameters(_parser().parse_args(given)) == {
        "allow_hosts": "cdn.local:8080,10.0.0.7",
        "contact": "ops@example.org",
        "retry": "failed",
        "negative_strategy": "hard",
        "validation_baseline": "none",
        "warehouse": "bigquery://shop/looks?location=EU",
        "top_k": 7,
        "filters": "gs://shop/rules.yaml",
        "index": True,
    }


def test_files_of_this_folder_are_found_from_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = _parser().parse_args(
        ["--warehouse", "shop.duckdb", "--filters", "r.yaml", "--attributes", "a.csv"]
    )
    assert given_parameters(options) == {
        "warehouse": str(tmp_path / "shop.duckdb"),
        "filters": str(tmp_path / "r.yaml"),
        "attributes": str(tmp_path / "a.csv"),
    }


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--negatives", "NEGATIVES=best is not one of uniform, popularity, hard"),
        ("--retry", "RETRY=best is not one of retryable, failed, none"),
        ("--index", "INDEX=best is not one of yes, no"),
        ("--top-k", "TOP_K=best is not a whole number"),
    ],
)
def test_value_that_does_not_exist_names_the_option(option: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        given_parameters(_parser().parse_args([option, "best"]))
