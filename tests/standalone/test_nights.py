"""The DAGs with the real jobs on a small catalogue, as their users see them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow_server import Server
from mail_server import Mailbox, text_of

pytestmark = pytest.mark.standalone

NIGHT, BACKFILLED, REJECTED = "2026-01-05", ["2026-01-06", "2026-01-07"], "2026-01-08"


def processes(*words: str) -> list[int]:
    """Of this machine, with all the words in their command line, but no shell."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if all(word in command for word in words) and "bash" not in command:
            found.append(int(path.parent.name))
    return found


def published(root: Path, table: str = "rankings") -> list[str]:
    with duckdb.connect(str(root / "warehouse.duckdb"), read_only=True) as warehouse:
        query = f"SELECT DISTINCT CAST(run_date AS VARCHAR) FROM {table} ORDER BY 1"
        return [date for (date,) in warehouse.sql(query).fetchall()]


def states(tasks: dict[str, dict[str, Any]], task_id: str) -> set[str]:
    """Of a task, for every date that it is mapped over."""
    return {task["state"] for task in tasks.values() if task["task_id"] == task_id}


def test_the_schedule_starts_a_night_and_its_event_an_export(server: Server) -> None:
    night, export = server.runs("nightly_retrain")[0], server.runs("export_rankings")[0]
    assert (night["run_type"], night["state"]) == ("scheduled", "success")
    assert (export["run_type"], export["state"]) == ("asset_triggered", "success")


def test_a_night_whose_training_is_killed_ends_well_and_starts_its_export(
    server: Server, night: dict[str, str], folder: Path
) -> None:
    before = len(server.runs("export_rankings"))
    run_id = server.trigger("nightly_retrain", NIGHT, night)
    training = server.wait("training", lambda: processes("trainer.task", night["root"]))
    os.kill(training[0], signal.SIGKILL)
    assert server.wait_for_end("nightly_retrain", run_id) == "success"
    tasks = server.tasks("nightly_retrain", run_id)
    assert tasks["train"]["try_number"] == 2
    # The promotion has started the export; there is nothing else to offer.
    assert tasks["promote"]["state"] == "success"
    assert tasks["offer_catalog"]["state"] == "skipped"

    (export,) = server.wait("export", lambda: server.runs("export_rankings")[before:])
    assert export["run_type"] == "asset_triggered"
    assert server.wait_for_end("export_rankings", export["dag_run_id"]) == "success"
    assert published(folder / "root") == [NIGHT]
    assert (folder / "root" / "reports" / NIGHT / "index.html").exists()
    exported = server.tasks("export_rankings", export["dag_run_id"])
    # Nothing is done twice.
    assert states(exported, "fetch_images") == {"skipped"}


def test_a_night_that_takes_too_long_is_told_by_mail(
    server: Server, mailbox: Mailbox
) -> None:
    (mail, *_) = server.wait("mail", lambda: mailbox.find("nightly_retrain is late"))
    assert mail["To"] == "on-call@example.com"
    assert "has not ended 0.005 hours after it was queued" in text_of(mail)


def backfill(server: Server, night: dict[str, str], first: str, last: str) -> str:
    """Start a backfill; its run, once it asks."""
    conf = {**night, "first_date": first, "last_date": last}
    run_id = server.trigger("backfill_catalog", None, conf)

    def asks() -> bool:
        state = server.state("backfill_catalog", run_id)
        assert state not in ("success", "failed"), server.tasks(
            "backfill_catalog", run_id
        )
        return bool(server.questions("backfill_catalog", run_id))

    server.wait("a question", asks)
    return run_id


def test_a_backfill_is_seen_by_nobody_until_a_person_approves(
    server: Server, night: dict[str, str], folder: Path
) -> None:
    root = folder / "root"
    run_id = backfill(server, night, BACKFILLED[0], BACKFILLED[-1])
    (question,) = server.questions("backfill_catalog", run_id)
    for date in BACKFILLED:
        assert f"{date}: rows rankings 0 → 3,600" in question["body"]
    assert published(root) == [NIGHT]

    server.answer("backfill_catalog", run_id, "ask_approval", "Approve")
    assert server.wait_for_end("backfill_catalog", run_id) == "success"
    assert published(root) == [NIGHT, *BACKFILLED]
    tasks = server.tasks("backfill_catalog", run_id)
    assert states(tasks, "drop_staged") == {"skipped"}
    for date in BACKFILLED:
        decided = json.loads((root / "runs" / date / "approval.json").read_text())
        assert decided["decision"] == "approved"
        assert decided["decided_by"] not in (None, "", "nobody in time")
        assert (root / "reports" / date / "index.html").exists()
    # Nothing was trained for the dates, so nothing was evaluated.
    assert published(root, "model_evaluations") == [NIGHT]


def test_a_backfill_that_a_person_rejects_leaves_nothing(
    server: Server, night: dict[str, str], folder: Path
) -> None:
    root = folder / "root"
    before = published(root)
    run_id = backfill(server, night, REJECTED, REJECTED)
    server.answer("backfill_catalog", run_id, "ask_approval", "Reject")
    assert server.wait_for_end("backfill_catalog", run_id) == "success"
    assert published(root) == before
    tasks = server.tasks("backfill_catalog", run_id)
    assert states(tasks, "drop_staged") == {"success"}
    assert states(tasks, "swap") == states(tasks, "report") == {"skipped"}
    decided = json.loads((root / "runs" / REJECTED / "approval.json").read_text())
    assert decided["decision"] == "rejected"
