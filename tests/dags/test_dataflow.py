"""Beam jobs on Dataflow: started once, waited for without a process, then finished."""

from __future__ import annotations

import logging
import re
import shlex
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.apache.beam.hooks.beam import beam_options_to_args
from airflow.providers.google.cloud.hooks.dataflow import (
    DataflowHook,
    process_line_and_extract_dataflow_job_id_callback,
)
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from complete_the_look.dataflow import DataflowOperator, place_options
from complete_the_look.job_logs import label
from complete_the_look.job_names import job_name
from complete_the_look.settings import PROJECT, read_settings
from describe_dags import FAILED

from beam_jobs.options import RunOptions, parse_options
from tfrecords_schema.cli import configure_logging

SETTINGS = read_settings(PROJECT / "infra" / "settings" / "gcp.yaml")
DATAFLOW = SETTINGS.beam.dataflow
assert DATAFLOW is not None

CONNECTION = "google-cloud-platform://"  # infra/terraform/airflow-machine.yaml.tftpl
NEW_JOB = "2026-11-28_01_02_03-new"
OLD_JOB = "2026-11-28_00_00_00-old"


class Launcher:
    """Stands in for the interpreter: writes down what it is to run."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "commands"
        self.python = folder / "python"
        self.will(f"echo 'INFO Created job with id: [{NEW_JOB}]' >&2")

    def will(self, then: str) -> None:
        self.python.write_text(
            "#!/bin/sh\n"
            'if [ "$1" = -c ]; then echo 2.77.0; exit; fi\n'
            f'printf "%s\\n" "$*" >> {shlex.quote(str(self.log))}\n'
            f"{then}\n"
        )
        self.python.chmod(0o755)

    @property
    def commands(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


class Jobs:
    """Stands in for Dataflow's list of active jobs, a page each."""

    def __init__(self, *names: str) -> None:
        self.pages = [[{"name": name, "id": OLD_JOB}] for name in names]
        self.asked: list[dict[str, Any]] = []

    def list(self, **asked: Any) -> Any:
        self.asked.append(asked)
        return (
            SimpleNamespace(execute=lambda: {"jobs": self.pages.pop(0)})
            if (self.pages)
            else SimpleNamespace(execute=dict)
        )

    def list_next(self, *_: Any) -> Any:
        return self.list() if self.pages else None


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path)


@pytest.fixture
def dataflow_has(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Jobs]:
    def has(*names: str) -> Jobs:
        jobs = Jobs(*names)
        at = SimpleNamespace(jobs=lambda: jobs)
        service = SimpleNamespace(
            projects=lambda: SimpleNamespace(locations=lambda: at)
        )
        monkeypatch.setattr(DataflowHook, "get_conn", lambda self: service)
        # As the machine's environment has it; Airflow's database has no connection.
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", CONNECTION)
        return jobs

    return has


def operator(launcher: Launcher, root: str = "gs://b/runs") -> DataflowOperator:
    assert DATAFLOW is not None
    return DataflowOperator(
        dataflow=DATAFLOW,
        task_id="extract_features",
        py_file="beam_jobs.extract_features",
        py_options=["-m"],
        py_interpreter=str(launcher.python),
        runner="DataflowRunner",
        pipeline_options={"root": root, "run_date": "2026-11-28"},
    )


def context(run_id: str = "scheduled__2026-11-28", try_number: int = 1) -> Any:
    ti = SimpleNamespace(
        dag_id="nightly_retrain",
        run_id=run_id,
        task_id="extract_features",
        map_index=-1,
        try_number=try_number,
        xcom_push=lambda **_: None,
    )
    return {"ti": ti, "task_instance": ti}


def test_a_job_is_handed_over_and_waited_for_without_a_process(
    launcher: Launcher, dataflow_has: Callable[..., Jobs]
) -> None:
    dataflow_has()
    with pytest.raises(TaskDeferred) as deferred:
        operator(launcher).execute(context())
    assert deferred.value.trigger.job_id == NEW_JOB
    assert deferred.value.method_name == "execute_complete"
    assert deferred.value.kwargs == {"job_id": NEW_JOB}
    (command,) = launcher.commands
    assert command.startswith("-m beam_jobs.extract_features --runner=DataflowRunner")
    for option in (
        f"--job_name={job_name(context())}",
        "--no_wait_until_finish",
        "--project=complete-the-look",
        "--region=europe-west1",
        "--no_use_public_ips",
        "--root=gs://b/runs",
        "--run_date=2026-11-28",
    ):
        assert option in command.split(), option


def test_a_job_has_labels_by_which_its_logs_and_costs_are_found(
    launcher: Launcher, dataflow_has: Callable[..., Jobs]
) -> None:
    dataflow_has()
    with pytest.raises(TaskDeferred):
        operator(launcher).execute(context("manual__2026-11-28T02:00:00+00:00"))
    (command,) = launcher.commands
    labels = dict(re.findall(r"--labels=([^= ]+)=(\S*)", command))
    assert labels.pop("airflow-version")
    assert labels == {
        "dag_id": "nightly_retrain",
        "dag_run_id": "manual__2026-11-28t02-00-00-00-00",
        "run_date": "2026-11-28",
        "stage": "extract_features",
    }


