"""The Terraform configuration, held against rules and the provider's own schema."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from settings_file import gcp_settings
from terraform_config import (
    FOLDER,
    PROJECT,
    configuration,
    evaluated,
    faults,
    parse,
    provider_schema,
    references,
)

BASIC_ROLES = re.compile(r"roles/(owner|editor|viewer)\b")
TASK_LOGS = "${local.task_logs_prefix}/"
BUCKETS = ["google_storage_bucket.catalog", "google_storage_bucket.data"]


def values(body: Any) -> list[Any]:
    """All values inside of a body."""
    if isinstance(body, dict):
        return [value for inner in body.values() for value in values(inner)]
    if isinstance(body, list):
        return [value for inner in body for value in values(inner)]
    return [body]


@pytest.mark.parametrize("address", sorted(configuration().resources))
def test_resource_has_the_arguments_that_the_provider_knows(address: str) -> None:
    resource = configuration().resources[address]
    schema = provider_schema()[resource.kind]
    assert list(faults(resource.body, schema, address)) == []


def test_wrong_and_missing_arguments_are_found() -> None:
    wrong = parse(
        [
            'resource "google_storage_bucket" "x" {\n  name = "x"\n  versions = true\n'
            "  versioning {\n    on = true\n  }\n}"
        ]
    ).resources["google_storage_bucket.x"]
    schema = provider_schema()["google_storage_bucket"]
    assert sorted(faults(wrong.body, schema, "x")) == [
        "x.location is missing",
        "x.versioning.enabled is missing",
        "x.versioning.on is unknown",
        "x.versions is unknown",
    ]


def test_every_reference_resolves() -> None:
    found = configuration()
    assert references(found.text) <= set(found.resources)
    assert set(re.findall(r"\blocal\.(\w+)", found.text)) <= set(found.local_values)
    assert set(re.findall(r"\bvar\.(\w+)", found.text)) <= set(found.variables)


def test_every_variable_and_local_value_is_used() -> None:
    found = configuration()
    # A variable's own validation is no use of it.
    elsewhere = "".join(
        path.read_text() for path in FOLDER.glob("*.tf") if path.name != "variables.tf"
    )
    used = set(re.findall(r"\bvar\.(\w+)", elsewhere))
    assert used == set(found.variables)
    assert set(re.findall(r"\blocal\.(\w+)", elsewhere)) == set(found.local_values)


@pytest.mark.parametrize("name", sorted(configuration().variables))
def test_variable_is_described_typed_and_validated(name: str) -> None:
    variable = configuration().variables[name]
    assert len(variable["description"]) > 15
    assert variable["type"]
    if variable["type"] == "set(string)" and name == "report_readers":
        assert "allUsers" in variable["validation"][0]["error_message"]
    (validation,) = variable["validation"]
    assert name in validation["condition"]
    assert name in validation["error_message"]


@pytest.mark.parametrize("name", sorted(configuration().outputs))
def test_output_is_described(name: str) -> None:
    assert configuration().outputs[name]["description"]


def test_buckets_are_private_uniform_versioned_and_tidy() -> None:
    found = {
        one.address: one.body
        for one in configuration().of_kind("google_storage_bucket")
    }
    assert sorted(found) == BUCKETS
    for body in found.values():
        assert body["uniform_bucket_level_access"] is True
        assert body["public_access_prevention"] == "enforced"
        assert body["force_destroy"] is False
        assert body["versioning"] == [{"enabled": True}]
        actions = [rule["action"][0]["type"] for rule in body["lifecycle_rule"]]
        assert "AbortIncompleteMultipartUpload" in actions


def test_no_bucket_deletes_what_is_published_by_age() -> None:
    for bucket in configuration().of_kind("google_storage_bucket"):
        for rule in bucket.body["lifecycle_rule"]:
            (condition,), (action,) = rule["condition"], rule["action"]
            if action["type"] != "Delete" or condition.get("with_state") == "ARCHIVED":
                continue
            # What services and Airflow leave behind; nothing of the root lies there.
            for prefix in condition["matches_prefix"]:
                assert prefix in ("dataflow/", "aiplatform-", TASK_LOGS)


def test_nobody_has_a_basic_role_and_nothing_is_public() -> None:
    text = configuration().text.replace("allUsers and allAuthenticatedUsers are", "")
    assert not BASIC_ROLES.search(text)
    assert "allUsers" not in text
    assert "allAuthenticatedUsers" not in text


def test_no_key_and_no_value_of_a_secret_is_made() -> None:
    kinds = {one.kind for one in configuration().resources.values()}
    assert not kinds & {
        "google_service_account_key",
        "google_secret_manager_secret_version",
        "google_sql_user",
    }
    assert not any(
        name.endswith("password") or name == "secret_data"
        for one in configuration().resources.values()
        for name in one.body
    )


def test_no_machine_has_a_public_address() -> None:
    (machine,) = configuration().of_kind("google_compute_instance")
    assert all("access_config" not in one for one in machine.body["network_interface"])
    (database,) = configuration().of_kind("google_sql_database_instance")
    (settings,) = database.body["settings"]
    assert settings["ip_configuration"][0]["ipv4_enabled"] is False


def test_only_the_workers_subnet_reaches_the_internet() -> None:
    (nat,) = configuration().of_kind("google_compute_router_nat")
    assert nat.body["source_subnetwork_ip_ranges_to_nat"] == "LIST_OF_SUBNETWORKS"
    assert [one["name"] for one in nat.body["subnetwork"]] == [
        "${google_compute_subnetwork.workers.id}"
    ]


def test_nothing_is_let_in_but_workers_and_googles_proxy() -> None:
    allowed = [
        one.body
        for one in configuration().of_kind("google_compute_firewall")
        if one.body["direction"] == "INGRESS" and "allow" in one.body
    ]
    sources = [body.get("source_tags") or body.get("source_ranges") for body in allowed]
    assert sorted(map(str, sources)) == ["${local.proxy_ranges}", "['dataflow']"]
    assert configuration().local_values["proxy_ranges"] == ["35.235.240.0/20"]


def test_everything_that_takes_labels_has_them() -> None:
    (provider,) = configuration().others["provider"]
    assert provider["google"]["default_labels"] == "${local.labels}"
    for one in configuration().resources.values():
        if "user_labels" in provider_schema()[one.kind]:
            assert one.body["user_labels"] == "${local.labels}", one.address
    (database,) = configuration().of_kind("google_sql_database_instance")
    assert database.body["settings"][0]["user_labels"] == "${local.labels}"


def test_only_the_publisher_writes_published_tables() -> None:
    writers = [
        one.body["member"]
        for one in configuration().of_kind("google_bigquery_dataset_iam_member")
        if one.body["role"] in ("roles/bigquery.dataEditor", "roles/bigquery.dataOwner")
    ]
    assert writers == ['${google_service_account.this["publisher"].member}']
    roles = configuration().local_values["project_roles"]
    assert not any("dataEditor" in role for of_one in roles.values() for role in of_one)


def test_data_sets_are_those_that_publishing_uses() -> None:
    from beam_jobs.publishing.bigquery_address import parse_address

    address = parse_address("bigquery://some-project/shop")
    expected = {
        kind: getattr(address, kind).partition(".")[2]
        for kind in ("published", "staging", "backup")
    }
    named = configuration().local_values["datasets"]
    found = {kind: evaluated(text, dataset="shop") for kind, text in named.items()}
    assert found == expected


def test_every_exception_from_a_check_gives_a_reason() -> None:
    for one in configuration().resources.values():
        for comment in one.comments:
            if comment.startswith("checkov:"):
                assert re.fullmatch(r"checkov:skip=CKV2?_GCP_\d+:.{20,}\.", comment)


def test_examples_of_values_name_variables(tmp_path: Path) -> None:
    example = (FOLDER / "environments" / "gcp.tfvars.example").read_text()
    given = set(re.findall(r"^(\w+) +=", example, re.MULTILINE))
    variables = configuration().variables
    assert given <= set(variables)
    needed = {name for name, one in variables.items() if "default" not in one}
    # `make deploy` gives the image, once it is pushed.
    assert needed - given == {"airflow_image"}


def test_settings_name_what_is_made() -> None:
    settings = gcp_settings()
    dataflow = settings["beam"]["dataflow"]
    project, region = dataflow["project"], dataflow["region"]
    found = configuration()
    variables = {"project_id": project, "region": region}

    bucket = evaluated(found.resources[BUCKETS[1]].body["name"], **variables)
    assert settings["root"] == f"gs://{bucket}/runs"
    catalog = evaluated(found.resources[BUCKETS[0]].body["name"], **variables)
    assert settings["catalog"]["uri"].startswith(f"gs://{catalog}/")
    temporary = dataflow["temp_location"].removeprefix(f"gs://{bucket}/")
    assert f"{temporary}/".startswith("dataflow/")

    accounts = found.local_values["accounts"]
    for used in (dataflow, settings["training"]["vertex"]):
        name, _, domain = used["service_account"].partition("@")
        assert name in accounts
        assert domain == f"{project}.iam.gserviceaccount.com"
    subnet = found.resources["google_compute_subnetwork.workers"].body["name"]
    assert dataflow["subnetwork"] == f"regions/{region}/subnetworks/{subnet}"

    repository = found.resources["google_artifact_registry_repository.images"].body
    images = f"{region}-docker.pkg.dev/{project}/{repository['repository_id']}/"
    for image in (dataflow["worker_image"], settings["training"]["vertex"]["image"]):
        assert image.startswith(images)
        name = re.split("[:@]", image.removeprefix(images))[0]
        assert (PROJECT / "infra" / "docker" / f"{name}.Dockerfile").is_file()
    dataset = found.variables["dataset"]["default"]
    assert settings["warehouse"].startswith(f"bigquery://{project}/{dataset}?")


@pytest.mark.skipif(not shutil.which("terraform"), reason="there is no terraform here")
def test_files_are_formatted_as_terraform_does() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", str(FOLDER)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_workers_reach_nothing_private_but_each_other() -> None:
    rules = {
        one.name: one.body
        for one in configuration().of_kind("google_compute_firewall")
        if one.body["direction"] == "EGRESS"
    }
    denied, allowed = rules["workers_to_private"], rules["workers_among_themselves"]
    assert denied["deny"] == [{"protocol": "all"}]
    assert denied["destination_ranges"] == "${local.private_ranges}"
    assert allowed["destination_ranges"] == ["${local.workers_range}"]
    assert allowed["priority"] < denied["priority"]
    assert denied["target_tags"] == allowed["target_tags"] == ["dataflow"]


def test_readers_read_the_published_data_set_and_nothing_else() -> None:
    grants = {
        one.name: one.body
        for one in configuration().of_kind("google_bigquery_dataset_iam_member")
    }
    readers = grants["readers"]
    assert readers["role"] == "roles/bigquery.dataViewer"
    assert 'this["published"]' in readers["dataset_id"]
    assert set(grants) == {"publisher", "readers"}
    assert configuration().local_values["project_roles"]["report-reader"] == [
        "roles/bigquery.jobUser"
    ]
