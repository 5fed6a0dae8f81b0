"""`make deploy` against programs that are played; nothing is built or reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.local import deploy
from infra.local.commands import Shell
from tfrecords_schema.errors import InputError

REGISTRY = "europe-west1-docker.pkg.dev/shop-project/images"
DIGEST = "sha256:" + "a" * 64
OUTPUTS = {
    "images": REGISTRY,
    "root": "gs://shop-project-data/runs",
    "warehouse": "bigquery://shop-project/shop",
    "subnetwork": "regions/europe-west1/subnetworks/complete-the-look",
    "service_accounts": {"dataflow-worker": "worker@x", "trainer": "trainer@x"},
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

    def run(self, *command: str) -> None:
        self.calls.append(command)
        if command[:2] == ("docker", "push"):
            self.pushed.add(command[2].split("/")[-1].split(":")[0])
        if "apply" in command:
            self.has_registry = True

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
        assert command[:3] == ("gcloud", "sql", "instances"), command
        return "10.20.0.3\n"

    def find_output(self, *command: str) -> str | None:
        name = command[5].split("/")[-1].split(":")[0]
        return DIGEST if name in self.pushed else None

    def ask(self, question: str) -> str:
        self.calls.append(("ask",))
        return self.answers.pop(0)

    def post(self, url: str, body: Any) -> None:
        self.posted.append((url, body))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "infra" / "settings"
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
    return tmp_path


def words(shell: PlayedShell) -> list[str]:
    """What was done, in short."""
    return [
        next(
            word
            for word in ("init", "plan", "apply", "ask", "build", "push")
            if word in call
        )
        for call in shell.calls
        if set(call) & {"init", "plan", "apply", "ask", "build", "push"}
    ]


def test_nothing_is_applied_before_its_plan_was_shown_and_agreed_to(
    project: Path,
) -> None:
    shell = PlayedShell(project, answers=["shop"])
    deploy.deploy("shop", project, shell)
    assert words(shell) == ["init", *["build", "push"] * 3, "plan", "ask", "apply"]
    (plan,) = (call for call in shell.calls if "plan" in call)
    (apply,) = (call for call in shell.calls if "apply" in call)
    # What is applied is the plan that was shown, and no newer one.
    assert "-out=shop.tfplan" in plan
    assert apply[-1] == "shop.tfplan"
    assert f"-var=airflow_image={REGISTRY}/airflow@{DIGEST}" in plan


@pytest.mark.parametrize("answer", ["", "y", "yes", "prod"])
def test_another_word_than_the_environments_applies_nothing(
    answer: str, project: Path
) -> None:
    shell = PlayedShell(project, answers=[answer])
    with pytest.raises(InputError, match="nobody agreed"):
        deploy.deploy("shop", project, shell)
    assert "apply" not in words(shell)
    assert shell.secret_values == {}


def test_first_time_the_registry_is_made_before_images(project: Path) -> None:
    shell = PlayedShell(project, answers=["shop", "shop"], has_registry=False)
    deploy.deploy("shop", project, shell)
    assert words(shell)[:4] == ["init", "plan", "ask", "apply"]
    first = next(call for call in shell.calls if "plan" in call)
    assert "-target=google_artifact_registry_repository.images" in first


def test_images_that_are_pushed_already_are_not_built_again(project: Path) -> None:
    pushed = {"beam-worker", "trainer", "airflow"}
    shell = PlayedShell(project, answers=["shop"], pushed=pushed)
    deploy.deploy("shop", project, shell)
    assert words(shell) == ["init", "plan", "ask", "apply"]


def test_work_tree_with_changes_is_refused(project: Path) -> None:
    shell = PlayedShell(project, answers=[], changes=" M trainer/task.py")
    with pytest.raises(InputError, match="commit or stash"):
        deploy.deploy("shop", project, shell)
    assert words(shell) == []


def test_settings_with_another_image_stop_before_the_plan(project: Path) -> None:
    path = project / "infra" / "settings" / "shop.yaml"
    path.write_text(path.read_text().replace("trainer@sha256", "trainer@sha255"))
    shell = PlayedShell(project, answers=[])
    with pytest.raises(InputError, match=r"training\.vertex\.image is .*; set it to"):
        deploy.deploy("shop", project, shell)
    assert "plan" not in words(shell)


def test_settings_with_another_place_are_named(project: Path) -> None:
    path = project / "infra" / "settings" / "shop.yaml"
    path.write_text(path.read_text().replace("shop-project-data", "old-data"))
    shell = PlayedShell(project, answers=["shop"])
    with pytest.raises(InputError, match="root is gs://old-data/runs; this deployment"):
        deploy.deploy("shop", project, shell)


def test_secrets_are_filled_once_and_reach_no_command_line(project: Path) -> None:
    shell = PlayedShell(project, answers=["shop", "shop"])
    deploy.deploy("shop", project, shell)
    filled = dict(shell.secret_values)
    assert len(filled) == 4
    ((url, body),) = shell.posted
    assert url.endswith("/instances/complete-the-look-airflow/users")
    assert (
        f"airflow:{body['password']}@10.20.0.3/"
        in filled["airflow-config-database-url"]
    )
    said = " ".join(word for call in shell.calls for word in call)
    assert not any(value in said for value in (*filled.values(), body["password"]))

    deploy.deploy("shop", project, shell)
    assert shell.secret_values == filled
    assert len(shell.posted) == 1


def test_every_obstacle_is_told_at_once(tmp_path: Path) -> None:
    told = list(deploy.obstacles("shop", tmp_path, which=lambda tool: None))
    assert [line.split()[2] for line in told[:4]] == list(deploy.TOOLS)
    assert [line.split()[0] for line in told[4:]] == [
        "infra/settings/shop.yaml",
        "infra/terraform/environments/shop.tfvars",
        "infra/terraform/environments/shop.backend.hcl",
    ]


@pytest.mark.parametrize(
    ("environment", "message"),
    [("", "ENV=gcp"), ("../etc", "not a name"), ("a b", "not a name")],
)
def test_name_that_is_none_is_told(
    environment: str, message: str, tmp_path: Path
) -> None:
    (told,) = deploy.obstacles(environment, tmp_path, which=lambda tool: tool)
    assert message in told


def test_tag_follows_from_everything_that_is_copied_into_the_image() -> None:
    from dockerfiles import FOLDER, read_stages

    for image, inputs in deploy.INPUTS.items():
        known = {*deploy.SHARED, *inputs}
        for stage in read_stages(FOLDER / f"{image}.Dockerfile"):
            for copied in stage.of("COPY"):
                if not copied.startswith("--from="):
                    assert set(copied.split()[:-1]) <= known, copied


def test_secrets_that_are_filled_are_those_that_terraform_makes(project: Path) -> None:
    from terraform_config import configuration

    shell = PlayedShell(project, answers=["shop"])
    deploy.deploy("shop", project, shell)
    made = configuration().local_values["airflow_secrets"]
    assert set(shell.secret_values) == set(made.values())


def test_settings_are_compared_with_outputs_that_there_are() -> None:
    from terraform_config import configuration

    assert set(OUTPUTS) <= set(configuration().outputs)
