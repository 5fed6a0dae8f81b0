"""Airflow's machine: what its processes are told, and when they start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from played_deployment import PlayedShell
from terraform_config import FOLDER, configuration

from infra.deployment.airflow_secrets import fill_secrets

TEMPLATE = (FOLDER / "airflow-machine.yaml.tftpl").read_text()
VALUES = {
    **{"image": "registry/airflow@sha256:0", "registry": "registry"},
    **{"project_id": "shop-project", "settings": "shop", "users": "admin:admin"},
    **{"jobs_at_once": "4", "logs": "gs://shop-project-data/airflow-logs"},
}
PROCESSES = ["api-server", "scheduler", "dag-processor", "triggerer"]


def machine() -> dict[str, Any]:
    """The file with values put in, as cloud-init reads it."""
    text = re.sub(r"\$\{(\w+)\}", lambda found: VALUES[found[1]], TEMPLATE)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def content(path: str) -> str:
    """A file that the machine writes."""
    (one,) = (file for file in machine()["write_files"] if file["path"] == path)
    return str(one["content"])


def unit(name: str) -> list[tuple[str, str]]:
    """Settings of a unit of systemd, in their order."""
    lines = content(f"/etc/systemd/system/{name}").splitlines()
    pairs = [line.partition("=") for line in lines if re.match(r"\w+=", line)]
    return [(key, value) for key, _, value in pairs]


def test_machine_file_is_yaml_whose_values_are_all_given() -> None:
    body = configuration().resources["google_compute_instance.airflow"].body
    given = set(re.findall(r"[{,] (\w+) = ", f", {body['metadata']['user-data']}"))
    given |= set(re.findall(r"\{(\w+) = ", body["metadata"]["user-data"]))
    assert set(re.findall(r"\$\{(\w+)\}", TEMPLATE)) == given == set(VALUES)
    assert {file["path"] for file in machine()["write_files"]} == {
        "/etc/airflow/environment",
        "/etc/systemd/system/airflow-image.service",
        "/etc/systemd/system/airflow@.service",
    }


def test_secrets_that_airflow_asks_for_are_made() -> None:
    asked = set(re.findall(r"_SECRET=([\w-]+)$", TEMPLATE, re.MULTILINE))
    made = set(configuration().local_values["airflow_secrets"].values())
    assert {f"airflow-config-{name}" for name in asked} == made


def test_airflows_image_is_named_by_digest() -> None:
    (validation,) = configuration().variables["airflow_image"]["validation"]
    pattern = re.search(r'regex\("(.+)", ', validation["condition"])
    assert pattern is not None
    image = "europe-west1-docker.pkg.dev/shop-project/images/airflow"
    accepted = re.compile(pattern[1].replace("\\\\", "\\"))
    assert accepted.search(f"{image}@sha256:{'0' * 64}")
    assert not accepted.search(f"{image}:latest")


def test_processes_come_up_once_the_unit_they_need_has_done_its_work() -> None:
    """A start that a unit they require refuses is not tried again; its own failure is.

    On a first deployment the machine boots before the secrets have values.
    """
    image = unit("airflow-image.service")
    assert ("Restart", "on-failure") in image
    (started,) = (value for key, value in image if key == "ExecStartPost")
    names = [f"airflow@{process}.service" for process in PROCESSES]
    assert started.split()[-len(names) :] == names
    # They wait for this unit, which would wait for them.
    assert "--no-block" in started
    assert ("Requires", "airflow-image.service") in unit("airflow@.service")
    started_by_hand = [line for line in machine()["runcmd"] if "airflow@" in line]
    assert started_by_hand == []


_ASK = """
import inspect
import json
from airflow import settings
from airflow.config_templates import airflow_local_settings as logs
from airflow.configuration import conf
from airflow.executors import local_executor
from airflow.sdk import Connection
from sqlalchemy.dialects.postgresql import asyncpg, psycopg2
from sqlalchemy.engine import make_url

settings.configure_vars()

