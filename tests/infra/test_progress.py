"""Which stages of a run a terminal shows as done."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from infra.local.progress import StageProgress
from tfrecords_schema.layout import Receipt, Root, Stage

RUN_DATE = datetime.date(2026, 11, 22)
STAGE = Stage.VALIDATE_DATASET
START = f"[DAG TEST] starting task_id={STAGE} map_index=-1"
END = f"[DAG TEST] end task task_id={STAGE} map_index=-1"


def receipt(**counts: int) -> Receipt:
    return Receipt(STAGE, {"dataset": "d1"}, counts, 1.0)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.of(str(tmp_path))


@pytest.fixture
def progress(root: Root) -> StageProgress:
    return StageProgress(root, RUN_DATE, list(Stage))


def test_a_stage_with_a_new_receipt_is_shown_with_its_counts(
    root: Root, progress: StageProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.see(START)
    root.write_receipt(RUN_DATE, receipt(rules=66, rules_warned=2))
    progress.see(END)
    assert progress.failed is None
    shown = capsys.readouterr().out
    assert shown.startswith("[ 3/11] validate_dataset ")
    assert shown.endswith("rules 66, rules_warned 2\n")


def test_a_gate_that_takes_its_old_receipt_away_has_failed(
    root: Root, progress: StageProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    root.write_receipt(RUN_DATE, receipt(rules=66))
    progress.see(START)
    root.receipt_path(RUN_DATE, STAGE).unlink()
    progress.see("error: data set d2 is refused by 1 of 66 rules")
    progress.see(END)
    assert progress.failed is STAGE
    progress.show_failure()
    shown = capsys.readouterr().out
    assert "[ 3/11]" not in shown
    assert "Task validate_dataset failed" in shown
    assert "refused by 1 of 66 rules" in shown


def test_a_stage_that_leaves_its_receipt_as_it_was_has_failed(
    root: Root, progress: StageProgress
) -> None:
    root.write_receipt(RUN_DATE, receipt(rules=66))
    progress.see(START)
    progress.see(END)
    assert progress.failed is STAGE


def test_another_task_than_a_stage_is_shown_when_it_fails_and_else_not(
    progress: StageProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.see("[DAG TEST] starting task_id=preflight map_index=-1")
    progress.see("error: root: /nowhere cannot be written")
    progress.see("[DAG TEST] end task task_id=preflight map_index=-1")
    assert progress.failed is None
    assert capsys.readouterr().out == ""
    progress.show_failure()
    shown = capsys.readouterr().out
    assert "Task preflight failed" in shown
    assert "/nowhere cannot be written" in shown
