"""The publishing job: from a run's receipts to warehouse, findings and receipt."""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_outputs import (
    HOSTILE,
    MONDAY,
    PRODUCTS,
    SCENES,
    STATISTICS_ROWS,
    TUESDAY,
    leave_receipt,
    status,
    write_catalog_images,
    write_dataset,
    write_metrics,
    write_rankings,
    write_run,
    write_segment,
)

from beam_jobs import publish
from beam_jobs.image_status import LATE_PART
from beam_jobs.publishing.image_loads import latest_status
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root, Stage
from tfrecords_schema.segments import SegmentStore
from tfrecords_schema.table_folders import published_tables


@pytest.fixture
def root(tmp_path: Path) -> Root:
    # A folder whose name a glob, a partition reader or SQL could take for its own.
    return Root.of(str(tmp_path / "it's run=[1]"))


def run(root: Root, run_date: datetime.date = TUESDAY) -> None:
    publish.main(["--root", str(root.path), "--run_date", run_date.isoformat()])


def content(root: Root) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(root.warehouse), read_only=True) as connection:
        names = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        return {
            name: connection.execute(f'SELECT * FROM "{name}"').fetchall()
            for (name,) in names
        }


def test_publish_puts_a_run_into_the_warehouse(root: Root) -> None:
    write_run(root, TUESDAY)
    run(root)
    found = content(root)
    assert [row[:7] for row in found["rankings"]] == [
        (TUESDAY, "fashion", scene, "shoes", rank, product, rank / 10)
        for scene in sorted(SCENES)
        for rank, product in enumerate(PRODUCTS[:2], start=1)
    ]
    evaluation = (TUESDAY, "m1", "candidate", "recall@10")
    assert found["model_evaluations"] == [
        (*evaluation, slice_, 0.5, 0.4, 0.6, 100, "d1") for slice_ in ("all", "seen")
    ]
    assert [(row[2], row[1], row[6]) for row in found["image_status"]] == [
        ("product", image, 2**40) for image in sorted(PRODUCTS)
    ] + [("scene", image, 2**40) for image in sorted(SCENES)]


def test_publish_tells_of_the_data_set_and_the_stages(root: Root) -> None:
    write_run(root, TUESDAY)
    run(root)
    found = content(root)
    figures = {row[3:6]: row[6] for row in found["dataset_statistics"]}
    assert figures["train", "records", "all"] == 2.0
    assert figures["train", "records_of_category", "shoes"] == 2.0
    assert figures["train", "mean", "scene_crop"] == 5.0  # bytes of each crop
    assert figures["train", "maximum", "crop_px"] == 8.0
    assert figures["all", "rejections", "bad_box"] == 2.0
    assert figures["all", "rejections", "malformed_json"] == 1.0
    numbers = {stage: number for number, stage in enumerate(Stage, start=1)}
    assert [(row[2], row[3], row[4]) for row in found["pipeline_runs"]] == [
        (stage, numbers[stage], 1.5 if stage is Stage.BUILD_DATASET else 0.0)
        for stage in sorted(
            (
                *(Stage.BUILD_DATASET, Stage.EVALUATE),
                *(Stage.FETCH_IMAGES, Stage.RANK_CATALOG),
            )
        )
    ]
    assert found["pipeline_counts"] == [(TUESDAY, "m1", "build_dataset", "pairs", 2)]


def test_publish_says_what_decided_the_lists(root: Root) -> None:
    write_run(root, TUESDAY)
    receipt = root.receipt(TUESDAY, Stage.RANK_CATALOG)
    decided = {"top_k": "2", "filters": '{"market": "DE"}'}
    noted = dataclasses.replace(receipt, notes=("a warning",), decided_by=decided)
    root.write_receipt(TUESDAY, noted)
    run(root)
    with duckdb.connect(str(root.warehouse), read_only=True) as connection:
        found = connection.execute("SELECT stage, notes FROM pipeline_runs").fetchall()
    assert dict(found) == {
        "fetch_images": [],
        "build_dataset": [],
        "evaluate": [],
        "rank_catalog": [
            "a warning",
            'decided by filters: {"market": "DE"}',
            "decided by top_k: 2",
        ],
    }


