"""Whole nights: through Airflow as `make run` has them, and stage by stage."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from planted_catalog import CATEGORIES, write_backbone, write_catalog

from beam_jobs import (
    build_dataset,
    extract_features,
    fetch_images,
    publish,
    rank_catalog,
    validate_dataset,
)
from beam_jobs.report import __main__ as report
from examples.lookbook.host import serve
from trainer import evaluate, gate, promote, task

PROJECT = Path(__file__).resolve().parents[2]
DATE = "2026-01-05"
NEXT_DATE = "2026-01-06"

pytestmark = pytest.mark.end_to_end


def make_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What `make run` executes, with its options."""
    return subprocess.run(
        [sys.executable, "-m", "infra.local.nightly", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )


def run_night(root: Path, catalog: Path, backbone: Path, host: str, date: str) -> None:
    """The stages one after the other, without Airflow."""
    run = [f"--root={root}", f"--run_date={date}"]
    source = [f"--catalog={catalog}"]
    fetch_images.main([*run, *source, f"--image_host={host}"])
    build_dataset.main([*run, *source])
    validate_dataset.main(run)
    extract_features.main([*run, f"--backbone={backbone}"])
    task.main(run)
    evaluate.main(run)
    gate.main(run)
    promote.main(run)
    rank_catalog.main(run)
    publish.main(run)
    report.main(run)


class Night:
    """A catalogue, a backbone, and the root of a night that Airflow ran."""

    def __init__(self, folder: Path) -> None:
        self.catalog = folder / "catalog"
        self.backbone = folder / "backbone.keras"
        self.root = folder / "root"
        write_catalog(self.catalog)
        write_backbone(self.backbone)
        self.result = make_run(
            *("--data", str(self.catalog), "--backbone", str(self.backbone)),
            *("--root", str(self.root), "--run-date", DATE),
        )


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    night = Night(tmp_path_factory.mktemp("night"))
    assert night.result.returncode == 0, night.result.stdout + night.result.stderr
    return night


@pytest.fixture(scope="module")
def host(night: Night) -> Iterator[str]:
    with serve(night.catalog) as url:
        yield url


def rows(root: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(root / "warehouse.duckdb"), read_only=True) as warehouse:
        return warehouse.sql(query).fetchall()


def data_files(root: Path) -> dict[str, str]:
    """Digest of every data file; logs, receipts and archives with times are not."""
    kinds = ("images", "datasets", "features", "rankings", "models")
    # The status rows name the host, which has another port each time; the windows of
    # training, and its cost, say how fast it was.
    skipped = (".keras", ".v2", "windows.jsonl", "cost.json")
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for kind in kinds
        for path in sorted((root / kind).rglob("*"))
        if path.is_file()
        and not path.name.startswith("status-")
        and not path.name.endswith(skipped)
    }


def test_run_shows_every_stage_and_says_where_things_are(night: Night) -> None:
    lines = night.result.stdout.splitlines()
    shown = [line for line in lines if line.startswith("[")]
    assert [line.split("]")[0] for line in shown] == [
        f"[{number:2}/11" for number in range(1, 12)
    ]
    told = {line.split()[0]: line.split()[1] for line in lines[-6:]}
    assert sorted(told) == [
        *("champion", "dataset", "metrics", "model", "report", "warehouse")
    ]
    for place in told.values():
        assert Path(place).exists(), place


def test_metrics_hold_every_model_and_the_planted_rule_is_learned(night: Night) -> None:
    champion = json.loads((night.root / "models/champion.json").read_text())
    folder = night.root / "models" / champion["run_id"]
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert {tuple(sorted(row)) for row in metrics} == {
        ("high", "low", "metric", "model", "n", "slice", "value")
    }
    assert {row["model"] for row in metrics} == {
        *("paper", "random", "popularity", "backbone_cosine", "linear"),
        *("paper_uncropped", "paper_blanked", "paper_shuffled_products"),
    }
    everywhere = {
        (row["model"], row["metric"]): row for row in metrics if row["slice"] == "all"
    }
    assert everywhere["paper", "binary_accuracy"]["value"] > 0.8
    for baseline in ("random", "popularity", "backbone_cosine"):
        difference = everywhere["paper", f"binary_accuracy_minus_{baseline}"]
        assert difference["low"] > 0, difference
    assert {"all", "seen", *CATEGORIES} <= {row["slice"] for row in metrics}


