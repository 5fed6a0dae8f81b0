"""When a night's catalogue is handed to the champion there was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from beam_jobs import offer_catalog
from tfrecords_schema import storage
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date

TONIGHT, YESTERDAY, TOMORROW = "2026-11-28", "2026-11-27", "2026-11-29"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    root = Root.of(str(tmp_path))
    leave(root, TONIGHT, Stage.BUILD_DATASET, dataset="d1")
    enthrone(root, "m1")
    return root


def leave(root: Root, date: str, stage: Stage, **outputs: str) -> None:
    root.write_receipt(parse_run_date(date), Receipt(stage, outputs, {}, 1.0))


def enthrone(root: Root, run_id: str) -> None:
    storage.write_json(root.champion, {"run_id": run_id})


def publish(root: Root, date: str, *, dataset: str = "d1", model: str = "m1") -> None:
    version = f"{date}-{dataset}-{model}"
    manifest = {"dataset": dataset, "model": model}
    storage.write_manifest(root.rankings(version), manifest)
    leave(root, date, Stage.RANK_CATALOG, rankings=version)
    leave(root, date, Stage.PUBLISH, warehouse="w")


def is_offered(root: Root, *, promoted: str = "no", trained: str = "no") -> bool:
    options = [f"--promoted={promoted}", f"--trained={trained}"]
    try:
        offer_catalog.main([f"--root={root.path}", f"--run_date={TONIGHT}", *options])
    except SystemExit as ended:
        if ended.code != 99:
            raise
        return False
    return True


def test_a_promotion_starts_the_export_by_itself(root: Root) -> None:
    assert not is_offered(root, promoted="yes", trained="yes")


def test_a_model_that_was_refused_is_reported_all_the_same(root: Root) -> None:
    publish(root, YESTERDAY)
    assert is_offered(root, trained="yes")


def test_nothing_published_yet_is_news(root: Root) -> None:
    assert is_offered(root)


def test_same_data_and_champion_as_the_newest_published_are_no_news(
    root: Root,
) -> None:
    publish(root, "2026-11-20", dataset="d0")
    publish(root, YESTERDAY)
    (root.path / "runs" / ".DS_Store").touch()
    assert not is_offered(root)


@pytest.mark.parametrize("change", [{"dataset": "d0"}, {"model": "m0"}])
def test_other_data_or_another_champion_are_news(
    change: dict[str, str], root: Root
) -> None:
    publish(root, "2026-11-20")
    publish(root, YESTERDAY, **change)
    assert is_offered(root)


def test_dates_after_the_nights_do_not_count(root: Root) -> None:
    publish(root, TOMORROW)
    assert is_offered(root)


@pytest.mark.parametrize(
    ("decision", "offered"),
    [("waiting", True), ("rejected", True), ("approved", False)],
)
def test_what_nobody_approved_is_not_published(
    decision: str, offered: bool, root: Root
) -> None:
    publish(root, YESTERDAY)
    path = root.path / "runs" / YESTERDAY / "approval.json"
    storage.write_json(path, {"decision": decision})
    assert is_offered(root) is offered


def test_without_a_champion_there_is_nothing_to_rank_with(root: Root) -> None:
    root.champion.unlink()
    assert not is_offered(root)
