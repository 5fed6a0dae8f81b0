"""Backfills that wait for a person: staged, approved, rejected, rolled back."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from run_outputs import MONDAY, TUESDAY, write_metrics, write_rankings, write_run

from beam_jobs import approve, publish
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.table_folders import published_tables


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Two published dates, and other rankings of the second that are not."""
    root = Root.of(str(tmp_path))
    for date in (MONDAY, TUESDAY):
        write_run(root, date)
        publish.publish(root, date)
    write_rankings(root, TUESDAY, version="backfill", top_k=3)
    return root


def stage(root: Root, date: datetime.date = TUESDAY) -> dict[str, Any]:
    options = ["--root", str(root.path), "--run_date", date.isoformat()]
    publish.main([*options, "--stage_only"])
    return request(root, date)


def decide(root: Root, *options: str, date: datetime.date = TUESDAY) -> None:
    run = ["--root", str(root.path), "--run_date", date.isoformat(), "--by", "Kim"]
    approve.main([*run, *options])


def request(root: Root, date: datetime.date = TUESDAY) -> dict[str, Any]:
    return json.loads((root.path / "runs" / str(date) / "approval.json").read_text())


def published(root: Root) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(root.warehouse), read_only=True) as connection:
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()
            for name in published_tables()
        }


def tables_in(root: Root, schema: str) -> list[str]:
    with duckdb.connect(str(root.warehouse), read_only=True) as connection:
        rows = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = $schema",
            {"schema": schema},
        ).fetchall()
    return [name for (name,) in rows]


def test_staged_date_publishes_nothing_and_says_what_would_change(root: Root) -> None:
    before = published(root)
    found = stage(root)
    assert published(root) == before
    assert found["decision"] == "waiting"
    # Two lists of two products become two of three.
    assert found["rankings"] == {
        "lists_before": 2,
        "lists_after": 2,
        "lists_changed": 2,
        "scenes_before": 2,
        "scenes_after": 2,
    }
    entry = found["tables"]["rankings"]
    assert entry["rows_before"] == {"rows": 4, "runs": [f"v-{TUESDAY}"]}
    assert entry["rows_after"] == 6
    assert entry["runs_after"] == ["backfill"]
    receipt = root.receipt(TUESDAY, Stage.PUBLISH)
    assert "waits for python -m beam_jobs.approve" in receipt.notes[0]


