"""Who hears of what, and what of it a mail shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
import pytest
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from complete_the_look import alerts
from complete_the_look.environment import Alerts

TOLD = Alerts(("on-call@example.com",), "smtp_default", 6.0)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Subject and text of every mail."""
    found: list[tuple[str, str]] = []

    def keep(notifier: SmtpNotifier, context: Any) -> None:
        found.append((str(notifier.subject), str(notifier.html_content)))

    monkeypatch.setattr(SmtpNotifier, "notify", keep)
    return found


def late(run_type: str) -> None:
    alerts.tell_late(
        dag_id="nightly_retrain",
        hours=6,
        to=TOLD.email,
        smtp_conn_id=TOLD.smtp_conn_id,
        context={"dag_run": {"run_type": run_type}},
    )


def test_a_late_night_is_told_by_mail(sent: list[tuple[str, str]]) -> None:
    late("scheduled")
    ((subject, text),) = sent
    assert subject == "nightly_retrain is late"
    assert "has not ended 6 hours after it was queued" in text


def test_runs_of_a_backfill_that_wait_for_each_other_wake_nobody(
    sent: list[tuple[str, str]],
) -> None:
    late("backfill")
    assert sent == []


@pytest.mark.parametrize(
    ("context", "mails"), [({"reason": "timed_out"}, 1), ({"reason": "failed"}, 0)]
)
def test_a_run_that_was_ended_is_told_and_one_whose_task_failed_was_already(
    sent: list[tuple[str, str]], context: Mapping[str, Any], mails: int
) -> None:
    alerts.TimedOut("nightly_retrain", TOLD)(context)
    assert [subject for subject, _ in sent] == ["nightly_retrain took too long"] * mails


def test_a_mail_server_that_is_away_fails_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(notifier: SmtpNotifier, context: Any) -> None:
        raise ConnectionRefusedError("[Errno 111] Connection refused")

    monkeypatch.setattr(SmtpNotifier, "notify", refuse)
    for notifier in alerts.failure_notifiers(TOLD):
        if isinstance(notifier, SmtpNotifier):
            notifier.notify({})


def test_what_a_job_said_is_text_in_a_mail() -> None:
    (mail,) = (n for n in alerts.failure_notifiers(TOLD) if isinstance(n, SmtpNotifier))
    environment = jinja2.Environment(autoescape=False)
    shown = environment.from_string(str(mail.html_content)).render(
        exception='<img src="//evil">',
        task={"doc_md": "see `runs/<date>/checks.json`"},
        dag={"dag_id": "nightly_retrain"},
        ti={"log_url": "http://airflow/?a=1&b=2"},
    )
    assert "<img" not in shown
    assert "&lt;img src=&#34;//evil&#34;&gt;" in shown
    assert "runs/&lt;date&gt;/checks.json" in shown
