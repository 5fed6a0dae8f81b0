"""Who hears what: of tasks that failed, and of runs that are late or were ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseNotifier, DeadlineAlert, DeadlineReference, SyncCallback

from complete_the_look.environment import Alerts

FAILED = """\
{{ dag.dag_id }}.{{ ti.task_id }} failed, try {{ ti.try_number }} of run {{ run_id }}.
{{ exception or "no exception was passed on; see the log" }}

{{ task.doc_md or "" }}

Log: {{ ti.log_url }}"""


class LogNotifier(BaseNotifier):
    """Says in the log what failed and what to do, where a log collector finds it."""

    template_fields = ("message",)

    def __init__(self, *, message: str = FAILED, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message = message

    def notify(self, context: Mapping[str, Any]) -> None:
        """Write the message."""
        self.log.error("%s", self.message)


class MailNotifier(SmtpNotifier):
    """Sends a mail; where that fails, the log says so and nothing else does.

    An approval would fail with its notifier, and whoever is told by the log is told.
    """

    def notify(self, context: Mapping[str, Any]) -> None:
        """Send the mail."""
        try:
            super().notify(context)
        except Exception:  # of a server, a connection or a template
            self.log.exception("no mail was sent: %s", self.subject)


def notifiers(alerts: Alerts, *, subject: str, message: str) -> list[BaseNotifier]:
    """Who hears of something: the log, and the addresses there are.

    Args:
        alerts: the environment's.
        subject: of the mail; a template.
        message: a template; what fills it is text, whatever it looks like.
    """
    found: list[BaseNotifier] = [LogNotifier(message=message)]
    if alerts.email:
        found.append(
            MailNotifier(
                to=list(alerts.email),
                smtp_conn_id=alerts.smtp_conn_id,
                subject=subject,
                html_content=f"<pre>{{% filter e %}}{message}{{% endfilter %}}</pre>",
            )
        )
    return found


def failure_notifiers(alerts: Alerts) -> Sequence[BaseNotifier]:
    """Who hears of a failed task."""
    subject = "{{ dag.dag_id }}.{{ ti.task_id }} failed"
    return notifiers(alerts, subject=subject, message=FAILED)


def tell_late(
    *,
    dag_id: str,
    hours: float,
    to: Sequence[str],
    smtp_conn_id: str,
    context: Mapping[str, Any] | None = None,
) -> None:
    """Say that a run is not over when it should be; called when the deadline passes.

    Of a backfill's runs the log alone: all of them are queued at once, and wait for
    each other.
    """
    message = (
        f"{dag_id} has not ended {hours:g} hours after it was queued. What it waits "
        "for is in its grid view; see docs/orchestration.md, Late"
    )
    is_backfill = (context or {}).get("dag_run", {}).get("run_type") == "backfill"
    alerts = Alerts(() if is_backfill else tuple(to), smtp_conn_id, None)
    for notifier in notifiers(alerts, subject=f"{dag_id} is late", message=message):
        notifier.notify({})


class TimedOut:
    """Tells of a run that has taken as long as it may.

    Its tasks were skipped, so none of them has told anybody. A run that ends because a
    task failed has been told of already.
    """

    def __init__(self, dag_id: str, alerts: Alerts) -> None:
        self.dag_id = dag_id
        self.alerts = alerts

    def __call__(self, context: Mapping[str, Any]) -> None:
        """Called when a run has failed."""
        if context.get("reason") != "timed_out":
            return
        message = (
            f"{self.dag_id} was ended, and its open tasks skipped: the run took longer "
            "than its dagrun_timeout. Jobs that it started elsewhere may go on; see "
            "docs/runbook.md, late"
        )
        subject = f"{self.dag_id} took too long"
        for notifier in notifiers(self.alerts, subject=subject, message=message):
            notifier.notify({})


def told_of_run(dag_id: str, alerts: Alerts, *, waits_h: float = 0) -> dict[str, Any]:
    """What a DAG is given so that a run that is late, or ended, is told of.

    Args:
        dag_id: of it.
        alerts: the environment's.
        waits_h: that a run may wait for a person.
    """
    return {
        "deadline": deadline(dag_id, alerts, waits_h=waits_h),
        "on_failure_callback": TimedOut(dag_id, alerts),
    }


def deadline(
    dag_id: str, alerts: Alerts, *, waits_h: float = 0
) -> DeadlineAlert | None:
    """An alert some hours after a run was queued.

    Not after its logical date: of a backfill that lies in the past, so that every run
    would be late when it starts.
    """
    if alerts.deadline_h is None:
        return None
    hours = alerts.deadline_h + waits_h
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        # Seconds: with a timedelta no task of a run that is not late yet can be cleared
        # (Airflow 3.3, apache/airflow issue 70368). Either is read.
        interval=hours * 3600,
        callback=SyncCallback(
            tell_late,
            kwargs={
                "dag_id": dag_id,
                "hours": hours,
                "to": list(alerts.email),
                "smtp_conn_id": alerts.smtp_conn_id,
            },
        ),
    )
