"""Backfills that wait for a person: staged, approved, rejected, rolled back."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from run_outputs import (
    MONDAY,
    TUESDAY,
    write_dataset,
    write_metrics,
    write_rankings,
    write_run,
)

from beam_jobs import approve, publish
from beam_jobs.publishing.approval import summary
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


def test_date_that_waits_is_not_published_by_an_export_that_runs_again(
    root: Root,
) -> None:
    stage(root)
    before = published(root)
    with pytest.raises(InputError, match="rankings backfill of 2026-11-10 waits"):
        publish.publish(root, TUESDAY)
    assert published(root) == before
    decide(root)
    publish.publish(root, TUESDAY)  # what was approved may be published again


def test_rejected_lists_are_not_published_by_an_export_that_runs_again(
    root: Root,
) -> None:
    stage(root)
    before = published(root)
    decide(root, "--reject")
    with pytest.raises(InputError, match="backfill of 2026-11-10 was rejected by Kim"):
        publish.publish(root, TUESDAY)
    assert published(root) == before
    write_rankings(root, TUESDAY, version="mended", top_k=3)
    publish.publish(root, TUESDAY)
    assert published(root) != before


def test_rejected_data_set_is_not_published_with_other_lists_of_it(root: Root) -> None:
    write_dataset(root, TUESDAY, version="d2")
    write_rankings(root, TUESDAY, version="backfill", top_k=3, dataset="d2")
    stage(root)
    decide(root, "--reject")
    write_rankings(root, TUESDAY, version="other", top_k=3, dataset="d2")
    with pytest.raises(InputError, match="dataset d2 of 2026-11-10 was rejected"):
        publish.publish(root, TUESDAY)


@pytest.mark.parametrize("decision", [None, "--reject"])
def test_request_of_an_earlier_version_is_refused_until_its_date_is_staged_again(
    root: Root, decision: str | None
) -> None:
    stage(root)
    if decision:
        decide(root, decision)
    path = root.path / "runs" / TUESDAY.isoformat() / "approval.json"
    request = json.loads(path.read_text())
    del request["brings"]
    path.write_text(json.dumps(request))
    with pytest.raises(InputError, match=r"approval\.json.* --stage_only"):
        publish.publish(root, TUESDAY)
    stage(root)
    decide(root)


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
    before, after = entry["before"], entry["after"]
    assert (before["rows"], before["runs"]) == (4, f"v-{TUESDAY}")
    assert (after["rows"], after["runs"]) == (6, "backfill")
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
        *(f"backup_{name}_20261110" for name in published_tables()),
        "swapped_in_20261110",
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


def test_backups_of_dates_are_kept_apart(root: Root) -> None:
    before = published(root)
    for date in (TUESDAY, MONDAY):
        write_rankings(root, date, version=f"backfill-{date}", top_k=3)
        stage(root, date)
        decide(root, date=date)
    decide(root, "--rollback")
    assert {name[-8:] for name in tables_in(root, "backup")} == {"20261109"}
    decide(root, "--rollback", date=MONDAY)
    assert published(root) == before


def test_backup_lasts_until_the_dates_next_swap(root: Root) -> None:
    stage(root)
    decide(root)
    first = published(root)
    write_rankings(root, TUESDAY, version="second", top_k=1)
    stage(root)
    decide(root)
    decide(root, "--rollback")
    assert published(root) == first


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
    with pytest.raises(InputError, match="no backup of 2026-11-10 is kept"):
        decide(root, "--rollback")


def test_rollback_of_a_date_that_was_published_again_is_refused(root: Root) -> None:
    before = published(root)
    stage(root)
    decide(root)
    write_rankings(root, TUESDAY, version="mended", top_k=3)
    publish.publish(root, TUESDAY)
    newer = published(root)
    with pytest.raises(InputError) as told:
        decide(root, "--rollback")
    for expected in ("of mended now", "of backfill", f"of v-{TUESDAY}"):
        assert expected in str(told.value)
    assert "--discard_newer" in str(told.value)
    assert published(root) == newer
    decide(root, "--rollback", "--discard_newer")
    assert published(root) == before


def test_discard_newer_belongs_to_a_rollback(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        decide(root, "--discard_newer")
    assert "--discard_newer belongs to --rollback" in capsys.readouterr().err


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


def test_content_that_was_published_in_the_meantime_is_not_swapped(root: Root) -> None:
    stage(root)
    with duckdb.connect(str(root.warehouse)) as connection:
        # As many rows, in a table that does not say of which run they are.
        connection.execute(
            "UPDATE image_status SET url = 'http://other/' WHERE image_id = 's1' "
            f"AND run_date = DATE '{TUESDAY}'"
        )
    before = published(root)
    with pytest.raises(InputError, match=r"image_status: .* with other content; stage"):
        decide(root)
    assert published(root) == before


def test_rows_that_moved_but_did_not_change_are_swapped(root: Root) -> None:
    stage(root)
    with duckdb.connect(str(root.warehouse)) as connection:
        # The same rows in another order.
        for table in ("rankings", "image_status"):
            connection.execute(
                f"CREATE TEMP TABLE moved AS SELECT * FROM {table} ORDER BY ALL DESC;"
                f"DELETE FROM {table}; INSERT INTO {table} FROM moved; DROP TABLE moved"
            )
    decide(root)
    assert request(root)["decision"] == "approved"


def test_staging_that_was_changed_or_lost_is_not_swapped(root: Root) -> None:
    stage(root)
    with duckdb.connect(str(root.warehouse)) as connection:
        connection.execute(
            "DELETE FROM staging.staging_rankings_20261110 WHERE rank = 3"
        )
    with pytest.raises(InputError, match=r"staged is 4 row\(s\) of backfill, the .* 6"):
        decide(root)
    with duckdb.connect(str(root.warehouse)) as connection:
        connection.execute("DROP TABLE staging.staging_rankings_20261110")
    with pytest.raises(InputError, match="rankings_20261110 is gone"):
        decide(root)


def test_staged_content_that_was_changed_is_not_swapped(root: Root) -> None:
    stage(root)
    before = published(root)
    with duckdb.connect(str(root.warehouse)) as connection:
        connection.execute(
            "UPDATE staging.staging_rankings_20261110 SET distance = 1 WHERE rank = 3"
        )
    with pytest.raises(InputError, match="with other content"):
        decide(root)
    assert published(root) == before


def test_checks_are_run_again_before_the_swap(root: Root) -> None:
    stage(root)
    before = published(root)
    with duckdb.connect(str(root.warehouse)) as connection:
        connection.execute("DELETE FROM staging.staging_rankings_20261110_products")
    with pytest.raises(InputError, match=r"rankings\.product_category"):
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
        with pytest.raises(InputError, match=r"rankings: staged is .* of other, the"):
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


def test_roll_back_that_was_not_written_down_is_finished_by_another(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = published(root)
    stage(root)
    decide(root)
    with monkeypatch.context() as patch:
        patch.setattr(approve, "decide", _killed)
        with pytest.raises(RuntimeError, match="killed"):
            decide(root, "--rollback")
    assert request(root)["decision"] == "approved"
    assert tables_in(root, "backup") == []
    decide(root, "--rollback")
    assert published(root) == before
    assert request(root)["decision"] == "rolled_back"
    notes = root.receipt(TUESDAY, Stage.PUBLISH).notes
    assert notes[0] == "2026-11-10 is as before its swap: Kim rolled it back"
    with pytest.raises(InputError, match="no backup of 2026-11-10 is kept"):
        decide(root, "--rollback")


def test_swap_whose_backup_was_dropped_is_not_taken_for_rolled_back(
    root: Root,
) -> None:
    stage(root)
    decide(root)
    after = published(root)
    decide(root, "--drop_backup")
    with pytest.raises(InputError, match="no backup of 2026-11-10 is kept"):
        decide(root, "--rollback")
    assert published(root) == after
    assert request(root)["decision"] == "approved"


def test_roll_back_says_that_it_ends_a_newer_request(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    before = published(root)
    stage(root)
    decide(root)
    write_rankings(root, TUESDAY, version="newer", top_k=1)
    stage(root)
    capsys.readouterr()
    decide(root, "--rollback")
    assert published(root) == before
    assert tables_in(root, "staging") == []
    assert request(root)["decision"] == "rolled_back"
    assert "a request for 2026-11-10 was waiting" in capsys.readouterr().err
    # It was to replace what the roll-back has taken away.
    with pytest.raises(InputError, match="stage it again"):
        decide(root)


def test_roll_back_of_an_unwritten_swap_ends_no_other_request(
    root: Root, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(root)
    with monkeypatch.context() as patch:
        patch.setattr(approve, "decide", _killed)
        with pytest.raises(RuntimeError, match="killed"):
            decide(root)
    decide(root, "--rollback")
    assert "was waiting" not in capsys.readouterr().err


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


def test_receipt_says_what_was_decided(root: Root) -> None:
    def notes() -> tuple[str, ...]:
        return root.receipt(TUESDAY, Stage.PUBLISH).notes

    stage(root)
    others = notes()[1:]
    decide(root)
    assert notes() == ("2026-11-10 was published as Kim approved it", *others)
    decide(root, "--rollback")
    assert notes() == ("2026-11-10 is as before its swap: Kim rolled it back", *others)
    stage(root)
    decide(root, "--reject")
    assert notes() == ("nothing was published: Kim rejected 2026-11-10", *others)


def test_receipt_of_a_later_run_is_not_said_to_be_rejected(root: Root) -> None:
    stage(root)
    write_rankings(root, TUESDAY, version="later")
    publish.publish(root, TUESDAY)
    before = root.receipt(TUESDAY, Stage.PUBLISH)
    decide(root, "--reject")
    assert root.receipt(TUESDAY, Stage.PUBLISH) == before


def test_relative_warehouse_is_found_from_another_folder(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    publish.publish(root, TUESDAY, warehouse="shop.duckdb", stage_only=True)
    shop = tmp_path / "here" / "shop.duckdb"
    assert request(root)["warehouse"] == str(shop)
    assert root.receipt(TUESDAY, Stage.PUBLISH).outputs["warehouse"] == str(shop)
    monkeypatch.chdir(tmp_path / "there")
    decide(root)
    assert not (tmp_path / "there" / "shop.duckdb").exists()
    with duckdb.connect(str(shop), read_only=True) as connection:
        assert connection.execute("SELECT COUNT(*) FROM rankings").fetchone() == (6,)


def test_a_request_is_told_in_one_line() -> None:
    request = {
        "run_date": "2026-11-10",
        "tables": {
            "rankings": {"before": {"rows": 1200}, "after": {"rows": 1300}},
            "image_status": {"before": {"rows": 0}, "after": {"rows": 5}},
        },
        "rankings": {"lists_changed": 7, "lists_after": 65},
        "checks_warned": ["rankings.few"],
    }
    assert summary(request) == (
        "2026-11-10: rows rankings 1,200 → 1,300, image_status 0 → 5; 7 of 65 lists "
        "change; 1 checks warn"
    )
