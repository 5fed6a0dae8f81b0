"""Print what DAG files hold, as JSON; run in a process of its own.

Airflow wants its home set before it is imported, and what the files import is part of
what is tested.

    python tests/dags/describe_dags.py dags/nightly_retrain.py …
"""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
import time
from pathlib import Path
from typing import Any

# What the operators' exceptions say when a job ends with a code.
FAILED = {
    "ModuleOperator": "The command returned a non-zero exit code {}.",
    "BeamOperator": "Apache Beam process failed with return code {}",
}
WORDS = {
    "denied": "403 PERMISSION_DENIED: caller lacks dataflow.jobs.create",
    "expired": "google.auth.exceptions.RefreshError: invalid_grant",
    "quota": "429 RESOURCE_EXHAUSTED: Quota exceeded for CPUS",
    "other": "connection reset by peer",
}


def main(files: list[str]) -> None:
    """Describe each DAG."""
    sys.path.append("dags")
    described, parse_cpu_s = {}, {}
    for file in files:
        start = time.process_time()
        dag = runpy.run_path(file)["dag"]
        parse_cpu_s[Path(file).stem] = time.process_time() - start
        dag.validate()
        described[Path(file).stem] = _dag(dag)
    heavy = {"tensorflow", "apache_beam", "keras", "google.cloud.aiplatform"}
    rooms = {"beam_jobs", "trainer", "tfrecords_schema", "infra"}
    print(
        json.dumps(
            {
                "dags": described,
                "parse_cpu_s": parse_cpu_s,
                "heavy": sorted(heavy & set(sys.modules)),
                "rooms": sorted(rooms & set(sys.modules)),
                "modules": len(sys.modules),
            },
            default=str,
        )
    )


def _dag(dag: Any) -> dict[str, Any]:
    from airflow.serialization.serialized_objects import DagSerialization

    DagSerialization.serialize_dag(dag)  # what the scheduler gets must be possible
    return {
        "dag_id": dag.dag_id,
        "doc": dag.doc_md,
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "starts_paused": dag.is_paused_upon_creation,
        "tells_of_its_end": [
            type(t).__name__ for t in _listed(dag.on_failure_callback)
        ],
        "tags": sorted(dag.tags),
        "timeout_s": dag.dagrun_timeout.total_seconds(),
        "deadlines_s": [
            [type(alert.reference).__name__, alert.interval]
            for alert in dag.deadline or []
        ],
        "timetable": type(dag.timetable).__name__,
        "starts_with": sorted(_assets(dag.timetable)),
        "params": dict(dag.params.dump()),
        "schemas": {name: dag.params.get_param(name).schema for name in dag.params},
        "descriptions": {
            name: dag.params.get_param(name).description for name in dag.params
        },
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
        "groups": sorted(filter(None, dag.task_group_dict)),
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _assets(timetable: Any) -> list[str]:
    condition = getattr(timetable, "asset_condition", None)
    return [asset.name for asset in condition.objects] if condition else []


def _task(task: Any) -> dict[str, Any]:
    kind = type(task).__name__
    group = task.task_group
    return {
        "type": kind,
        "group": group.group_id,
        "is_mapped": any(True for _ in group.iter_mapped_task_groups()),
        "upstream": sorted(task.upstream_task_ids),
        "retries": task.retries,
        "backs_off": bool(task.retry_exponential_backoff),
        "timeout_s": task.execution_timeout and task.execution_timeout.total_seconds(),
        "doc": task.doc_md,
        "owner": task.owner,
        "pool": task.pool,
        "one_at_a_time": task.max_active_tis_per_dagrun == 1,
        "trigger_rule": getattr(task.trigger_rule, "value", task.trigger_rule),
        "inlets": sorted(asset.name for asset in task.inlets),
        "outlets": sorted(asset.name for asset in task.outlets),
        "event_extra": getattr(task, "event_extra", None),
        "command": getattr(task, "bash_command", None),
        "env": getattr(task, "env", None),
        "options": getattr(task, "pipeline_options", None),
        "logs": _chosen_logs(task),
        "notifiers": [type(item).__name__ for item in task.on_failure_callback or []],
        "after": {
            **{n: _decided(task, FAILED[kind].format(n)) for n in (1, 2, 12, -2)},
            **{word: _decided(task, text) for word, text in WORDS.items()},
        }
        if kind in FAILED
        else None,
        "mapping": getattr(task, "options_mapping", None),
    }


def _chosen_logs(task: Any) -> str | None:
    """The form of the log lines that a task's processes are told, if they are."""
    if task._pre_execute_hook is None:
        return None
    os.environ.pop("COMPLETE_THE_LOOK_LOGS", None)
    task._pre_execute_hook({})
    return os.environ["COMPLETE_THE_LOOK_LOGS"]


def _decided(task: Any, message: str) -> str:
    decision = task.retry_policy.evaluate(RuntimeError(message), 1, 3)
    delay = decision.retry_delay
    after = f" after {delay.total_seconds():.0f} s" if delay else ""
    return re.sub(r"^retryaction\.", "", decision.action.value) + after


if __name__ == "__main__":
    main(sys.argv[1:])
