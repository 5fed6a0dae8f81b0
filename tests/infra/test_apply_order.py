"""What `terraform apply` makes first, replaces, and may not remove."""

from __future__ import annotations

import pytest
from terraform_config import Configuration, Resource, configuration, references

SERVICES = "google_project_service.required"


def texts(body: object) -> list[str]:
    """All texts inside of a body."""
    if isinstance(body, dict):
        return [text for inner in body.values() for text in texts(inner)]
    if isinstance(body, list):
        return [text for inner in body for text in texts(inner)]
    return [body] if isinstance(body, str) else []


def waits_for(resource: Resource, found: Configuration) -> set[str]:
    """Addresses that must be there before a resource is made, near and far."""
    known: set[str] = set()
    new = references(" ".join(texts(resource.body)))
    while new:
        known |= new
        bodies = (found.resources[address].body for address in new)
        new = references(" ".join(text for body in bodies for text in texts(body)))
        new -= known
    return known


@pytest.mark.parametrize("address", sorted(set(configuration().resources) - {SERVICES}))
def test_no_resource_is_made_before_the_services_are_on(address: str) -> None:
    found = configuration()
    assert SERVICES in waits_for(found.resources[address], found)


def test_a_newer_image_of_the_machines_system_does_not_replace_it() -> None:
    """The machine is protected, so that every later plan would fail, too."""
    body = configuration().resources["google_compute_instance.airflow"].body
    (disk,) = body["boot_disk"]
    assert disk["initialize_params"][0]["image"] == "cos-cloud/cos-121-lts"
    ignored = [str(one) for one in body["lifecycle"][0]["ignore_changes"]]
    assert [one.strip("${}") for one in ignored] == [
        "boot_disk[0].initialize_params[0].image"
    ]


def test_machine_and_database_are_protected_unless_they_are_named() -> None:
    found = configuration()
    for address, name in (
        ("google_compute_instance.airflow", "machine"),
        ("google_sql_database_instance.airflow", "database"),
    ):
        protection = found.resources[address].body["deletion_protection"]
        assert protection == f'${{!contains(var.unprotected, "{name}")}}'
    assert found.variables["unprotected"]["default"] == []