def write_attention(root: Root, date: datetime.date = TUESDAY) -> dict[str, Any]:
    """The attention of a query, in single precision as a network has it."""
    schema = published_tables()["query_attention"].arrow_schema
    at = schema.get_field_index("attention")
    schema = schema.set(at, pa.field("attention", pa.list_(pa.float32()), False))
    row = {
        "run_date": date,
        "domain": "fashion",
        "scene_id": HOSTILE,
        "category": "shoes",
        "model_version": "m1",
        "run_id": "v",
        "grid": 2,
        "attention": [0.5, 0.25, 0.125, 0.125],
    }
    file = root.rankings(f"v-{date}") / "query_attention-00000-of-00001.parquet"
    dataset_tables.write_table(file, [row], schema)
    return row


def test_publish_says_where_the_model_looked(root: Root) -> None:
    write_run(root, TUESDAY)
    row = write_attention(root)
    run(root)
    assert content(root)["query_attention"] == [tuple(row.values())]


def test_publish_leaves_a_receipt_and_the_findings(root: Root) -> None:
    write_run(root, TUESDAY)
    run(root)
    receipt = root.receipt(TUESDAY, Stage.PUBLISH)
    checks = sum(len(table.checks) for table in published_tables().values())
    assert receipt.outputs == {"warehouse": "warehouse.duckdb"}
    assert receipt.counts == {
        "rankings": 4,
        "model_evaluations": 2,
        "image_status": 5,
        "query_attention": 0,
        "dataset_statistics": STATISTICS_ROWS,
        "pipeline_runs": 4,
        "pipeline_counts": 1,
        "checks_passed": checks,
        "checks_warned": 0,
    }
    assert receipt.notes == ()
    findings = json.loads(publish.checks_path(root, TUESDAY).read_text())
    assert len(findings) == checks
    assert {finding["failures"] for finding in findings} == {0}


def test_publish_again_changes_nothing(root: Root) -> None:
    write_run(root, TUESDAY)
    run(root)
    before = content(root)
    run(root)
    assert content(root) == before


def test_publish_another_date_leaves_the_first(root: Root) -> None:
    write_run(root, MONDAY)
    run(root, MONDAY)
    first = content(root)
    write_run(root, TUESDAY)
    run(root, TUESDAY)
    both = content(root)
    for name, rows in first.items():
        assert [row for row in both[name] if row[0] == MONDAY] == rows
        assert [row[1:-1] for row in both[name] if row[0] == TUESDAY] == [
            row[1:-1] for row in rows
        ]


def test_publish_with_a_failed_check_says_so_and_changes_nothing(root: Root) -> None:
    for date in (MONDAY, TUESDAY):
        write_run(root, date)
        run(root, date)
    before = content(root)
    write_metrics(root, TUESDAY, value=float("nan"))
    with pytest.raises(InputError, match=r"2 check.*model_evaluations\.finite") as told:
        run(root)
    assert "value='nan'" in str(told.value)
    assert content(root) == before
    findings = json.loads(publish.checks_path(root, TUESDAY).read_text())
    failed = {found["name"]: found for found in findings if found["failures"]}
    assert set(failed) == {"finite", "interval"}
    assert failed["finite"]["severity"] == "fail"
    assert failed["finite"]["examples"][0]["slice"] == "all"


def test_publish_killed_in_the_transaction_changes_nothing(root: Root) -> None:
    write_run(root, TUESDAY)
    run(root)
    before = content(root)
    write_metrics(root, TUESDAY, run_id="m2", value=0.55)
    killed = (
        "import os, sys\n"
        "from beam_jobs import publish\n"
        "from beam_jobs.publishing import warehouse\n"
        "original = warehouse.require_rows\n"
        "def kill(table, *arguments):\n"
        "    if table.name == 'model_evaluations' and 'published' in arguments:\n"
        "        os._exit(9)\n"
        "    original(table, *arguments)\n"
        "warehouse.require_rows = kill\n"
        "publish.main(sys.argv[1:])\n"
    )
    options = ["--root", str(root.path), "--run_date", TUESDAY.isoformat()]
    done = subprocess.run([sys.executable, "-c", killed, *options], check=False)
    assert done.returncode == 9
    assert content(root) == before
    run(root)  # and starting it again publishes
    assert {row[1] for row in content(root)["model_evaluations"]} == {"m2"}


