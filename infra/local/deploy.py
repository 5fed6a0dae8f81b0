"""Stand an environment up in Google Cloud, or bring it up to date: `make deploy`.

    python -m infra.local.deploy --environment gcp

Builds and pushes the images whose content is new, shows Terraform's plan, applies it
once a person has typed the environment's name, and fills secrets that are empty. What
is missing is told before anything is done. docs/deploy.md has every step by hand.
"""

from __future__ import annotations

import argparse
import base64
import logging
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from infra.local.commands import Shell
from infra.local.terraform import FOLDER as TERRAFORM
from infra.local.terraform import Terraform
from tfrecords_schema import cli
from tfrecords_schema.errors import InputError, exit_on_input_error

log = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = ("terraform", "docker", "gcloud", "git")
# What an image is made of; its tag follows from the content.
SHARED = (
    *("setup.py", "pyproject.toml", ".dockerignore", "infra/local/uv.txt"),
    *("infra/__init__.py", "infra/validation", "infra/warehouse"),
    *("beam_jobs", "tfrecords_schema", "trainer"),
)
INPUTS = {
    "beam-worker": ("infra/docker/beam-worker.Dockerfile", "infra/docker/jobs.txt"),
    "trainer": ("infra/docker/trainer.Dockerfile", "infra/docker/trainer.txt"),
    "airflow": (
        *("infra/docker/airflow.Dockerfile", "infra/docker/airflow.txt"),
        *("infra/docker/jobs.txt", "dags", "infra/settings"),
    ),
}
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


def tag_of(image: str, shell: Shell) -> str:
    """A tag that follows from the committed content that an image is made of."""
    objects = [
        shell.output("git", "rev-parse", f"HEAD:{path}").strip()
        for path in (*SHARED, *INPUTS[image])
    ]
    return shell.output(
        "git", "hash-object", "--stdin", stdin="\n".join(objects)
    ).strip()[:16]


def push_image(image: str, registry: str, shell: Shell) -> str:
    """Have an image in the registry; its name with the digest.

    Args:
        image: which.
        registry: host, project and repository.
        shell: runs programs.
    """
    name = f"{registry}/{image}"
    tagged = f"{name}:{tag_of(image, shell)}"
    digest = _digest(tagged, shell)
    if digest is None:
        log.info("building %s", tagged)
        dockerfile = f"infra/docker/{image}.Dockerfile"
        shell.run(
            "docker",
            "build",
            "--platform=linux/amd64",
            f"--file={dockerfile}",
            f"--tag={tagged}",
            ".",
        )
        shell.run("docker", "push", tagged)
        digest = _digest(tagged, shell)
    if digest is None:
        raise InputError(f"{tagged} was pushed, and the registry does not have it")
    return f"{name}@{digest}"


def _digest(tagged: str, shell: Shell) -> str | None:
    """Of an image in the registry; None where it is not there."""
    told = shell.find_output(
        "gcloud",
        "artifacts",
        "docker",
        "images",
        "describe",
        tagged,
        "--format=value(image_summary.digest)",
    )
    return told.strip() if told and told.strip() else None


def misnamed(settings: Mapping[str, Any], images: Mapping[str, str]) -> Iterator[str]:
    """Settings that name other images than those of this commit."""
    for key, part, image in (
        ("beam.dataflow.worker_image", "beam", "beam-worker"),
        ("training.vertex.image", "training", "trainer"),
    ):
        _, service, name = key.split(".")
        found = (settings[part].get(service) or {}).get(name)
        if found is not None and found != images[image]:
            yield f"{key} is {found}; set it to {images[image]}"


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


def fill_secrets(project_id: str, region: str, shell: Shell) -> None:
    """Give a value to each secret of Airflow's that has none.

    Values go through pipes and bodies of requests, never into arguments, which others
    on this machine could read, nor into Terraform's state.
    """
    keys = {
        "airflow-config-fernet-key": base64.urlsafe_b64encode(
            secrets.token_bytes(32)
        ).decode(),
        "airflow-config-session-key": secrets.token_urlsafe(32),
        "airflow-config-token-key": secrets.token_urlsafe(64),
    }
    for name, value in keys.items():
        if not _has_version(name, project_id, shell):
            _add_version(name, value, project_id, shell)
    name = "airflow-config-database-url"
    if not _has_version(name, project_id, shell):
        password = secrets.token_urlsafe(32)
        instance = f"projects/{project_id}/instances/complete-the-look-airflow"
        shell.post(
            f"https://sqladmin.googleapis.com/v1/{instance}/users",
            {"name": "airflow", "password": password},
        )
        address = shell.output(
            "gcloud",
            "sql",
            "instances",
            "describe",
            "complete-the-look-airflow",
            f"--project={project_id}",
            "--format=value(ipAddresses[0].ipAddress)",
        ).strip()
        url = f"postgresql+psycopg2://airflow:{password}@{address}/airflow?sslmode=require"
        _add_version(name, url, project_id, shell)
    log.info("every secret of %s in %s has a value", project_id, region)


def _has_version(name: str, project_id: str, shell: Shell) -> bool:
    told = shell.output(
        "gcloud",
        "secrets",
        "versions",
        "list",
        name,
        f"--project={project_id}",
        "--filter=state=enabled",
        "--format=value(name)",
    )
    return bool(told.strip())


def _add_version(name: str, value: str, project_id: str, shell: Shell) -> None:
    shell.output(
        "gcloud",
        "secrets",
        "versions",
        "add",
        name,
        f"--project={project_id}",
        "--data-file=-",
        stdin=value,
    )
    log.info("secret %s has a value now", name)


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
    airflow = push_image("airflow", registry, shell)
    _agreed(terraform.apply(airflow))
    require_none(
        differing(settings, terraform.outputs()),
        f"{path.name} names other places than there are; change it, commit, and call "
        "make deploy again:",
    )
    region, _, rest = registry.partition("-docker.pkg.dev/")
    fill_secrets(rest.partition("/")[0], region, shell)
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
