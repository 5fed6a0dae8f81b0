"""Stand an environment up in Google Cloud, or bring it up to date: `make deploy`.

    python -m infra.deployment.deploy --environment gcp

Builds and pushes the images whose content is new, shows Terraform's plan, applies it
once a person has typed the environment's name, fills secrets that are empty, and starts
Airflow's machine again where its image is new. What is missing is told before anything
is done. docs/deploy.md has every step.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from infra.deployment.airflow_machine import find_machine, restart_if_changed
from infra.deployment.airflow_secrets import fill_secrets
from infra.deployment.commands import Shell
from infra.deployment.images import misnamed, push_image
from infra.deployment.terraform import FOLDER as TERRAFORM
from infra.deployment.terraform import Terraform
from tfrecords_schema import cli
from tfrecords_schema.errors import InputError, exit_on_input_error

log = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = ("terraform", "docker", "gcloud", "git")
_NO_IMAGE = "europe-docker.pkg.dev/none/none/none@sha256:" + "0" * 64


def obstacles(
    environment: str,
    project: Path,
    *,
    which: Callable[[str], str | None] = shutil.which,
) -> Iterator[str]:
    """What stands in the way, each in a sentence that says what to do.

    Args:
        environment: its name.
        project: folder of the project.
        which: finds a program.
    """
    if not environment:
        yield "no environment is given; call make deploy ENV=gcp"
        return
    if not environment.replace("-", "").isalnum():
        yield f"ENV={environment!r} is not a name of letters, digits and hyphens"
        return
    for tool in TOOLS:
        if which(tool) is None:
            yield f"the program {tool} is not installed, or not on the PATH"
    example = f"{TERRAFORM}/environments/gcp"
    for path, remedy in (
        (f"infra/settings/{environment}.yaml", "copy infra/settings/gcp.yaml"),
        (
            f"{TERRAFORM}/environments/{environment}.tfvars",
            f"copy {example}.tfvars.example",
        ),
        (
            f"{TERRAFORM}/environments/{environment}.backend.hcl",
            f"copy {example}.backend.hcl.example",
        ),
    ):
        if not (project / path).is_file():
            yield f"{path} does not exist; {remedy} and put your own values in"


def require_no_changes(shell: Shell) -> None:
    """Refuse a work tree that no commit describes.

    Raises:
        InputError: there are changes.
    """
    changes = shell.output("git", "status", "--porcelain").strip()
    if changes:
        raise InputError(
            "the work tree has changes, and images are named by what is committed; "
            f"commit or stash them:\n{changes}"
        )


def differing(settings: Mapping[str, Any], outputs: Mapping[str, Any]) -> Iterator[str]:
    """Settings that name other places than Terraform has made."""
    made = {name: output["value"] for name, output in outputs.items()}
    accounts = made["service_accounts"]
    dataflow = settings["beam"].get("dataflow") or {}
    vertex = settings["training"].get("vertex") or {}
    for key, found, expected in (
        ("root", settings["root"], made["root"]),
        ("warehouse", settings["warehouse"], made["warehouse"]),
        (
            "beam.dataflow.service_account",
            dataflow.get("service_account"),
            accounts["dataflow-worker"],
        ),
        ("beam.dataflow.subnetwork", dataflow.get("subnetwork"), made["subnetwork"]),
        (
            "training.vertex.service_account",
            vertex.get("service_account"),
            accounts["trainer"],
        ),
    ):
        if found is not None and found != expected:
            yield f"{key} is {found}; this deployment has {expected}"


def require_none(found: Iterator[str], what: str) -> None:
    """Stop where there is anything.

    Raises:
        InputError: with all of it.
    """
    told = list(found)
    if told:
        raise InputError("\n".join([what, *(f"  - {line}" for line in told)]))


def deploy(environment: str, project: Path, shell: Shell) -> None:
    """Do everything, as docs/deploy.md has it.

    Raises:
        InputError: something is missing, or nobody agreed.
    """
    require_no_changes(shell)
    path = project / "infra" / "settings" / f"{environment}.yaml"
    settings: dict[str, Any] = yaml.safe_load(path.read_text())
    terraform = Terraform(environment, shell)
    terraform.begin()
    if "images" not in terraform.outputs():
        log.info("first the registry, as images must be somewhere")
        _agreed(
            terraform.apply(
                _NO_IMAGE,
                "google_artifact_registry_repository.images",
            )
        )
    registry = str(terraform.outputs()["images"]["value"])
    images = {
        image: push_image(image, registry, shell)
        for image in ("beam-worker", "trainer")
    }
    require_none(
        misnamed(settings, images),
        f"{path.name} names other images than this commit's; change it, commit, and "
        "call make deploy again:",
    )
    project_id = registry.split("/")[1]
    airflow = push_image("airflow", registry, shell)
    before = find_machine(terraform.outputs(), project_id, shell)
    _agreed(terraform.apply(airflow))
    # At once: a new machine tries to start until they are filled.
    fill_secrets(project_id, shell)
    outputs = terraform.outputs()
    restart_if_changed(before, find_machine(outputs, project_id, shell), shell)
    require_none(
        differing(settings, outputs),
        f"{path.name} names other places than there are; change it, commit, and call "
        "make deploy again:",
    )
    log.info("deployed; docs/deploy.md says how to open Airflow's page")


def _agreed(done: bool) -> None:
    if not done:
        raise InputError("nobody agreed to the plan; nothing of it was applied")


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    cli.configure_logging("deploy", argv)
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--environment", required=True, help="of infra/settings")
    options = parser.parse_args(argv)
    require_none(obstacles(options.environment, PROJECT), "cannot deploy:")
    if not sys.stdin.isatty():
        raise InputError("make deploy asks before it applies; call it at a terminal")
    deploy(options.environment, PROJECT, Shell(PROJECT))


if __name__ == "__main__":
    exit_on_input_error(main)
