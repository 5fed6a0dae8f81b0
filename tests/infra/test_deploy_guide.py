"""docs/deploy.md: steps whose order matters, and what it says of other files."""

from __future__ import annotations

import re

import pytest
from dockerfiles import PROJECT

DEPLOY = (PROJECT / "docs" / "deploy.md").read_text()
RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text()


def in_order(text: str, *words: str) -> bool:
    """Whether all words are there, the first mention of each after that before."""
    places = [text.find(word) for word in words]
    return -1 not in places and places == sorted(places)


def section(text: str, title: str) -> str:
    """Of a document, without those of a higher level behind it."""
    found = re.search(rf"^##? {title}\n(.*?)(?=^##? |\Z)", text, re.DOTALL | re.M)
    assert found is not None, title
    return found[1]


@pytest.mark.parametrize(
    "text",
    [section(DEPLOY, "After"), section(RUNBOOK, "Draining")],
    ids=["deployed", "drained"],
)
def test_exports_listen_before_a_night_can_offer_them_anything(text: str) -> None:
    """An event for a DAG that is paused is lost."""
    assert in_order(
        text, "airflow dags unpause export_rankings", "airflow dags unpause nightly"
    )
    assert "trigger nightly_retrain" not in text


def test_protection_goes_before_terraform_forgets_and_destroys() -> None:
    text = section(DEPLOY, "Taking it down")
    assert in_order(text, "unprotected = [", "terraform state rm", "terraform destroy")


def test_machine_moves_once_its_protection_is_gone() -> None:
    text = section(RUNBOOK, "Another zone")
    assert in_order(text, 'unprotected = ["machine"]', "set `zone`", "remove `unpro")
    for lost in ("passwords", "logs"):
        assert lost in text.partition("What is lost")[2]


def test_settings_say_where_their_keys_are_explained() -> None:
    for file in (PROJECT / "infra" / "settings").glob("*.yaml"):
        head = file.read_text().partition("root:")[0]
        for name in ("environment.py", "engine_settings.py"):
            assert name in head
            module = PROJECT / "dags" / "complete_the_look" / name
            assert "Attributes:" in module.read_text()
