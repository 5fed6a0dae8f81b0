"""The DAGs on a real Airflow, over its REST API; `make test-airflow`.

One server for all tests of the file, as it takes minutes to start. The first tests run
the real jobs on a small catalogue. The others are about what Airflow does with jobs
that fail, so their jobs are stubs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow_server import Server, standalone, stub_root, write_settings
from planted_catalog import write_backbone, write_catalog

from examples.lookbook.host import serve
from infra.local.airflow_home import PROJECT

pytestmark = pytest.mark.standalone

NIGHT, BACKFILLED = "2026-01-05", ["2026-01-06", "2026-01-07"]
# The schedule's dates, and what every stage does once on each.
MONTHS = {"2026-01-01": "crash", "2026-02-01": "die", "2026-03-01": "refuse"}
NIGHTLY = [
    *("preflight", "fetch_images", "build_dataset", "validate_dataset"),
    *("extract_features", "what_is_new", "train", "evaluate", "gate", "promote"),
    "offer_catalog",
]
EXPORT = ["rank_catalog", "publish", "report"]
MAY_PASS = {"fetch_images", "publish", "report"}
TABLE = PROJECT / "build" / "orchestration-failures.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("standalone")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    settings = write_settings(folder, schedule="0 2 1 * *")
    with standalone(folder, settings) as running:
        yield running


@pytest.fixture(scope="module")
def night(folder: Path) -> Iterator[dict[str, str]]:
    """Parameters of a run of the real jobs."""
    write_catalog(folder / "catalog")
    write_backbone(folder / "backbone.keras")
    with serve(folder / "catalog") as host:
        yield {
            "root": str(folder / "root"),
            "catalog": str(folder / "catalog"),
            "image_host": host,
            "backbone": str(folder / "backbone.keras"),
        }


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


def test_a_night_whose_training_is_killed_ends_well_and_starts_its_export(
    server: Server, night: dict[str, str], folder: Path
) -> None:
    run_id = server.trigger("nightly_retrain", NIGHT, night)
    training = server.wait("training", lambda: processes("trainer.task", night["root"]))
    os.kill(training[0], signal.SIGKILL)
    assert server.wait_for_end("nightly_retrain", run_id) == "success"
    tasks = server.tasks("nightly_retrain", run_id)
    assert tasks["train"]["try_number"] == 2
    # The promotion has started the export; there is nothing else to offer.
    assert tasks["promote"]["state"] == "success"
    assert tasks["offer_catalog"]["state"] == "skipped"

    (export,) = server.wait("export", lambda: server.runs("export_rankings"))
    assert export["run_type"] == "asset_triggered"
    assert server.wait_for_end("export_rankings", export["dag_run_id"]) == "success"
    assert published(folder / "root") == [NIGHT]
    assert (folder / "root" / "reports" / NIGHT / "index.html").exists()
    exported = server.tasks("export_rankings", export["dag_run_id"])
    assert exported["fetch_images"]["state"] == "skipped"  # nothing is done twice


def test_a_backfill_is_seen_by_nobody_until_a_person_approves(
    server: Server, night: dict[str, str], folder: Path
) -> None:
    root = folder / "root"
    dates = {"first_date": BACKFILLED[0], "last_date": BACKFILLED[-1]}
    run_id = server.trigger("backfill_catalog", None, {**night, **dates})
    waiting = "/api/v2/dags/backfill_catalog/dagRuns/~/hitlDetails"

    def asked() -> Any:
        state = server.state("backfill_catalog", run_id)
        assert state != "failed", server.tasks("backfill_catalog", run_id)
        return server.call("GET", waiting)["hitl_details"]

    (request,) = server.wait("request", asked)
    for date in BACKFILLED:
        assert f"{date}: rows rankings 0 → 3,600" in request["body"]
    assert published(root) == [NIGHT]

    answer = f"/api/v2/dags/backfill_catalog/dagRuns/{run_id}/taskInstances/"
    server.call(
        "PATCH",
        f"{answer}ask_approval/-1/hitlDetails",
        {"chosen_options": ["Approve"], "params_input": {}},
    )
    assert server.wait_for_end("backfill_catalog", run_id) == "success"
    assert published(root) == [NIGHT, *BACKFILLED]
    tasks = server.tasks("backfill_catalog", run_id)
    dropped = {t["state"] for n, t in tasks.items() if n.startswith("drop_staged")}
    assert dropped == {"skipped"}
    for date in BACKFILLED:
        request_file = root / "runs" / date / "approval.json"
        decided = json.loads(request_file.read_text())
        assert decided["decision"] == "approved"
        assert decided["decided_by"] not in (None, "", "nobody in time")
        assert (root / "reports" / date / "index.html").exists()
    # Nothing was trained for the dates, so nothing was evaluated.
    assert published(root, "model_evaluations") == [NIGHT]


@pytest.fixture(scope="module")
def stubbed(folder: Path) -> Path:
    return stub_root(folder / "stubbed")


def calls(root: Path) -> list[list[str]]:
    return [line.split() for line in (root / "calls").read_text().splitlines()]


def test_a_task_process_that_is_killed_is_tried_again(
    server: Server, stubbed: Path
) -> None:
    date = "2025-12-31"
    (stubbed / "inject" / f"evaluate-{date}").write_text("hang")
    run_id = server.trigger("nightly_retrain", date, conf_of(stubbed))

    def hanging() -> list[str]:
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


def conf_of(root: Path) -> dict[str, str]:
    return {"root": str(root), "catalog": str(root), "image_host": ""}


def inject(root: Path) -> None:
    for date, word in MONTHS.items():
        for stage in (*NIGHTLY, *EXPORT):
            then = " skip" if stage == "offer_catalog" else ""
            (root / "inject" / f"{stage}-{date}").write_text(word + then)


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


def test_three_nights_recover_from_a_failure_in_each_of_their_stages(
    server: Server, stubbed: Path
) -> None:
    inject(stubbed)
    # Exports of the other tests are not counted.
    before = {run["dag_run_id"] for run in server.runs("export_rankings")}
    body = {
        "dag_id": "nightly_retrain",
        "from_date": f"{min(MONTHS)}T00:00:00Z",
        "to_date": f"{max(MONTHS)}T23:00:00Z",
        "max_active_runs": 1,
        "reprocess_behavior": "none",
        "dag_run_conf": conf_of(stubbed),
    }
    server.call("POST", "/api/v2/backfills", body)

    def nights() -> list[dict[str, Any]]:
        runs = server.runs("nightly_retrain")
        found = [run for run in runs if run["run_type"] == "backfill"]
        return found if len(found) == len(MONTHS) else []

    cleared: dict[str, list[str]] = {}
    for run in server.wait("three nights", nights):
        date = run["logical_date"][:10]
        cleared[date] = to_success(server, "nightly_retrain", run["dag_run_id"])

    exported: list[str] = []

    def all_are_exported() -> bool:
        for run in server.runs("export_rankings"):
            if run["dag_run_id"] not in before:
                name = run["dag_run_id"]
                exported.extend(to_success(server, "export_rankings", name))
        return set(MONTHS) <= reported(stubbed)

    server.wait("exports of every date", all_are_exported, minutes=60)
    tried = {
        (date, stage): [
            what
            for day, name, what, _ in calls(stubbed)
            if (day, name) == (date, stage)
        ]
        for date in MONTHS
        for stage in (*NIGHTLY, *EXPORT)
    }
    for (date, stage), words in tried.items():
        last = "skip" if stage == "offer_catalog" else "ok"
        assert words == [MONTHS[date], last], (date, stage)
    # Only a refusal is final, where it cannot pass by itself.
    assert cleared["2026-01-01"] == cleared["2026-02-01"] == []
    assert cleared["2026-03-01"] == [s for s in NIGHTLY if s not in MAY_PASS]
    write_table(cleared["2026-03-01"] + exported)

    # The same backfill once more finds every date done.
    n_calls = len(calls(stubbed))
    server.call("POST", "/api/v2/backfills", body)
    server.wait("end of the backfill", lambda: all_completed(server))
    assert len(calls(stubbed)) == n_calls


def reported(root: Path) -> set[str]:
    """Dates whose last stage has ended well."""
    return {
        day for day, stage, what, _ in calls(root) if (stage, what) == ("report", "ok")
    }


def all_completed(server: Server) -> bool:
    found = server.call("GET", "/api/v2/backfills?dag_id=nightly_retrain")["backfills"]
    return all(backfill["completed_at"] for backfill in found)


def write_table(cleared: list[str]) -> None:
    """What docs/orchestration.md shows."""
    lines = [
        "| stage | " + " | ".join(f"{d}: {w}" for d, w in MONTHS.items()) + " |",
        "|---|" + "---|" * len(MONTHS),
    ]
    for stage in (*NIGHTLY, *EXPORT):
        cells = [
            "failed for good, cleared by hand, 2 tries"
            if word == "refuse" and stage in cleared
            else "tried again by itself, 2 tries"
            for word in MONTHS.values()
        ]
        lines.append(f"| `{stage}` | " + " | ".join(cells) + " |")
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")
