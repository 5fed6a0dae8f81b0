"""The nightly DAG: what it wires, what it promises, and what parsing it costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.fetching.fetch_work import Retry
from beam_jobs.mining.negatives import Strategy
from tfrecords_schema.layout import Stage

PROJECT = Path(__file__).resolve().parents[2]

# Parsed in a process of its own: Airflow wants its home set before it is imported, and
# what the file imports is part of what is tested.
_DESCRIBE = """
import json, runpy, sys
dag = runpy.run_path(sys.argv[1])["dag"]
dag.validate()

def told(task, message):
    if task.retry_policy is None:
        return None
    return task.retry_policy.evaluate(RuntimeError(message), 1, 3).action.value

FAILED = {
    "BashOperator": "The command returned a non-zero exit code %s.",
    "BeamRunPythonPipelineOperator": "Apache Beam process failed with return code %s",
}
print(json.dumps({
    "heavy": sorted({"tensorflow", "apache_beam", "keras"} & set(sys.modules)),
    "rooms": sorted({"beam_jobs", "trainer", "tfrecords_schema"} & set(sys.modules)),
    "max_active_runs": dag.max_active_runs,
    "catchup": dag.catchup,
    "params": {name: param for name, param in dag.params.dump().items()},
    "schemas": {name: dag.params.get_param(name).schema for name in dag.params},
    "descriptions": {
        name: dag.params.get_param(name).description for name in dag.params
    },
    "tasks": {
        task.task_id: {
            "type": type(task).__name__,
            "upstream": sorted(task.upstream_task_ids),
            "retries": task.retries,
            "timeout_s": task.execution_timeout.total_seconds(),
            "doc": task.doc_md,
            "owner": task.owner,
            "trigger_rule": getattr(task.trigger_rule, "value", task.trigger_rule),
            "command": getattr(task, "bash_command", None),
            "env": getattr(task, "env", None),
            "options": getattr(task, "pipeline_options", None),
            "after_exit_code": {
                n: told(task, FAILED[type(task).__name__] % n) for n in (1, 2, 12, -2)
            },
        }
        for task in dag.tasks
    },
}))
"""


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("airflow")
    result = subprocess.run(
        [sys.executable, "-c", _DESCRIBE, "dags/nightly_retrain.py"],
        cwd=PROJECT,
        env={"AIRFLOW_HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_parsing_imports_neither_heavy_libraries_nor_other_rooms(
    dag: dict[str, Any],
) -> None:
    assert dag["heavy"] == []
    assert dag["rooms"] == []


def test_tasks_are_the_stages_in_order(dag: dict[str, Any]) -> None:
    stages = [stage.value for stage in Stage]
    assert sorted(dag["tasks"]) == sorted(stages)
    for before, after in zip([None, *stages], stages, strict=False):
        assert dag["tasks"][after]["upstream"] == ([before] if before else [])


def test_beam_jobs_run_through_the_beam_operator(dag: dict[str, Any]) -> None:
    by_beam = {
        name
        for name, task in dag["tasks"].items()
        if task["type"] == "BeamRunPythonPipelineOperator"
    }
    assert by_beam == {
        "fetch_images",
        "build_dataset",
        "extract_features",
        "rank_catalog",
    }


def test_every_task_has_retries_a_timeout_an_owner_and_says_what_to_do(
    dag: dict[str, Any],
) -> None:
    for name, task in dag["tasks"].items():
        assert task["retries"] >= 1, name
        assert 0 < task["timeout_s"] <= 12 * 3600, name
        assert task["owner"] == "complete-the-look", name
        assert "**If this fails**" in task["doc"], name


def test_parameters_reach_the_shell_only_through_the_environment(
    dag: dict[str, Any],
) -> None:
    for name, task in dag["tasks"].items():
        if task["command"] is not None:
            assert "{{" not in task["command"], name
            assert "$(" not in task["command"], name
            assert "{{ params.root }}" in task["env"].values(), name


def test_every_task_gets_root_and_date(dag: dict[str, Any]) -> None:
    for name, task in dag["tasks"].items():
        values = (task["options"] or task["env"]).values()
        assert "{{ params.root }}" in values, name
        assert any("logical_date" in value for value in values), name


def test_a_refused_model_does_not_stop_the_rankings(dag: dict[str, Any]) -> None:
    # `promote` is skipped when the gate refuses; yesterday's champion ranks then.
    assert dag["tasks"]["rank_catalog"]["trigger_rule"] == "none_failed"
    # Whatever else fails must stop what comes after it.
    others = {
        name: task["trigger_rule"]
        for name, task in dag["tasks"].items()
        if name != "rank_catalog"
    }
    assert set(others.values()) == {"all_success"}


def test_input_that_was_refused_is_not_tried_again_and_anything_else_is(
    dag: dict[str, Any],
) -> None:
    decided = {name: task["after_exit_code"] for name, task in dag["tasks"].items()}
    # Exit code 2 says that the input is at fault; others may be the machine's.
    for name in ("build_dataset", "validate_dataset", "extract_features"):
        assert decided.pop(name) == {
            "1": "default",
            "2": "fail",
            "12": "default",
            "-2": "default",
        }, name
    # A fetch that got too few pictures ends like that too, and a host may come back.
    assert {action for of in decided.values() for action in of.values()} == {None}


def test_hosts_that_may_be_private_are_none_unless_they_are_named(
    dag: dict[str, Any],
) -> None:
    assert "{{ params.allow_hosts }}" in str(dag["tasks"]["fetch_images"])
    assert dag["params"]["allow_hosts"] == ""
    pattern = dag["schemas"]["allow_hosts"]["pattern"]
    for value in ("", "cdn.local", "10.0.0.7:8080,[::1]:80"):
        assert re.search(pattern, value), value
    for value in ("a b", "$(x)", "a;b", "http://a/"):
        assert not re.search(pattern, value), value


def test_the_baseline_of_validation_is_a_parameter_and_safe_in_a_path(
    dag: dict[str, Any],
) -> None:
    task = dag["tasks"]["validate_dataset"]
    assert "{{ params.validation_baseline }}" in task["env"].values()
    assert "`validation_baseline` set to `none`" in task["doc"]
    assert dag["params"]["validation_baseline"] == "previous"
    pattern = dag["schemas"]["validation_baseline"]["pattern"]
    for value in ("previous", "none", "fashion-41e3cf012875"):
        assert re.search(pattern, value), value
    for value in ("", "../models", "a/b", "-x", "a b"):
        assert not re.search(pattern, value), value


def test_every_parameter_is_described_and_has_a_type_or_its_choices(
    dag: dict[str, Any],
) -> None:
    for name, schema in dag["schemas"].items():
        assert dag["descriptions"][name], name
        assert schema.keys() & {"type", "enum"}, name


@pytest.mark.parametrize(
    ("name", "stage", "choices"),
    [
        ("negative_strategy", "build_dataset", Strategy),
        ("retry", "fetch_images", Retry),
    ],
)
def test_choices_of_a_job_are_parameters(
    name: str, stage: str, choices: type[StrEnum], dag: dict[str, Any]
) -> None:
    assert dag["schemas"][name]["enum"] == [choice.value for choice in choices]
    assert dag["params"][name] == next(iter(choices))
    assert dag["tasks"][stage]["options"][name] == f"{{{{ params.{name} }}}}"


def test_hosts_may_be_told_whom_to_ask(dag: dict[str, Any]) -> None:
    options = dag["tasks"]["fetch_images"]["options"]
    assert options["contact"] == "{{ params.contact }}"
    assert dag["params"]["contact"] == ""
    pattern = dag["schemas"]["contact"]["pattern"]
    for value in ("", "crawl@example.com", "https://example.com/crawl"):
        assert re.search(pattern, value), value
    for value in ("me", "a b@example.com", "é@example.com"):
        assert not re.search(pattern, value), value


def test_nights_do_not_overlap_and_the_past_is_not_made_up(dag: dict[str, Any]) -> None:
    assert dag["max_active_runs"] == 1
    assert dag["catchup"] is False