def arguments(dialect, url):
    return dialect.create_connect_args(make_url(url))[1]

print(json.dumps({
    "psycopg2": arguments(psycopg2.dialect(), settings.SQL_ALCHEMY_CONN),
    "asyncpg": arguments(asyncpg.dialect(), settings.SQL_ALCHEMY_CONN_ASYNC),
    "scheme": make_url(settings.SQL_ALCHEMY_CONN_ASYNC).drivername,
    "connection": Connection.get("google_cloud_default").conn_type,
    "executor": conf.get("core", "executor"),
    "has_task_output": "logs_to_stdout=True" in inspect.getsource(local_executor),
    "logs": type(logs.REMOTE_TASK_LOG).__name__,
    "logs_base": logs.REMOTE_TASK_LOG.remote_base,
}))
"""
# In place of Secret Manager.
_BACKEND = """
from airflow.secrets import BaseSecretsBackend

class Played(BaseSecretsBackend):
    def __init__(self, **values):
        self.values = values

    def get_conn_value(self, conn_id):
        return None

    def get_config(self, key):
        return self.values.get(key)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow makes of the machine's environment and of the secrets."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "played_secrets.py").write_text(_BACKEND)
    shell = PlayedShell(folder, answers=[])
    fill_secrets("shop-project", shell)
    secrets = {
        name.removeprefix("airflow-config-"): value
        for name, value in shell.secret_values.items()
    }
    lines = content("/etc/airflow/environment").splitlines()
    environment = dict(line.split("=", 1) for line in lines)
    done = subprocess.run(
        [sys.executable, "-c", _ASK],
        env={
            **{"PATH": os.environ["PATH"], "HOME": str(folder)},
            **environment,
            **{"AIRFLOW_HOME": str(folder), "PYTHONPATH": str(folder)},
            "AIRFLOW__SECRETS__BACKEND": "played_secrets.Played",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(secrets),
            # Makes no engine: the drivers are in the image only.
            "_AIRFLOW__AS_LIBRARY": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_both_of_airflows_engines_ask_for_encryption_in_their_drivers_words(
    told: dict[str, Any],
) -> None:
    assert told["psycopg2"].pop("sslmode") == "require"
    # `asyncpg.connect` has no argument `sslmode`.
    assert told["scheme"] == "postgresql+asyncpg"
    assert told["asyncpg"]["ssl"] == "require"
    assert "sslmode" not in told["asyncpg"]
    for key in ("host", "user", "password"):
        assert told["asyncpg"][key] == told["psycopg2"][key]


def test_hooks_of_google_cloud_find_their_connection(told: dict[str, Any]) -> None:
    assert told["connection"] == "google_cloud_platform"


def test_task_logs_are_kept_in_the_bucket_where_airflow_may_write(
    told: dict[str, Any],
) -> None:
    """Cloud Logging's handler needs a logical date, which runs by an event lack."""
    assert told["logs"] == "GCSRemoteLogIO"
    assert told["logs_base"] == VALUES["logs"]
    found = configuration()
    prefix = found.local_values["task_logs_prefix"]
    machine = found.resources["google_compute_instance.airflow"].body
    assert "google_storage_bucket.data.url" in machine["metadata"]["user-data"]
    assert VALUES["logs"].endswith(f"-data/{prefix}")
    writers = found.resources["google_storage_bucket_iam_member.data_writers"].body
    assert "airflow" in writers["for_each"]
    # Reads what is there, to write behind it.
    assert writers["role"] == "roles/storage.objectUser"


def test_the_output_of_airflow_has_every_line_of_its_tasks(
    told: dict[str, Any],
) -> None:
    """Alerts are found there, and it is what the machine sends to Cloud Logging."""
    assert told["executor"] == "LocalExecutor"
    assert told["has_task_output"]
    body = configuration().resources["google_compute_instance.airflow"].body
    assert body["metadata"]["google-logging-enabled"] == "true"
    assert configuration().local_values["airflow_logs"] == 'log_id("cos_containers")'