def test_every_scene_and_category_is_ranked(night: Night) -> None:
    scenes, lists = 90, 90 * len(CATEGORIES)
    (counted,) = rows(
        night.root,
        "SELECT count(DISTINCT scene_id), count(DISTINCT (scene_id, category)), "
        "count(*), min(rank), max(rank) FROM rankings",
    )
    assert counted == (scenes, lists, lists * 20, 1, 20)


def test_report_is_written_and_tables_say_what_it_says(night: Night) -> None:
    page = (night.root / "reports" / DATE / "index.html").read_text()
    assert "Promoted" in page
    (published,) = rows(
        night.root,
        "SELECT value FROM model_evaluations WHERE model = 'paper' "
        "AND metric = 'binary_accuracy' AND slice = 'all'",
    )
    assert f"{published[0]:.3f}" in page
    by_code = "SELECT code, count(*) FROM image_status GROUP BY code ORDER BY code"
    assert rows(night.root, by_code) == [("not_found", 1), ("ok", 90 + 48)]


def test_another_root_gets_the_same_bytes(
    night: Night, host: str, tmp_path: Path
) -> None:
    run_night(tmp_path, night.catalog, night.backbone, host, DATE)
    expected = data_files(night.root)
    # The champion's pointer and the model's manifest name weights by digest, so equal
    # bytes here mean equal weights.
    assert any(name.endswith("metrics.json") for name in expected)
    assert data_files(tmp_path) == expected
    for table in ("rankings", "model_evaluations"):
        query = f"SELECT * FROM {table} ORDER BY ALL"
        assert rows(tmp_path, query) == rows(night.root, query)


def test_same_date_again_changes_nothing_and_another_adds_a_partition(
    night: Night, host: str
) -> None:
    files = data_files(night.root)
    first = rows(night.root, "SELECT * FROM rankings ORDER BY ALL")

    run_night(night.root, night.catalog, night.backbone, host, DATE)
    assert data_files(night.root) == files
    assert rows(night.root, "SELECT * FROM rankings ORDER BY ALL") == first

    run_night(night.root, night.catalog, night.backbone, host, NEXT_DATE)
    kept = data_files(night.root)
    del kept["models/champion.json"]
    assert {name: kept[name] for name in files if name in kept} == {
        name: digest for name, digest in files.items() if name in kept
    }
    dated = f"SELECT * FROM rankings WHERE run_date = '{DATE}' ORDER BY ALL"
    assert rows(night.root, dated) == first
    assert rows(
        night.root,
        "SELECT CAST(run_date AS VARCHAR) FROM rankings GROUP BY 1 ORDER BY 1",
    ) == [(DATE,), (NEXT_DATE,)]


def test_a_failed_task_fails_the_run_and_shows_its_last_lines(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    (catalog / "400x").mkdir(parents=True)
    (catalog / "fashion.json").write_text("not json\n")
    (catalog / "fashion-cat.json").write_text("{}")
    result = make_run("--data", str(catalog), "--root", str(tmp_path / "root"))
    assert result.returncode != 0
    assert "Task preflight failed" in result.stdout
    assert "[ 1/11]" not in result.stdout  # nothing was started
    assert "holds no usable pair (1 rows rejected: malformed_json)" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--data", "/nowhere"], "DATA=/nowhere is not a folder"),
        (["--data", "."], "DATA=. holds no catalogue"),
        (["--run-date", "yesterday"], "'yesterday' is not a date"),
        (["--backbone", "none.keras"], "BACKBONE=none.keras does not exist"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: list[str], told: str, tmp_path: Path
) -> None:
    result = make_run("--root", str(tmp_path), *arguments)
    assert result.returncode == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
