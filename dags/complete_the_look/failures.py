"""What happens when a task fails or a night is late: tries, waits, and who is told."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseNotifier, DeadlineAlert, DeadlineReference, SyncCallback
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from complete_the_look.environment import Alerts, Retries

# How the operators' messages end where a job refused its input.
_REFUSED = re.compile(r"\b(exit|return) code 2\.?$")
# Words of Google's services; another try within the hour is refused like the first.
_DENIED = re.compile(
    r"PERMISSION_DENIED|UNAUTHENTICATED|invalid_grant|\b40[13]\b|RefreshError"
    r"|DefaultCredentialsError"
)
_EXHAUSTED = re.compile(
    r"RESOURCE_EXHAUSTED|RESOURCE_POOL_EXHAUSTED|\bquota|\b429\b|rateLimitExceeded",
    re.IGNORECASE,
)
QUOTA_DELAY = datetime.timedelta(minutes=30)

FAILED = """\
{{ dag.dag_id }}.{{ ti.task_id }} failed, try {{ ti.try_number }} of run {{ run_id }}.
{{ exception or "no exception was passed on; see the log" }}

{{ task.doc_md or "" }}

Log: {{ ti.log_url }}"""


class RetryByKind(RetryPolicy):
    """Another try where it may help, later where it needs time, and none where not.

    - A job that refused its input (exit code 2) is not tried again; that of a host or a
      lock, which may come back, is where `refusal_is_final` is false.
    - A credential or permission is not tried again.
    - A quota is, after half an hour.
    - Whatever else fails is, as the task's `retries` and back-off say.
    """

    def __init__(self, *, refusal_is_final: bool) -> None:
        self.refusal_is_final = refusal_is_final

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: object = None,
    ) -> RetryDecision:
        """Decide by the words of the operator's message."""
        message = str(exception)
        if _REFUSED.search(message):
            if self.refusal_is_final:
                return RetryDecision.fail("the same input would be refused again")
            return RetryDecision.default()
        if _DENIED.search(message):
            return RetryDecision.fail("a credential or permission does not mend itself")
        if _EXHAUSTED.search(message):
            return RetryDecision.retry(QUOTA_DELAY, "a quota needs time")
        return RetryDecision.default()


class LogNotifier(BaseNotifier):
    """Says in the log what failed and what to do, where a log collector finds it."""

    template_fields = ("message",)

    def __init__(self, *, message: str = FAILED, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message = message

    def notify(self, context: Mapping[str, Any]) -> None:
        """Write the message."""
        self.log.error("%s", self.message)


def failure_notifiers(alerts: Alerts) -> Sequence[BaseNotifier]:
    """Who hears of a failed task: the log, and the addresses there are."""
    notifiers: list[BaseNotifier] = [LogNotifier()]
    if alerts.email:
        notifiers.append(
            SmtpNotifier(
                to=list(alerts.email),
                smtp_conn_id=alerts.smtp_conn_id,
                subject="{{ dag.dag_id }}.{{ ti.task_id }} failed",
                html_content=f"<pre>{FAILED}</pre>",
            )
        )
    return notifiers


def tell_late(
    *, dag_id: str, hours: float, to: Sequence[str], smtp_conn_id: str, **_: Any
) -> None:
    """Say that a run is not over when it should be; called when the deadline passes."""
    message = (
        f"{dag_id} has not ended {hours:g} hours after it was queued. What it waits "
        "for is in its grid view; see docs/orchestration.md, Late"
    )
    LogNotifier(message=message).notify({})
    if to:
        notifier = SmtpNotifier(
            to=list(to),
            smtp_conn_id=smtp_conn_id,
            subject=f"{dag_id} is late",
            html_content=f"<pre>{message}</pre>",
        )
        notifier.notify({})


def deadline(dag_id: str, alerts: Alerts) -> DeadlineAlert | None:
    """An alert some hours after a run was queued.

    Not after its logical date: of a backfill that lies in the past, so that every run
    would be late when it starts.
    """
    if alerts.deadline_h is None:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        # Seconds: with a timedelta no task of a run that is not late yet can be cleared
        # (Airflow 3.3, apache/airflow issue 70368). Either is read.
        interval=alerts.deadline_h * 3600,
        callback=SyncCallback(
            tell_late,
            kwargs={
                "dag_id": dag_id,
                "hours": alerts.deadline_h,
                "to": list(alerts.email),
                "smtp_conn_id": alerts.smtp_conn_id,
            },
        ),
    )


def default_args(retries: Retries, alerts: Alerts, *, pool: str) -> dict[str, Any]:
    """What every task of every DAG has in common."""
    return {
        "owner": "complete-the-look",
        "pool": pool,
        "retries": retries.count,
        "retry_delay": datetime.timedelta(minutes=retries.delay_min),
        "retry_exponential_backoff": True,
        "max_retry_delay": datetime.timedelta(minutes=retries.max_delay_min),
        "on_failure_callback": failure_notifiers(alerts),
    }
