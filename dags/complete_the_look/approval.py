"""Tables that wait for a person: staged, asked about, swapped in or dropped."""

from __future__ import annotations

import datetime
from typing import Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import BaseOperator, task_group

from complete_the_look.alerts import notifiers
from complete_the_look.assets import RANKINGS
from complete_the_look.engines import Run, warehouse_task
from complete_the_look.settings import current_settings

ASK = "ask_approval"
APPROVE, REJECT = "Approve", "Reject"

WAITS = """\
{{ dag.dag_id }} has staged {{ params.first_date }} to {{ params.last_date }} and waits
for somebody to approve or reject it, under Required Actions. Without an answer it is
rejected after the setting approval_wait_h.

Log: {{ ti.log_url }}"""

_DECIDED_BY = (
    "{{ (ti.xcom_pull(task_ids='" + ASK + "', key='decided_by') or 'nobody in time') }}"
)


class ApprovalOperator(HITLBranchOperator):
    """Asks a person, goes on by the answer, and remembers whose it was."""

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Take the answer."""
        user = event.get("responded_by_user") or {}
        if user.get("name"):
            context["ti"].xcom_push(key="decided_by", value=user["name"])
        return super().execute_complete(context, event)


def stage_tables(run: Run) -> BaseOperator:
    """Lists and figures beside the published tables."""
    return warehouse_task(
        "stage_tables",
        "beam_jobs.publish",
        run,
        options={"warehouse": "{{ params.warehouse }}"},
        flags=["stage_only"],
        doc_md="""Stage the date and check it; publish nothing.

**If this fails**: a check refused the tables, `runs/<date>/checks.json` has rows that
break it. Nothing waits for an approval, and what readers see is unchanged.""",
    )


def ask_approval(*, approve: str, reject: str) -> BaseOperator:
    """Wait for a person.

    Args:
        approve: task that follows.
        reject: task that follows otherwise.
    """
    settings = current_settings()
    return ApprovalOperator(
        task_id=ASK,
        subject="Publish {{ params.catalog }} for {{ params.first_date }} to "
        "{{ params.last_date }}?",
        body="""Staged and checked, one line a date; `runs/<date>/approval.json` under
{{ params.root }} has every table.

{% set told = ti.xcom_pull(task_ids='stage_tables') -%}
{% for line in ([told] if told is string else told) -%}
- {{ line }}
{% endfor %}""",
        options=[APPROVE, REJECT],
        options_mapping={APPROVE: approve, REJECT: reject},
        defaults=REJECT,
        response_timeout=datetime.timedelta(hours=settings.approval_wait_h),
        execution_timeout=None,
        notifiers=notifiers(
            settings.alerts,
            subject="{{ dag.dag_id }} waits for an approval",
            message=WAITS,
        ),
        doc_md="""Wait until somebody approves or rejects what is staged.

Without an answer it is rejected after the setting `approval_wait_h`.

**If this fails**: clear it, and it asks again. What is staged stays as it is.""",
    )


def swap(run: Run) -> BaseOperator:
    """A staged date into the published tables."""
    return warehouse_task(
        "swap",
        "beam_jobs.approve",
        run,
        options={"by": _DECIDED_BY},
        outlets=[RANKINGS],
        doc_md="""Check the staged date once more and swap it in, whole.

**If this fails**: the line says whether the staging or the published date has changed
since it was asked about: trigger the backfill again. Dates before this one are
published; each is whole. To undo the last one:
`python -m beam_jobs.approve --root R --run_date D --by NAME --rollback`.""",
    )


def drop_staged(run: Run) -> BaseOperator:
    """A staged date dropped."""
    return warehouse_task(
        "drop_staged",
        "beam_jobs.approve",
        run,
        options={"by": _DECIDED_BY},
        flags=["reject"],
        doc_md="""Drop what is staged for the date.

**If this fails**: nothing was published. Clear the task, or leave it: staging the date
again replaces what is there.""",
    )


@task_group(prefix_group_id=False)
def drop_date(run_date: Any) -> None:
    """Drop what is staged for a date."""
    drop_staged(Run(run_date=run_date))