def test_publish_without_a_ranking_publishes_the_rest_and_says_so(
    root: Root, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(root, TUESDAY)
    leave_receipt(root, TUESDAY, stage=Stage.RANK_CATALOG, rankings="")
    receipt = publish.publish(root, TUESDAY)
    assert receipt.counts["rankings"] == 0
    assert receipt.counts["image_status"] == 5
    assert any("no model has been promoted" in note for note in receipt.notes)
    assert "no model has been promoted" in caplog.text
    assert content(root)["rankings"] == []


def test_publish_again_without_a_ranking_takes_the_dates_lists_away(
    root: Root,
) -> None:
    for date in (MONDAY, TUESDAY):
        write_run(root, date)
        write_attention(root, date)
        publish.publish(root, date)
    leave_receipt(root, TUESDAY, stage=Stage.RANK_CATALOG, rankings="")
    publish.publish(root, TUESDAY)
    after = content(root)
    for name in ("rankings", "query_attention"):
        assert {row[0] for row in after[name]} == {MONDAY}


def test_publish_of_a_ranking_whose_champion_was_removed_is_refused(
    root: Root,
) -> None:
    write_run(root, TUESDAY)
    run(root)
    before = content(root)
    root.champion.unlink()
    with pytest.raises(InputError, match=rf"rankings v-{TUESDAY}.*rank_catalog"):
        publish.publish(root, TUESDAY)
    assert content(root) == before


def test_publish_with_a_warning_notes_it(root: Root) -> None:
    write_run(root, TUESDAY)
    write_segment(root, "00002-bbb", [status("s1", code="not_found")])
    receipt = publish.publish(root, TUESDAY)
    assert receipt.counts["checks_warned"] == 1
    (note,) = receipt.notes
    assert "success_rate" in note
    assert "fetched=1, images=2" in note


def test_pictures_of_earlier_catalogues_are_not_of_the_date(root: Root) -> None:
    write_run(root, MONDAY)
    write_run(root, TUESDAY)
    # Tuesday's catalogue has one product less, and one scene whose id a product had.
    write_segment(root, "00002-bbb", [status("p1"), status("p1", kind="product")])
    write_catalog_images(root, TUESDAY, *PRODUCTS[:2], scenes=["s1", "p1"])
    for date in (MONDAY, TUESDAY):
        assert publish.publish(root, date).notes == ()
    found = {
        date: sorted(
            row[2:0:-1] for row in content(root)["image_status"] if row[0] == date
        )
        for date in (MONDAY, TUESDAY)
    }
    assert found[MONDAY] == sorted(
        [("product", image) for image in PRODUCTS]
        + [("scene", image) for image in SCENES]
    )
    assert found[TUESDAY] == [
        ("product", "p1"),
        ("product", "p2"),
        ("scene", "p1"),
        ("scene", "s1"),
    ]


def test_date_whose_catalogue_was_not_written_down_has_all_pictures_and_says_so(
    root: Root,
) -> None:
    write_run(root, TUESDAY)
    root.catalog_images(TUESDAY).unlink()
    (note,) = publish.publish(root, TUESDAY).notes
    assert note.startswith("image_status has pictures of earlier catalogues too")
    assert "fetch_images" in note
    assert len(content(root)["image_status"]) == 5


def test_latest_status_takes_the_newest_segment(root: Root) -> None:
    write_segment(root, "00001-bbb", [status("a", code="timed_out"), status("b")])
    write_segment(root, "00002-aaa", [status("a"), status("a", kind="product")])
    write_segment(root, "00003-ccc", [status("c"), status("c")])
    (root.image_store / "segments" / "00004-unfinished").mkdir()
    segments = SegmentStore(root.image_store).segments()
    found = latest_status(segments).to_pylist()
    assert sorted((row["kind"], row["image_id"], row["code"]) for row in found) == [
        ("product", "a", "ok"),
        ("scene", "a", "ok"),
        ("scene", "b", "ok"),
        ("scene", "c", "ok"),  # twice: the checks are to see it
        ("scene", "c", "ok"),
    ]


def test_latest_status_takes_the_rows_that_supersede_a_segments_units(
    root: Root,
) -> None:
    write_segment(root, "00001-aaa", [status("a"), status("b")])
    write_segment(root, "00002-bbb", [status("c")])
    segments = SegmentStore(root.image_store).segments()
    late = [status("a", code="placeholder"), status("c", code="placeholder")]
    dataset_tables.write_table(
        segments[1] / LATE_PART, late, dataset_tables.IMAGE_STATUS
    )
    found = latest_status(segments).to_pylist()
    assert sorted((row["image_id"], row["code"]) for row in found) == [
        ("a", "placeholder"),
        ("b", "ok"),
        ("c", "placeholder"),
    ]


def test_latest_status_leaves_out_a_unit_that_was_never_finished(root: Root) -> None:
    write_segment(root, "00001-aaa", [status("a")])
    (segment,) = SegmentStore(root.image_store).segments()
    (segment / "index-00000-of-00001.parquet").unlink()
    assert len(latest_status([segment])) == 0


@pytest.mark.parametrize(
    "stage",
    [Stage.RANK_CATALOG, Stage.EVALUATE, Stage.FETCH_IMAGES, Stage.BUILD_DATASET],
)
def test_publish_before_a_stage_has_run_names_it(root: Root, stage: Stage) -> None:
    write_run(root, TUESDAY)
    # What trained must be evaluated; a date that did not needs no evaluation.
    leave_receipt(root, TUESDAY, stage=Stage.TRAIN, model="m1")
    (root.path / "runs" / TUESDAY.isoformat() / f"{stage}.json").unlink()
    with pytest.raises(InputError, match=f"stage {stage} has not run"):
        run(root)


def test_publish_of_a_date_that_trained_nothing_has_no_evaluation(root: Root) -> None:
    write_run(root, TUESDAY)
    root.receipt_path(TUESDAY, Stage.EVALUATE).unlink()
    run(root)
    receipt = root.receipt(TUESDAY, Stage.PUBLISH)
    assert receipt.counts["rankings"] == 4
    assert "model_evaluations" not in receipt.counts
    # Its stages are of the model that ranked.
    with duckdb.connect(str(root.warehouse), read_only=True) as warehouse:
        (found,) = warehouse.sql("SELECT DISTINCT run_id FROM pipeline_runs").fetchall()
    assert found == ("m1",)


def test_publish_without_a_model_of_any_kind_is_refused(root: Root) -> None:
    write_run(root, TUESDAY)
    root.receipt_path(TUESDAY, Stage.EVALUATE).unlink()
    leave_receipt(root, TUESDAY, stage=Stage.RANK_CATALOG, rankings="")
    with pytest.raises(InputError, match="stage evaluate has not run"):
        run(root)


def test_publish_of_an_unfinished_ranking_is_refused(root: Root) -> None:
    write_run(root, TUESDAY)
    (root.rankings(f"v-{TUESDAY}") / storage.MANIFEST).unlink()
    with pytest.raises(InputError, match="did not finish"):
        run(root)


def test_publish_of_a_ranking_that_lost_a_shard_is_refused(root: Root) -> None:
    write_run(root, TUESDAY)
    (root.rankings(f"v-{TUESDAY}") / "rankings-00001-of-00002.parquet").unlink()
    with pytest.raises(InputError, match=r"rankings\.coverage .*1 row"):
        run(root)


def test_publish_of_another_dates_ranking_is_refused(root: Root) -> None:
    write_run(root, TUESDAY)
    write_rankings(root, MONDAY, version="old")
    leave_receipt(root, TUESDAY, stage=Stage.RANK_CATALOG, rankings="old")
    with pytest.raises(InputError, match=r"rankings\.run_date .*run_date='2026-11-09'"):
        run(root)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"metrics": []}, "has no 'evaluation'"),
        ({"metrics": [{}], "evaluation": {"dataset": "d"}}, "has no 'model'"),
        ([], "does not fit model_evaluations"),
        ({"metrics": [], "evaluation": {"dataset": "d"}}, "not_empty"),
    ],
)
def test_publish_of_metrics_in_another_form_is_refused(
    root: Root, document: object, message: str
) -> None:
    write_run(root, TUESDAY)
    storage.write_json(root.model("m1") / "metrics.json", document)
    with pytest.raises(InputError, match=message):
        run(root)


