"""A real Airflow in a folder of its own, and its REST API."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.local.airflow_home import PROJECT, airflow_environment, migrate

STUB = Path(__file__).with_name("stub_job.py")
_START_S = 900
_ANSWER_S = 300  # the server is of one worker, and the jobs take the cores
_STATES_THAT_END = ("success", "failed")


def write_settings(folder: Path, root: Path, *, deadline_h: float | None) -> Path:
    """Settings of one machine whose interpreter runs stubs for some roots.

    Args:
        folder: for the file.
        root: of runs that name none, such as those of the schedule.
        deadline_h: of every run.
    """
    settings = yaml.safe_load((PROJECT / "infra/settings/local.yaml").read_text())
    settings["root"] = settings["catalog"]["uri"] = str(root)
    settings["python"] = str(interpreter(folder))
    settings["schedule"] = "0 2 1 * *"
    settings["retries"] = {"count": 2, "delay_min": 0.05, "max_delay_min": 0.1}
    settings["alerts"] |= {
        "deadline_h": deadline_h,
        "email": ["on-call@example.com"],
    }
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def interpreter(folder: Path) -> Path:
    """A program that runs the real jobs, or stubs where `--root` has a `calls` file."""
    path = folder / "python"
    path.write_text(
        "#!/bin/bash\n"
        'for option in "$@"; do case "$option" in --root=*)\n'
        f'  if [ -e "${{option#--root=}}/calls" ]; then '
        f'exec {sys.executable} -S -E {STUB} "$@"; fi;;\n'
        "esac; done\n"
        f'if [ "$1" = -c ]; then exec {sys.executable} -S -E {STUB} "$@"; fi\n'
        f'exec {sys.executable} "$@"\n'
    )
    path.chmod(0o755)
    return path


def stub_root(folder: Path) -> Path:
    """A root for which the jobs are stubs."""
    (folder / "inject").mkdir(parents=True)
    (folder / "calls").touch()
    return folder


class Server:
    """A running Airflow.

    Attributes:
        url: of its API server.
        log: what it has said.
    """

    def __init__(self, url: str, log: Path, environment: Mapping[str, str]) -> None:
        self.url = url
        self.log = log
        self._environment = environment
        self._token = ""

    def is_scheduling(self) -> bool:
        """Whether there is a scheduler, and every DAG."""
        health = self.call("GET", "/api/v2/monitor/health")
        dags = self.call("GET", "/api/v2/dags")["dags"]
        return health["scheduler"]["status"] == "healthy" and len(dags) == 3

    def airflow(self, *arguments: str) -> None:
        """Run Airflow's command line.

        Raises:
            AssertionError: it failed.
        """
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env={**self._environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the REST API."""
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(
            self.url + path,
            method=method,
            headers=headers,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read()!r}") from error
        return json.loads(text) if text else None

    def log_in(self) -> None:
        """Get a token; the simple auth manager gives everybody one."""
        self._token = self.call("GET", "/auth/token")["access_token"]

    def trigger(self, dag_id: str, date: str | None, conf: dict[str, Any]) -> str:
        """Start a run; its id."""
        logical = None if date is None else f"{date}T02:00:00Z"
        body = {"logical_date": logical, "conf": conf}
        run = self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
        return str(run["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Every run of a DAG, oldest first."""
        path = f"/api/v2/dags/{dag_id}/dagRuns?order_by=id&limit=100"
        found: list[dict[str, Any]] = self.call("GET", path)["dag_runs"]
        return found

    def state(self, dag_id: str, run_id: str) -> str:
        """Of a run."""
        run = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        return str(run["state"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Of a run, by id; those of a mapped group by id and index."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=200"
        return {
            ti["task_id"]
            if ti["map_index"] < 0
            else f"{ti['task_id']}[{ti['map_index']}]": ti
            for ti in self.call("GET", path)["task_instances"]
        }

    def questions(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """What a run has asked people."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/hitlDetails"
        found: list[dict[str, Any]] = self.call("GET", path)["hitl_details"]
        return found

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer as a person would."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        answer = {"chosen_options": [option], "params_input": {}}
        self.call("PATCH", f"{path}/-1/hitlDetails", answer)

    def wait(self, what: str, found: Callable[[], Any], *, minutes: float = 30) -> Any:
        """Poll until something is found.

        Raises:
            AssertionError: it was not in time.
        """
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            if value := found():
                return value
            time.sleep(2)
        raise AssertionError(f"{what}: not in {minutes} minutes; see {self.log}")

    def wait_for_end(self, dag_id: str, run_id: str, *, minutes: float = 60) -> str:
        """Wait for a run; its last state."""

        def ended() -> str:
            state = self.state(dag_id, run_id)
            return state if state in _STATES_THAT_END else ""

        return str(self.wait(f"end of {dag_id} {run_id}", ended, minutes=minutes))

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Have a task that failed, and what it kept from running, run again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "include_downstream": True,
            "only_failed": True,
            "reset_dag_runs": True,
        }
        self.call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)


@contextlib.contextmanager
def airflow(
    command: str, folder: Path, settings: Path, *, mail_port: int = 25
) -> Iterator[Server]:
    """Airflow's processes for as long as the context lasts.

    Args:
        command: `standalone`, or `api-server` for the REST API alone.
        folder: for its database and logs.
        settings: file of the DAGs' settings.
        mail_port: of the mail server, on this machine.
    """
    ports = _free_ports(4)
    environment = airflow_environment(settings, folder / "airflow") | {
        "AIRFLOW__API__PORT": str(ports[0]),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{ports[0]}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW_CONN_SMTP_DEFAULT": (
            f"smtp://localhost:{mail_port}/?disable_ssl=true&disable_tls=true"
            "&from_email=airflow%40example.com"
        ),
        # Nothing is killed or given up because the machine is slow.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "120",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "1200",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": (
            f"http://localhost:{ports[0]}/execution/"
        ),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(ports[1]),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports[2]),
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(ports[3]),
    }
    migrate(environment)
    log = folder / f"{command}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", command],
            env=environment,
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://localhost:{ports[0]}", log, environment)
    try:
        server.wait(command, lambda: _is_up(server, process), minutes=_START_S / 60)
        if command == "standalone":
            server.wait("DAGs", server.is_scheduling, minutes=_START_S / 60)
        yield server
    finally:
        # All of its processes are in the session that was started for it.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)


def _is_up(server: Server, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server answers."""
    assert process.poll() is None, server.log.read_text()[-3000:]
    try:
        server.log_in()
        server.call("GET", "/api/v2/monitor/health")
    except (OSError, AssertionError, json.JSONDecodeError):
        return False
    return True


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]
