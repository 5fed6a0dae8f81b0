"""What the processes of a task are told for their log lines.

Airflow gives every process that a task starts on its own machine the variables
`AIRFLOW_CTX_…`; the form is added here. A container elsewhere is told both.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from complete_the_look.settings import current_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

FORM_VARIABLE = "COMPLETE_THE_LOOK_LOGS"
_LONGEST_LABEL = 63  # of Google Cloud


def choose_form(_: Context) -> None:
    """Have what this task starts log as the settings say; called before it runs."""
    os.environ[FORM_VARIABLE] = current_settings().logs


def variables(context: Any) -> dict[str, str]:
    """The environment of a task's container, in as few variables as jobs look at."""
    ti = context["ti"]
    return {
        FORM_VARIABLE: str(current_settings().logs),
        "AIRFLOW_CTX_DAG_ID": ti.dag_id,
        "AIRFLOW_CTX_DAG_RUN_ID": ti.run_id,
        "AIRFLOW_CTX_TASK_ID": ti.task_id,
        "AIRFLOW_CTX_TRY_NUMBER": str(ti.try_number),
    }


def labels(context: Any) -> dict[str, str]:
    """Labels of a task's job on Google Cloud, by which its logs are found.

    Not of the try: another one waits for the job there is.
    """
    ti = context["ti"]
    return {
        "dag_id": label(ti.dag_id),
        "dag_run_id": label(ti.run_id),
        # Without the groups that the task is in.
        "stage": label(ti.task_id.rpartition(".")[2]),
    }


def label(text: str) -> str:
    """A text as the value of a label: lower-case letters, digits, `_` and `-`."""
    return re.sub(r"[^a-z0-9_]+", "-", text.lower())[:_LONGEST_LABEL]