@pytest.mark.parametrize(
    "text", ["each_date.Fetch Images", "manual__2026-11-28T02:00:00+00:00", "ü" * 99]
)
def test_labels_are_of_letters_that_google_cloud_takes(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9_-]{0,63}", label(text))


def test_another_try_waits_for_the_job_there_is(
    launcher: Launcher, dataflow_has: Callable[..., Jobs]
) -> None:
    jobs = dataflow_has("ctl-of-somebody-else", job_name(context()))
    with pytest.raises(TaskDeferred) as deferred:
        operator(launcher).execute(context(try_number=2))
    assert deferred.value.trigger.job_id == OLD_JOB
    assert launcher.commands == []
    assert jobs.asked[0]["filter"] == "ACTIVE"
    assert jobs.asked[0]["name"] == job_name(context())


def test_names_of_jobs_are_of_the_run_and_not_of_the_try() -> None:
    assert job_name(context(try_number=2)) == job_name(context())
    assert job_name(context("manual__2026-11-28")) != job_name(context())
    assert DataflowHook.build_dataflow_job_name(job_name(context()), False)


def test_work_that_is_complete_starts_no_job(
    launcher: Launcher, dataflow_has: Callable[..., Jobs]
) -> None:
    dataflow_has()
    launcher.will("echo 'INFO 0 of 344 features computed'")
    assert operator(launcher).execute(context()) is None
    assert len(launcher.commands) == 1


def test_what_comes_after_a_pipeline_is_done_here_once_the_job_has_ended(
    launcher: Launcher, dataflow_has: Callable[..., Jobs]
) -> None:
    dataflow_has()
    task = operator(launcher)
    event = {"status": "success", "message": "done"}
    task.execute_complete(context(), event, job_id=NEW_JOB)
    (command,) = launcher.commands
    assert "--runner=DirectRunner" in command
    assert "--root=gs://b/runs --run_date=2026-11-28" in command
    # Whose counters the receipt is to have.
    assert f"--finishes_job=complete-the-look/europe-west1/{NEW_JOB}" in command
    for absent in ("--no_wait_until_finish", "--temp_location", "--project"):
        assert absent not in command


def test_options_are_filled_in_for_the_pipeline_and_for_what_comes_after(
    launcher: Launcher,
) -> None:
    task = operator(launcher, root="{{ params.root }}")
    task.render_template_fields({"params": {"root": "gs://mine"}})
    assert task.pipeline_options["root"] == "gs://mine"
    assert task.job_options["root"] == "gs://mine"


def test_a_job_that_failed_fails_the_task_before_anything_is_finished(
    launcher: Launcher, dataflow_has: Callable[..., Jobs]
) -> None:
    dataflow_has()
    event = {"status": "error", "message": "JOB_STATE_FAILED: RESOURCE_EXHAUSTED"}
    with pytest.raises(AirflowException, match="RESOURCE_EXHAUSTED"):
        operator(launcher).execute_complete(context(), event)
    assert launcher.commands == []


def test_a_launcher_that_refuses_its_input_ends_in_its_code(
    launcher: Launcher, dataflow_has: Callable[..., Jobs]
) -> None:
    dataflow_has()
    launcher.will("exit 2")
    message = FAILED["BeamOperator"].format(2)
    with pytest.raises(AirflowException, match=message):
        operator(launcher).execute(context())


@pytest.mark.parametrize("form", ["text", "json"])
def test_jobs_log_the_line_by_which_the_operator_finds_the_job(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from apache_beam.runners.dataflow.internal import apiclient

    monkeypatch.setenv("COMPLETE_THE_LOOK_LOGS", form)
    for module in (sys, threading):
        monkeypatch.setattr(module, "excepthook", module.excepthook)
    level = logging.root.level
    handlers = logging.root.handlers[:]
    try:
        configure_logging("extract_features", [])
        # What Beam says when Dataflow has taken a job, at INFO.
        apiclient._LOGGER.info("Created job with id: [%s]", NEW_JOB)
    finally:
        logging.captureWarnings(False)
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    assert "info('Created job with id: [%s]'" in Path(apiclient.__file__).read_text()
    said = capsys.readouterr().err
    assert said.startswith("{") == (form == "json")
    found: list[str] = []
    process_line_and_extract_dataflow_job_id_callback(found.append)(said)
    assert found == [NEW_JOB]


def test_jobs_know_every_option_of_the_place() -> None:
    assert DATAFLOW is not None
    options = {
        **place_options(DATAFLOW),
        **{"project": "p-12345", "region": "r", "job_name": "j", "labels": ["a=b"]},
        **{"root": "gs://b/runs", "run_date": "2026-11-28", "finishes_job": "p/r/i"},
    }
    parsed = parse_options(
        ["--runner=DataflowRunner", *beam_options_to_args(options)],
        RunOptions,
        description="",
    ).get_all_options()
    assert parsed["no_wait_until_finish"] is True
    assert parsed["use_public_ips"] is False
    assert parsed["max_num_workers"] == DATAFLOW.max_workers
    assert parsed["sdk_container_image"] == DATAFLOW.worker_image
