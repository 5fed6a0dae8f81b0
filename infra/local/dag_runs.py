"""Run DAGs one after the other in one process, without a scheduler.

    python -m infra.local.dag_runs '[["nightly_retrain", "2026-11-28", {"root": …}], …]'

As `airflow dags test` does it, which starts Airflow anew for every DAG. Stops at the
first that fails, with exit code 1.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.sdk import DagRunState, timezone
from airflow.utils.cli import get_bagged_dag


def run(dag_id: str, run_date: str, conf: dict[str, Any]) -> bool:
    """Run a DAG for a date; whether it succeeded."""
    dag = get_bagged_dag(bundle_names=None, dag_id=dag_id)
    dag_run = dag.test(logical_date=timezone.parse(run_date), run_conf=conf)
    return dag_run.state == DagRunState.SUCCESS


if __name__ == "__main__":
    sys.exit(0 if all(run(*item) for item in json.loads(sys.argv[1])) else 1)
