"""Images of the project: what they are made of, and how they get into the registry."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from infra.deployment.commands import Shell
from tfrecords_schema.errors import InputError

log = logging.getLogger(__name__)

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