def test_publish_of_a_metric_without_interval_is_refused(root: Root) -> None:
    write_run(root, TUESDAY)
    write_metrics(root, TUESDAY, low=None)
    with pytest.raises(InputError, match=r"model_evaluations cannot be staged.*low"):
        run(root)


def test_publish_without_the_products_file_names_it(root: Root) -> None:
    write_run(root, TUESDAY)
    (root.rankings(f"v-{TUESDAY}") / "products.parquet").unlink()
    with pytest.raises(InputError, match=r"products\.parquet does not exist"):
        run(root)


def test_publish_accepts_further_columns_beside_the_queries(root: Root) -> None:
    write_run(root, TUESDAY)
    file = root.rankings(f"v-{TUESDAY}") / "queries.parquet"
    rows = pq.read_table(str(file), partitioning=None)
    pq.write_table(rows.append_column("n", pa.array([1, 2])), str(file))
    run(root)
    assert len(content(root)["rankings"]) == 4


def test_publish_into_another_duckdb_file(root: Root, tmp_path: Path) -> None:
    write_run(root, TUESDAY)
    shop = tmp_path / "shop" / "shop.duckdb"
    receipt = publish.publish(root, TUESDAY, warehouse=str(shop))
    assert receipt.outputs == {"warehouse": str(shop)}
    assert not root.warehouse.exists()
    with duckdb.connect(str(shop), read_only=True) as connection:
        query = "SELECT COUNT(*) FROM latest_rankings"
        assert connection.execute(query).fetchall() == [(4,)]


