"""What Airflow does with jobs that fail, so the jobs are stubs; see `stub_job`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from airflow_server import Server
from mail_server import Mailbox, text_of

from infra.local.airflow_home import PROJECT

pytestmark = pytest.mark.standalone

HANGS = "2026-01-15"
# The schedule's dates, and what every stage does once on each.
MONTHS = {"2026-02-01": "crash", "2026-03-01": "die", "2026-04-01": "refuse"}
NIGHTLY = [
    *("preflight", "fetch_images", "build_dataset", "validate_dataset"),
    *("extract_features", "what_is_new", "train", "evaluate", "gate", "promote"),
    "offer_catalog",
]
EXPORT = ["rank_catalog", "publish", "report"]
# A host may come back, and a warehouse be closed.
MAY_PASS = {"fetch_images", "publish", "report"}
TABLE = PROJECT / "build" / "orchestration-failures.md"

Call = tuple[str, str, str, str]
"""Date, stage, what it did, and the number of its process."""


def calls(root: Path) -> list[Call]:
    lines = (root / "calls").read_text().splitlines()
    return [
        (date, stage, what, pid) for date, stage, what, pid in map(str.split, lines)
    ]


def words(root: Path, date: str, stage: str) -> list[str]:
    """What a stage did on a date, try by try."""
    return [what for day, name, what, _ in calls(root) if (day, name) == (date, stage)]


def conf_of(root: Path) -> dict[str, str]:
    return {"root": str(root), "catalog": str(root), "image_host": ""}


def test_a_task_process_that_is_killed_is_tried_again(
    server: Server, stubbed: Path
) -> None:
    (stubbed / "inject" / f"evaluate-{HANGS}").write_text("hang")
    run_id = server.trigger("nightly_retrain", HANGS, conf_of(stubbed))

    def hanging() -> list[str]:
        assert server.state("nightly_retrain", run_id) in ("queued", "running")
        return [pid for day, _, what, pid in calls(stubbed) if what == "hang"]

    (job,) = server.wait("a job that hangs", hanging)
    task = server.tasks("nightly_retrain", run_id)["evaluate"]
    # Airflow's process of the task, not the job's.
    os.kill(task["pid"], signal.SIGKILL)
    assert server.wait_for_end("nightly_retrain", run_id) == "success"
    assert server.tasks("nightly_retrain", run_id)["evaluate"]["try_number"] == 2
    # The job outlives its task, and nobody waits for it any more.
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(job), signal.SIGKILL)


def inject(root: Path) -> None:
    for date, word in MONTHS.items():
        for stage in (*NIGHTLY, *EXPORT):
            (root / "inject" / f"{stage}-{date}").write_text(word)


def failed_task(server: Server, dag_id: str, run_id: str) -> str:
    (name,) = [
        task["task_id"]
        for task in server.tasks(dag_id, run_id).values()
        if task["state"] == "failed"
    ]
    return str(name)


def to_success(server: Server, dag_id: str, run_id: str) -> list[str]:
    """Clear what has failed for good until the run succeeds; what that was."""
    cleared = []
    while server.wait_for_end(dag_id, run_id) == "failed":
        cleared.append(failed_task(server, dag_id, run_id))
        server.clear(dag_id, run_id, cleared[-1])
        server.wait(
            "another try",
            lambda: server.state(dag_id, run_id) in ("queued", "running", "success"),
        )
    return cleared


def backfill_nights(server: Server, root: Path) -> None:
    """As docs/orchestration.md tells."""
    server.airflow(
        *("backfill", "create", "--dag-id=nightly_retrain", "--max-active-runs=1"),
        *(f"--from-date={min(MONTHS)}", f"--to-date={max(MONTHS)}T23:00:00"),
        *("--reprocess-behavior=none", f"--dag-run-conf={json.dumps(conf_of(root))}"),
    )


def nights(server: Server) -> list[dict[str, Any]]:
    """Runs of backfills, once there is one for every date."""
    runs = server.runs("nightly_retrain")
    found = [run for run in runs if run["run_type"] == "backfill"]
    return found if len(found) == len(MONTHS) else []


def all_completed(server: Server) -> bool:
    found = server.call("GET", "/api/v2/backfills?dag_id=nightly_retrain")["backfills"]
    return all(backfill["completed_at"] for backfill in found)


def test_three_nights_recover_from_a_failure_in_each_of_their_stages(
    server: Server, stubbed: Path, mailbox: Mailbox
) -> None:
    inject(stubbed)
    before = len(server.runs("export_rankings"))
    backfill_nights(server, stubbed)
    cleared: dict[str, list[str]] = {}
    for run in server.wait("three nights", lambda: nights(server)):
        date = run["logical_date"][:10]
        cleared[date] = to_success(server, "nightly_retrain", run["dag_run_id"])

    exported: list[str] = []

    def all_are_exported() -> bool:
        for run in server.runs("export_rankings")[before:]:
            exported.extend(to_success(server, "export_rankings", run["dag_run_id"]))
        return all(words(stubbed, date, "report")[-1:] == ["ok"] for date in MONTHS)

    server.wait("exports of every date", all_are_exported, minutes=60)
    for date, word in MONTHS.items():
        for stage in (*NIGHTLY, *EXPORT):
            last = "skip" if stage == "offer_catalog" else "ok"
            done = words(stubbed, date, stage)
            # Every export looks first, and may be of several dates.
            assert done[:2] == [word, last], (date, stage)
            assert stage == "preflight" or len(done) == 2, (date, stage)
    # Only a refusal is final, where it cannot pass by itself.
    crashed, died, refused = cleared.values()
    assert crashed == died == []
    final = [stage for stage in NIGHTLY if stage not in MAY_PASS]
    assert refused == final
    assert exported == ["rank_catalog"]
    for stage in final:
        assert_told(mailbox, f"nightly_retrain.{stage} failed", "**If this fails**")
    write_table(refused + exported)


def assert_told(mailbox: Mailbox, subject: str, text: str) -> None:
    (mail,) = mailbox.find(subject)
    assert text in text_of(mail)


def test_the_same_backfill_once_more_finds_every_date_done(
    server: Server, stubbed: Path
) -> None:
    server.wait("end of the backfill", lambda: all_completed(server))
    n_calls = len(calls(stubbed))
    backfill_nights(server, stubbed)
    server.wait("end of the backfill", lambda: all_completed(server))
    assert len(calls(stubbed)) == n_calls


def write_table(cleared: list[str]) -> None:
    """What docs/orchestration.md shows."""
    lines = [
        "| stage | " + " | ".join(f"{d}: {w}" for d, w in MONTHS.items()) + " |",
        "|---|" + "---|" * len(MONTHS),
    ]
    for stage in (*NIGHTLY, *EXPORT):
        cells = [
            "failed for good, told by mail, cleared by hand; 2nd try succeeds"
            if word == "refuse" and stage in cleared
            else "2nd try, by itself, succeeds"
            for word in MONTHS.values()
        ]
        lines.append(f"| `{stage}` | " + " | ".join(cells) + " |")
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")
