"""`make deploy` against programs that are played; nothing is built or reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from played_deployment import DIGEST, OUTPUTS, REGISTRY, PlayedShell, write_settings

from infra.deployment import airflow_secrets, deploy, images
from tfrecords_schema.errors import InputError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_settings(tmp_path)
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
    assert len(filled) == 5
    ((url, body),) = shell.posted
    assert url.endswith("/instances/complete-the-look-airflow/users")
    place = f"://airflow:{body['password']}@10.20.0.3/airflow?"
    assert place in filled["airflow-config-database-url"]
    assert place in filled["airflow-config-database-url-async"]
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

    for image, inputs in images.INPUTS.items():
        known = {*images.SHARED, *inputs}
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


@pytest.mark.parametrize("kept", ["database-url", "database-url-async"])
def test_an_address_that_is_missing_follows_from_the_other(
    kept: str, project: Path
) -> None:
    shell = PlayedShell(project, answers=["shop", "shop"])
    deploy.deploy("shop", project, shell)
    filled = dict(shell.secret_values)
    (lost,) = {"database-url", "database-url-async"} - {kept}
    del shell.secret_values[f"airflow-config-{lost}"]
    deploy.deploy("shop", project, shell)
    assert shell.secret_values == filled
    assert len(shell.posted) == 1  # The user and its password are the same.


def test_the_secret_that_lets_the_machine_start_is_filled_last(project: Path) -> None:
    shell = PlayedShell(project, answers=["shop"])
    airflow_secrets.fill_secrets("shop-project", shell)
    assert list(shell.secret_values)[-1] == "airflow-config-database-url"


def test_secrets_are_filled_though_settings_name_other_places(project: Path) -> None:
    path = project / "infra" / "settings" / "shop.yaml"
    path.write_text(path.read_text().replace("shop-project-data", "old-data"))
    shell = PlayedShell(project, answers=["shop"])
    with pytest.raises(InputError, match="root is gs://old-data/runs"):
        deploy.deploy("shop", project, shell)
    assert "airflow-config-database-url" in shell.secret_values


def power(shell: PlayedShell) -> list[tuple[str, ...]]:
    """What was done to machines, and where."""
    return [
        (call[3], *call[4:])
        for call in shell.calls
        if call[:3] == ("gcloud", "compute", "instances")
    ]


PLACE = (
    "complete-the-look-airflow",
    "--zone=europe-west1-b",
    "--project=shop-project",
)


@pytest.mark.parametrize(
    ("machine", "done"),
    [
        ({}, []),
        ({"id": "1", "user-data": f"docker run {REGISTRY}/airflow@{DIGEST}"}, []),
        (
            {"id": "1", "user-data": f"docker run {REGISTRY}/airflow@sha256:0"},
            [("stop", *PLACE), ("start", *PLACE)],
        ),
    ],
    ids=["a new one", "one that is up to date", "one that runs another image"],
)
def test_machine_is_restarted_where_what_it_runs_is_out_of_date(
    machine: dict[str, str], done: list[tuple[str, ...]], project: Path
) -> None:
    shell = PlayedShell(project, answers=["shop"], machine=dict(machine))
    deploy.deploy("shop", project, shell)
    assert power(shell) == done
    if done:
        order = [
            call for call in shell.calls if "apply" in call or call[3:4] == ("stop",)
        ]
        assert "apply" in order[0]  # It reads its units when it starts.