def test_publish_to_a_malformed_address_is_refused(root: Root) -> None:
    write_run(root, TUESDAY)
    with pytest.raises(InputError, match="is not bigquery://project/dataset"):
        publish.publish(root, TUESDAY, warehouse="bigquery://shop")


def test_publish_to_an_unknown_scheme_is_refused(root: Root) -> None:
    write_run(root, TUESDAY)
    with pytest.raises(InputError, match="--warehouse 'bigqery://shop/tables' is"):
        publish.publish(root, TUESDAY, warehouse="bigqery://shop/tables")


def test_publish_into_a_table_of_another_kind_is_refused(
    root: Root, tmp_path: Path
) -> None:
    """DuckDB opens such a file in memory, where what is published would be lost."""
    write_run(root, TUESDAY)
    offers = tmp_path / "offers.csv"
    offers.write_text("product_id,price\nshoe-a,10\n")
    with pytest.raises(InputError, match=r"offers\.csv is no DuckDB file"):
        publish.publish(root, TUESDAY, warehouse=str(offers))
    assert offers.read_text() == "product_id,price\nshoe-a,10\n"


@pytest.mark.parametrize("options", [(), ("--stage_only",)])
def test_date_of_another_domain_is_not_replaced(
    root: Root, options: tuple[str, ...]
) -> None:
    write_run(root, TUESDAY)
    run(root)
    before = content(root)
    write_dataset(root, TUESDAY, "d2", domain="home")
    with pytest.raises(InputError, match=r"domain fashion, which .* of home would"):
        publish.main(
            ["--root", str(root.path), "--run_date", TUESDAY.isoformat(), *options]
        )
    assert content(root) == before
    write_run(root, MONDAY)  # other dates are none of its business
    run(root, MONDAY)
