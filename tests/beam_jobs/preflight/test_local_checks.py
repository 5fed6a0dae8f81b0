"""What is looked at on this machine: access, clock, dates, free space."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pytest
from etils import epath
from told_settings import told

from beam_jobs.preflight.findings import Finding, Told
from beam_jobs.preflight.local_checks import (
    GIB,
    check_dates,
    check_root,
    check_skew,
    check_space,
    check_warehouse_file,
    newest_run,
    space_folders,
)
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage

TODAY = datetime.date(2026, 11, 28)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.of(str(tmp_path / "root"))


def failed(found: list[Finding]) -> list[str]:
    return [finding.message for finding in found if not finding.ok]


def enthrone(root: Root, date: str) -> None:
    pointer = {"run_id": f"{date}-aaaaaaaa", "run_date": date}
    storage.write_json(root.champion, pointer)
    storage.write_manifest(root.model(pointer["run_id"]), {})


def test_a_root_that_can_be_written_is_left_as_it_was(root: Root) -> None:
    assert failed(check_root(root, told(), now=time.time())) == []
    assert list(Path(str(root.path)).iterdir()) == []


def test_a_root_that_cannot_be_made_names_setting_and_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (message,) = failed(
        check_root(Root.of(str(tmp_path / "file" / "root")), told(), now=0)
    )
    assert message.startswith("root (settings file ")
    assert "local.yaml" in message
    assert f"{tmp_path}/file/root cannot be written: Not a directory" in message


def test_a_clock_that_jumped_is_told_against_the_stores(root: Root) -> None:
    hour_ahead = time.time() + 3600
    (message,) = failed(check_root(root, told(), now=hour_ahead))
    assert "differ by 3600 s, above preflight.max_clock_skew_s 300 of" in message
    assert check_skew(-299, told()).ok
    assert not check_skew(-301, told()).ok


def test_a_run_date_ahead_of_today_is_refused(root: Root) -> None:
    tomorrow = TODAY + datetime.timedelta(days=1)
    strict, loose = told(max_days_ahead=0), told(max_days_ahead=1)
    (message,) = failed(check_dates(root, tomorrow, strict, today=TODAY))
    assert "run date 2026-11-29 is ahead of today, 2026-11-28" in message
    assert "preflight.max_days_ahead 0 of" in message
    assert failed(check_dates(root, tomorrow, loose, today=TODAY)) == []
    assert failed(check_dates(root, TODAY, strict, today=TODAY)) == []


def test_a_champion_whose_folder_is_gone_is_told_before_anything_is_paid_for(
    root: Root,
) -> None:
    enthrone(root, "2026-11-20")
    root.model("2026-11-20-aaaaaaaa").rmtree()
    (message,) = failed(check_dates(root, TODAY, told(), today=TODAY))
    assert f"{root.champion} names model 2026-11-20-aaaaaaaa, and " in message
    assert "is gone" in message


def test_a_champion_of_the_future_is_told_as_it_would_never_be_replaced(
    root: Root,
) -> None:
    enthrone(root, "2038-01-19")
    strict = told(max_days_ahead=0)
    (message,) = failed(check_dates(root, TODAY, strict, today=TODAY))
    assert "champion 2038-01-19-aaaaaaaa is of 2038-01-19" in message
    assert "the clock jumped" in message
    enthrone(root, "2026-11-28")
    assert failed(check_dates(root, TODAY, strict, today=TODAY)) == []


def test_the_last_run_is_the_newest_that_fetched(root: Root) -> None:
    assert newest_run(root) is None
    for day in (26, 27):
        date = datetime.date(2026, 11, day)
        root.write_receipt(date, Receipt(Stage.FETCH_IMAGES, {}, {}, 1.0))
    root.receipt_path(TODAY, Stage.FETCH_IMAGES).parent.mkdir()
    (root.path / "runs" / ".DS_Store").touch()
    assert newest_run(root) == datetime.date(2026, 11, 27)
    last = check_dates(root, TODAY, told(), today=TODAY)[-1]
    assert last.message == "of 2026-11-27, 1 days before today"


@pytest.mark.parametrize(
    ("free_gib", "needed_gib", "told_of"),
    [
        (0.5, 0, "below preflight.min_free_gib 1 of"),
        (3.0, 4, "and the run will write about 4.0"),
        (5.0, 4, None),
    ],
)
def test_a_disk_that_is_or_will_be_full_is_told_before_the_run(
    free_gib: float, needed_gib: float, told_of: str | None, tmp_path: Path
) -> None:
    found = check_space(
        {"root": tmp_path},
        told(min_free_gib=1),
        needed_bytes=needed_gib * GIB,
        usage=lambda _: int(free_gib * GIB),
    )
    messages = failed(found)
    assert len(messages) == (told_of is not None)
    if told_of:
        assert told_of in messages[0]
        assert f"{free_gib:.1f} GiB are free for root in {tmp_path}" in messages[0]


def test_what_a_run_adds_to_its_root_is_not_asked_of_other_disks(
    tmp_path: Path,
) -> None:
    found = check_space(
        {"temporary files": tmp_path, "root": tmp_path},
        told(min_free_gib=1),
        needed_bytes=4 * GIB,
        usage=lambda _: 3 * GIB,
    )
    assert [finding.ok for finding in found] == [True, False]
    # One in a bucket is on no disk of this machine.
    assert set(space_folders(Root(epath.Path("gs://b/r")))) == {"temporary files"}


def test_a_warehouse_without_folder_names_the_setting(tmp_path: Path) -> None:
    assert check_warehouse_file(tmp_path / "w.duckdb", told()).ok
    found = check_warehouse_file(tmp_path / "none" / "w.duckdb", told())
    assert found.message.startswith("warehouse (settings file ")
    assert found.message.endswith("its folder does not exist")


def test_settings_that_are_none_are_told() -> None:
    for text in ("", "[]", "{}", '"x"'):
        with pytest.raises(InputError, match="--settings is not the JSON"):
            Told.of(text)