def test_staged_date_of_a_first_run_has_nothing_before(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    write_run(root, TUESDAY)
    found = stage(root)
    assert found["rankings"]["lists_before"] == 0
    assert found["rankings"]["lists_changed"] == 2
    decide(root)
    assert len(published(root)["rankings"]) == 4
    decide(root, "--rollback")
    assert published(root) == {name: [] for name in published_tables()}


def test_approved_date_is_swapped_and_what_it_replaced_is_kept(root: Root) -> None:
    before = published(root)
    stage(root)
    decide(root)
    after = published(root)
    assert len([row for row in after["rankings"] if row[0] == TUESDAY]) == 6
    for name, rows in before.items():
        assert [row for row in after[name] if row[0] == MONDAY] == [
            row for row in rows if row[0] == MONDAY
        ]
    assert request(root)["decision"] == "approved"
    assert request(root)["decided_by"] == "Kim"
    assert tables_in(root, "staging") == []
    assert sorted(tables_in(root, "backup")) == [
        f"backup_{name}_20261110" for name in published_tables()
    ]


def test_rollback_puts_everything_back(root: Root) -> None:
    before = published(root)
    stage(root)
    decide(root)
    assert published(root) != before
    decide(root, "--rollback")
    assert published(root) == before
    assert request(root)["decision"] == "rolled_back"
    assert tables_in(root, "backup") == []
    with pytest.raises(InputError, match="no backup of 2026-11-10 is kept"):
        decide(root, "--rollback")


def test_backup_lasts_until_the_next_swap(root: Root) -> None:
    stage(root)
    decide(root)
    stage(root, MONDAY)
    decide(root, date=MONDAY)
    assert {name[-8:] for name in tables_in(root, "backup")} == {"20261109"}
    with pytest.raises(InputError, match="no backup of 2026-11-10 is kept"):
        decide(root, "--rollback")


def test_backup_is_dropped_on_demand(root: Root) -> None:
    stage(root)
    decide(root)
    after = published(root)
    stage(root, MONDAY)
    with pytest.raises(InputError, match="no backup of 2026-11-09 is kept"):
        decide(root, "--drop_backup", date=MONDAY)
    decide(root, "--drop_backup")
    assert tables_in(root, "backup") == []
    assert published(root) == after


def test_rejected_date_leaves_nothing_behind(root: Root) -> None:
    before = published(root)
    stage(root)
    decide(root, "--reject")
    assert published(root) == before
    assert tables_in(root, "staging") == []
    with pytest.raises(InputError, match="was rejected by Kim"):
        decide(root)


def test_date_that_was_published_in_the_meantime_is_not_swapped(root: Root) -> None:
    stage(root)
    write_rankings(root, TUESDAY, version="other", top_k=2)
    publish.publish(root, TUESDAY)
    before = published(root)
    with pytest.raises(InputError, match=r"rankings: what is published .* has changed"):
        decide(root)
    assert published(root) == before


def test_staging_that_was_changed_or_lost_is_not_swapped(root: Root) -> None:
    stage(root)
    with duckdb.connect(str(root.warehouse)) as connection:
        connection.execute(
            "DELETE FROM staging.staging_rankings_20261110 WHERE rank = 3"
        )
    with pytest.raises(InputError, match="4 rows are staged, the request says 6"):
        decide(root)
    with duckdb.connect(str(root.warehouse)) as connection:
        connection.execute("DROP TABLE staging.staging_rankings_20261110")
    with pytest.raises(InputError, match="rankings_20261110 is gone"):
        decide(root)


def test_checks_are_run_again_before_the_swap(root: Root) -> None:
    stage(root)
    before = published(root)
    with duckdb.connect(str(root.warehouse)) as connection:
        connection.execute(
            "UPDATE staging.staging_rankings_20261110 SET distance = 9 WHERE rank = 3"
        )
    with pytest.raises(InputError, match=r"rankings\.distance_range"):
        decide(root)
    assert published(root) == before


def test_request_ends_where_its_rows_are_staged_again(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(root)
    write_rankings(root, TUESDAY, version="other", top_k=3)
    with monkeypatch.context() as patch:
        patch.setattr(publish, "write_request", _killed)
        with pytest.raises(RuntimeError, match="killed"):
            stage(root)
    # As many rows as the first request says, but others wait in its tables.
    with pytest.raises(InputError, match="nothing of 2026-11-10 waits"):
        decide(root)


def test_rows_that_are_staged_while_another_request_is_approved_are_not_swapped(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(root)
    before = published(root)
    open_target = approve.open_target

    def after_another(address: str) -> Any:
        write_rankings(root, TUESDAY, version="other", top_k=3)
        publish.publish(root, TUESDAY, stage_only=True)
        return open_target(address)

    with monkeypatch.context() as patch:
        patch.setattr(approve, "open_target", after_another)
        with pytest.raises(InputError, match=r"rankings: rows of runs \['other'\]"):
            decide(root)
    assert published(root) == before


def test_swap_that_was_not_written_down_can_be_rolled_back(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = published(root)
    stage(root)
    with monkeypatch.context() as patch:
        patch.setattr(approve, "decide", _killed)
        with pytest.raises(RuntimeError, match="killed"):
            decide(root)
    assert published(root) != before
    decide(root, "--rollback")
    assert published(root) == before
    assert request(root)["decision"] == "rolled_back"
    assert tables_in(root, "staging") == []


def test_date_that_is_staged_again_and_rejected_can_still_be_rolled_back(
    root: Root,
) -> None:
    before = published(root)
    stage(root)
    decide(root)
    stage(root)
    decide(root, "--reject")
    decide(root, "--rollback")
    assert published(root) == before


def _killed(*_: Any, **__: Any) -> None:
    raise RuntimeError("killed")


def test_failed_check_leaves_no_request_and_no_staging(root: Root) -> None:
    write_metrics(root, TUESDAY, value=float("nan"))
    with pytest.raises(InputError, match=r"model_evaluations\.finite"):
        stage(root)
    assert not (root.path / "runs" / str(TUESDAY) / "approval.json").exists()
    assert tables_in(root, "staging") == []
    with pytest.raises(InputError, match="nothing of 2026-11-10 waits"):
        decide(root)
