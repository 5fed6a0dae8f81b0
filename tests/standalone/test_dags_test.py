"""Every DAG through `airflow dags test`, with the real jobs and no scheduler."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from airflow_server import Server, airflow, write_settings

pytestmark = pytest.mark.standalone

NIGHT, BACKFILLED = "2026-01-05", "2026-01-06"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dags_test")


@pytest.fixture(scope="module")
def api(place: Path) -> Iterator[Server]:
    """An API server, which people answer on."""
    # `dags test` ends in an error where there is a deadline.
    settings = write_settings(place, place / "root", deadline_h=None)
    with airflow("api-server", place, settings) as running:
        running.airflow("dags", "reserialize")
        yield running


def dags_test(server: Server, dag_id: str, date: str, conf: dict[str, str]) -> None:
    server.airflow("dags", "test", dag_id, date, f"--conf={json.dumps(conf)}")


def published(root: Path) -> list[str]:
    with duckdb.connect(str(root / "warehouse.duckdb"), read_only=True) as warehouse:
        query = "SELECT DISTINCT CAST(run_date AS VARCHAR) FROM rankings ORDER BY 1"
        return [date for (date,) in warehouse.sql(query).fetchall()]


def test_a_night_its_export_and_a_backfill(
    api: Server, night: dict[str, str], place: Path
) -> None:
    conf = {**night, "root": str(place / "root")}
    dags_test(api, "nightly_retrain", NIGHT, conf)
    assert not (place / "root" / "warehouse.duckdb").exists()
    dags_test(api, "export_rankings", NIGHT, {**conf, "run_date": NIGHT})
    assert published(place / "root") == [NIGHT]

    dates = {"first_date": BACKFILLED, "last_date": BACKFILLED}
    backfill = threading.Thread(
        target=dags_test, args=(api, "backfill_catalog", NIGHT, {**conf, **dates})
    )
    backfill.start()
    (run,) = api.wait("a run", lambda: api.runs("backfill_catalog"))
    asked = (*("backfill_catalog", run["dag_run_id"]),)
    api.wait("a question", lambda: api.questions(*asked))
    assert published(place / "root") == [NIGHT]
    api.answer(*asked, "ask_approval", "Approve")
    backfill.join(600)
    assert api.state(*asked) == "success"
    assert published(place / "root") == [NIGHT, BACKFILLED]
