"""Programs of `make deploy`, played: they answer as the real ones would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.deployment.commands import Shell

REGISTRY = "europe-west1-docker.pkg.dev/shop-project/images"
DIGEST = "sha256:" + "a" * 64
OUTPUTS = {
    "images": REGISTRY,
    "root": "gs://shop-project-data/runs",
    "warehouse": "bigquery://shop-project/shop",
    "subnetwork": "regions/europe-west1/subnetworks/complete-the-look",
    "service_accounts": {"dataflow-worker": "worker@x", "trainer": "trainer@x"},
    "airflow_machine": {"name": "complete-the-look-airflow", "zone": "europe-west1-b"},
}


class PlayedShell(Shell):
    """Answers as the real programs would, and remembers what it was asked for."""

    def __init__(self, folder: Path, *, answers: list[str], **state: Any) -> None:
        super().__init__(folder)
        self.answers = answers
        self.calls: list[tuple[str, ...]] = []
        self.secret_values: dict[str, str] = state.get("secret_values", {})
        self.pushed: set[str] = state.get("pushed", set())
        self.has_registry: bool = state.get("has_registry", True)
        self.changes: str = state.get("changes", "")
        self.posted: list[tuple[str, dict[str, str]]] = []
        # Of Airflow's machine, as Google describes it; empty where there is none.
        self.machine: dict[str, str] = state.get("machine", {})
        self.planned_image = ""

    def run(self, *command: str) -> None:
        self.calls.append(command)
        if command[:2] == ("docker", "push"):
            self.pushed.add(command[2].split("/")[-1].split(":")[0])
        for argument in command:
            if argument.startswith("-var=airflow_image="):
                self.planned_image = argument.partition("=")[2].partition("=")[2]
        if "apply" in command:
            self.has_registry = True
            if not self.planned_image.startswith("europe-docker.pkg.dev/none/"):
                self.machine.setdefault("id", "1")
                self.machine["user-data"] = f"docker run {self.planned_image}"

    def output(self, *command: str, stdin: str | None = None) -> str:
        self.calls.append(command)
        if command[:2] == ("git", "status"):
            return self.changes
        if command[0] == "git":
            return "0123456789abcdef0123"
        if command[-2:] == ("output", "-json"):
            told = OUTPUTS if self.has_registry else {}
            return json.dumps({key: {"value": value} for key, value in told.items()})
        if command[:4] == ("gcloud", "secrets", "versions", "list"):
            return "1" if command[4] in self.secret_values else ""
        if command[:4] == ("gcloud", "secrets", "versions", "add"):
            assert stdin is not None
            self.secret_values[command[4]] = stdin
            return ""
        if command[:4] == ("gcloud", "secrets", "versions", "access"):
            return self.secret_values[command[5].removeprefix("--secret=")]
        assert command[:3] == ("gcloud", "sql", "instances"), command
        return "10.20.0.3\n"

    def find_output(self, *command: str) -> str | None:
        if command[:4] == ("gcloud", "compute", "instances", "describe"):
            return self._described()
        name = command[5].split("/")[-1].split(":")[0]
        return DIGEST if name in self.pushed else None

    def _described(self) -> str | None:
        if not self.machine:
            return None
        items = [
            {"key": "enable-oslogin", "value": "TRUE"},
            {"key": "user-data", "value": self.machine["user-data"]},
        ]
        return json.dumps({"id": self.machine["id"], "metadata": {"items": items}})

    def ask(self, question: str) -> str:
        self.calls.append(("ask",))
        return self.answers.pop(0)

    def post(self, url: str, body: Any) -> None:
        self.posted.append((url, body))


def write_settings(project: Path) -> None:
    """Write settings of an environment `shop` that fit to what is made."""
    folder = project / "infra" / "settings"
    folder.mkdir(parents=True)
    (folder / "shop.yaml").write_text(
        json.dumps(
            {
                "root": OUTPUTS["root"],
                "warehouse": OUTPUTS["warehouse"],
                "beam": {
                    "dataflow": {
                        "worker_image": f"{REGISTRY}/beam-worker@{DIGEST}",
                        "service_account": "worker@x",
                        "subnetwork": OUTPUTS["subnetwork"],
                    }
                },
                "training": {
                    "vertex": {
                        "image": f"{REGISTRY}/trainer@{DIGEST}",
                        "service_account": "trainer@x",
                    }
                },
            }
        )
    )
