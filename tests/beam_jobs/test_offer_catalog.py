"""When a night's catalogue is handed to the champion there was before."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from beam_jobs import offer_catalog
from beam_jobs.ranking.provenance import CODE_VERSION
from beam_jobs.ranking.ranking_options import read_wanted
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


def publish(
    root: Root, date: str, *, warehouse: str = "warehouse.duckdb", **changed: Any
) -> None:
    version = f"{date}-{'-'.join(map(str, changed.values()))}"
    manifest = {
        "code_version": CODE_VERSION,
        "dataset": "d1",
        "model": "m1",
        "top_k": 20,
        "filters": None,
        "attributes": None,
    }
    storage.write_manifest(root.rankings(version), manifest | changed)
    leave(root, date, Stage.RANK_CATALOG, rankings=version)
    leave(root, date, Stage.PUBLISH, warehouse=warehouse)


def is_offered(
    root: Root, *more: str, promoted: str = "no", trained: str = "no"
) -> bool:
    options = [f"--promoted={promoted}", f"--trained={trained}", *more]
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


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "d0"},
        {"model": "m0"},
        {"top_k": 10},
        {"filters": {"market": "DE"}},
        {"index": {"probes": 16}},
        {"code_version": CODE_VERSION - 1},
    ],
)
def test_other_data_another_champion_or_other_rules_are_news(
    change: dict[str, Any], root: Root
) -> None:
    publish(root, "2026-11-20")
    publish(root, YESTERDAY, **change)
    assert is_offered(root)


def test_stock_that_changed_is_news(root: Root, tmp_path: Path) -> None:
    rules, stock = tmp_path / "rules.yaml", tmp_path / "stock.csv"
    rules.write_text("available: true")
    header = "product_id,available,price,currency,market\n"
    stock.write_text(f"{header}p1,true,1,EUR,DE\n")
    options = (f"--filters={rules}", f"--attributes={stock}")
    published = read_wanted(
        argparse.Namespace(
            top_k=20,
            min_coverage=0.9,
            index="no",
            index_probes=None,
            min_recall=None,
            filters=str(rules),
            attributes=str(stock),
        )
    )
    publish(root, YESTERDAY, **published.identity)
    assert not is_offered(root, *options)
    stock.write_text(f"{header}p1,false,1,EUR,DE\n")
    assert is_offered(root, *options)


def test_what_was_published_elsewhere_is_not_published_here(root: Root) -> None:
    publish(root, YESTERDAY, warehouse="/private.duckdb")
    assert is_offered(root)
    assert not is_offered(root, "--warehouse=/private.duckdb")


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
