"""The nightly DAG: what it wires, and what its parameters may be."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import pytest

from beam_jobs.fetching.fetch_work import Retry
from beam_jobs.mining.negatives import Strategy

TASKS = [
    *("preflight", "fetch_images", "build_dataset", "validate_dataset"),
    *("extract_features", "what_is_new", "train", "evaluate", "gate", "promote"),
    "offer_catalog",
]


@pytest.fixture
def dag(local: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = local["dags"]["nightly_retrain"]
    return found


def test_tasks_follow_each_other(dag: dict[str, Any]) -> None:
    assert sorted(dag["tasks"]) == sorted(TASKS)
    for before, after in zip([None, *TASKS], TASKS, strict=False):
        assert dag["tasks"][after]["upstream"] == ([before] if before else [])


def test_a_skipped_promotion_still_offers_the_catalogue(dag: dict[str, Any]) -> None:
    assert dag["tasks"]["offer_catalog"]["trigger_rule"] == "none_failed"
    # Whatever else fails or is skipped must stop what comes after it.
    others = {
        t["trigger_rule"] for n, t in dag["tasks"].items() if n != "offer_catalog"
    }
    assert others == {"all_success"}


def test_events_hand_over_everything_that_an_export_needs(dag: dict[str, Any]) -> None:
    for name in ("promote", "offer_catalog"):
        assert sorted(dag["tasks"][name]["event_extra"]) == [
            *("catalog", "domain", "root", "run_date", "warehouse")
        ]


def test_hosts_that_may_be_private_are_none_unless_they_are_named(
    dag: dict[str, Any],
) -> None:
    options = dag["tasks"]["fetch_images"]["options"]
    assert options["allow_hosts"] == "{{ params.allow_hosts }}"
    assert dag["params"]["allow_hosts"] == ""
    pattern = dag["schemas"]["allow_hosts"]["pattern"]
    for value in ("", "cdn.local", "10.0.0.7:8080,[::1]:80"):
        assert re.search(pattern, value), value
    for value in ("a b", "$(x)", "a;b", "http://a/"):
        assert not re.search(pattern, value), value


def test_the_baseline_of_validation_is_a_parameter_and_safe_in_a_path(
    dag: dict[str, Any],
) -> None:
    task = dag["tasks"]["validate_dataset"]
    assert "{{ params.validation_baseline }}" in task["env"].values()
    assert "`validation_baseline` set to `none`" in task["doc"]
    assert dag["params"]["validation_baseline"] == "previous"
    pattern = dag["schemas"]["validation_baseline"]["pattern"]
    for value in ("previous", "none", "fashion-41e3cf012875"):
        assert re.search(pattern, value), value
    for value in ("", "../models", "a/b", "-x", "a b"):
        assert not re.search(pattern, value), value


@pytest.mark.parametrize(
    ("name", "stage", "choices"),
    [
        ("negative_strategy", "build_dataset", Strategy),
        ("retry", "fetch_images", Retry),
    ],
)
def test_choices_of_a_job_are_parameters(
    name: str, stage: str, choices: type[StrEnum], dag: dict[str, Any]
) -> None:
    assert dag["schemas"][name]["enum"] == [choice.value for choice in choices]
    assert dag["params"][name] == next(iter(choices))
    assert dag["tasks"][stage]["options"][name] == f"{{{{ params.{name} }}}}"


def test_hosts_may_be_told_whom_to_ask(dag: dict[str, Any]) -> None:
    options = dag["tasks"]["fetch_images"]["options"]
    assert options["contact"] == "{{ params.contact }}"
    assert dag["params"]["contact"] == ""
    pattern = dag["schemas"]["contact"]["pattern"]
    for value in ("", "crawl@example.com", "https://example.com/crawl"):
        assert re.search(pattern, value), value
    for value in ("me", "a b@example.com", "é@example.com"):
        assert not re.search(pattern, value), value


@pytest.mark.parametrize("name", ["root", "catalog"])
def test_no_path_may_be_relative(name: str, dag: dict[str, Any]) -> None:
    pattern = dag["schemas"][name]["pattern"]
    for value in ("/data/runs", "gs://bucket/runs"):
        assert re.search(pattern, value), value
    for value in ("", "runs", "./runs", "C:\\runs"):
        assert not re.search(pattern, value), value
