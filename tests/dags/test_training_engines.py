"""The training on Vertex AI, and in a pod of Kubernetes."""

from __future__ import annotations

import datetime
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    TaskDeferralTimeout,
    TaskDeferred,
)
from complete_the_look.engine_settings import Kubernetes
from complete_the_look.job_logs import variables
from complete_the_look.job_names import job_name
from complete_the_look.kubernetes import pod_task
from complete_the_look.schema import SettingsError
from complete_the_look.settings import PROJECT, read_settings
from complete_the_look.vertex import vertex_task

from tfrecords_schema.log_lines import FORM_VARIABLE, run_fields

VERTEX = read_settings(PROJECT / "infra" / "settings" / "gcp.yaml").training.vertex
LIMIT = {"execution_timeout": datetime.timedelta(hours=6)}
COMMAND = ["python", "-m", "trainer.task", "--root=gs://b/runs"]


class Hook:
    """Stands in for Google's hook: keeps what it is asked."""

    def __init__(self, running: list[str]) -> None:
        self.running = running
        self.submitted: list[dict[str, Any]] = []
        self.filters: list[str] = []
        self.cancelled: list[str] = []

    def list_training_pipelines(self, **asked: Any) -> list[Any]:
        self.filters.append(asked["filter"])
        return [SimpleNamespace(name=f"projects/p/x/{name}") for name in self.running]

    def get_custom_container_training_job(self, **asked: Any) -> Any:
        return SimpleNamespace(
            name="77",
            submit=lambda **more: self.submitted.append({**asked, **more}),
            wait_for_resource_creation=lambda: None,
        )

    def cancel_training_pipeline(self, **asked: Any) -> None:
        self.cancelled.append(asked["training_pipeline"])


def context() -> Any:
    ti = SimpleNamespace(
        dag_id="nightly_retrain",
        run_id="scheduled__2026-11-28",
        task_id="train",
        try_number=2,
        map_index=-1,
        xcom_push=lambda **_: None,
    )
    return {"ti": ti}


def run(monkeypatch: pytest.MonkeyPatch, hook: Hook) -> TaskDeferred:
    from airflow.providers.google.cloud.hooks.vertex_ai import custom_job

    monkeypatch.setattr(custom_job, "CustomJobHook", lambda **_: hook)
    assert VERTEX is not None
    with pytest.raises(TaskDeferred) as deferred:
        vertex_task("train", COMMAND, VERTEX, LIMIT).execute(context())
    return deferred.value


def test_a_training_gets_its_machines_and_is_waited_for_without_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hook = Hook([])
    deferred = run(monkeypatch, hook)
    assert deferred.trigger.job_id == "77"
    (asked,) = hook.submitted
    assert asked["display_name"] == job_name(context())
    assert (asked["replica_count"], asked["accelerator_count"]) == (2, 2)
    assert asked["accelerator_type"] == "NVIDIA_L4"
    # On several machines the trainer shares out its batch among them.
    assert asked["command"] == [*COMMAND, "--strategy=hosts"]


def test_a_training_elsewhere_says_in_its_logs_of_which_task_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hook = Hook([])
    run(monkeypatch, hook)
    (asked,) = hook.submitted
    told = asked["environment_variables"]
    assert told.pop(FORM_VARIABLE) == "text"  # of the settings of one machine
    # The variables that the jobs look at, and that Airflow sets on its own machine.
    fields = run_fields("train", [], told)
    assert fields == {
        "stage": "train",
        "dag_id": "nightly_retrain",
        "dag_run_id": "scheduled__2026-11-28",
        "task_id": "train",
        "try_number": "2",
    }
    assert asked["labels"] == {
        "dag_id": "nightly_retrain",
        "dag_run_id": "scheduled__2026-11-28",
        "stage": "train",
    }


def test_another_try_waits_for_the_training_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hook = Hook(["55"])
    assert run(monkeypatch, hook).trigger.job_id == "55"
    assert hook.submitted == []
    (asked,) = hook.filters
    assert f'display_name="{job_name(context())}"' in asked
    assert 'state="PIPELINE_STATE_RUNNING"' in asked


def test_a_training_may_take_so_long_and_is_cancelled_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hook = Hook([])
    # Airflow counts no time in which a task waits without a process.
    assert run(monkeypatch, hook).timeout == LIMIT["execution_timeout"]
    (asked,) = hook.submitted
    assert asked["timeout"] == 6 * 3600
    assert asked["restart_job_on_worker_restart"]
    hook.running = ["55"]
    assert VERTEX is not None
    task = vertex_task("train", COMMAND, VERTEX, LIMIT)
    with pytest.raises(TaskDeferralTimeout):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, context())
    assert hook.cancelled == ["55"]


def test_a_training_that_failed_fails_the_task() -> None:
    assert VERTEX is not None
    task = vertex_task("train", COMMAND, VERTEX, {})
    event = {"status": "error", "message": "ended as PIPELINE_STATE_FAILED"}
    with pytest.raises(AirflowException, match="PIPELINE_STATE_FAILED"):
        task.execute_complete(context(), event)
    task.execute_complete(context(), {"status": "success", "message": "done"})


POD = Kubernetes(
    namespace="training",
    image="trainer:1",
    service_account="trainer",
    gpus=2,
    memory="64Gi",
    cpu="16",
    node_selector={"pool": "gpu"},
)


def test_a_pod_gets_its_gpus_and_is_found_again_by_another_try() -> None:
    pytest.importorskip("airflow.providers.cncf.kubernetes", reason="not installed")
    task: Any = pod_task("train", COMMAND, POD, {})
    assert task.cmds == COMMAND
    assert task.container_resources.limits["nvidia.com/gpu"] == "2"
    assert task.node_selector == {"pool": "gpu"}
    assert {variable.name for variable in task.env_vars} == set(variables(context()))
    assert task.deferrable
    assert task.reattach_on_restart


def test_a_pod_without_the_provider_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "airflow.providers.cncf.kubernetes.operators.pod"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match="apache-airflow-providers-cncf-kubernetes"):
        pod_task("train", COMMAND, POD, {})
