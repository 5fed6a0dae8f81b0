"""Warehouses that an earlier definition made, from before a column was added."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import bigquery_server
import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import sample_warehouse
from etils import epath
from run_outputs import write_rankings, write_run
from sample_warehouse import MONDAY, TUESDAY

from beam_jobs import approve, publish
from beam_jobs.publishing import approval, run_loads
from beam_jobs.publishing.bigquery_address import BigQueryAddress
from beam_jobs.publishing.bigquery_jobs import RETRY, Jobs
from beam_jobs.publishing.bigquery_tables import table_of
from beam_jobs.publishing.bigquery_warehouse import BigQueryWarehouse
from beam_jobs.publishing.publication import Load
from beam_jobs.publishing.warehouse import Warehouse
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import PublishedTable
from tfrecords_schema.usage import Usage

NEW = published_tables()["pipeline_runs"]
ADDED = ("runner", "cpu_seconds", "peak_memory_bytes")
OLD = dataclasses.replace(
    NEW,
    columns=tuple(column for column in NEW.columns if column.name not in ADDED),
    checks=tuple(check for check in NEW.checks if check.name != "usage"),
)

ALL_ROWS = "SELECT * FROM pipeline_runs ORDER BY run_date, stage"


def old_rows(date: datetime.date) -> list[dict[str, Any]]:
    rows = sample_warehouse.stages(date)
    return [{name: row[name] for name in OLD.column_names} for row in rows]


def publish_old(warehouse: Warehouse, date: datetime.date) -> None:
    """What a version before the columns did."""
    rows = pa.Table.from_pylist(old_rows(date), schema=OLD.arrow_schema)
    staged = warehouse.stage(Load(OLD, ds.dataset(rows)), run_date=date)
    warehouse.publish([warehouse.run_checks(staged)])


def columns_in(path: Path, schema: str, name: str) -> list[str]:
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "SELECT column_name FROM duckdb_columns() WHERE schema_name = $schema "
            "AND table_name = $name ORDER BY column_index",
            {"schema": schema, "name": name},
        ).fetchall()
    return [name for (name,) in rows]


def test_columns_come_last_and_may_be_null() -> None:
    assert NEW.column_names == (*OLD.column_names, *ADDED)
    assert NEW.columns_after(OLD.column_names) == NEW.columns[-3:]
    assert NEW.columns_after(NEW.column_names) == ()


@pytest.mark.parametrize(
    "found",
    [
        OLD.column_names[1:],
        tuple(reversed(OLD.column_names)),
        (*OLD.column_names, "cpu_seconds"),
        OLD.column_names[:-1],  # what would be added there may not be null
        (*NEW.column_names, "colour"),
    ],
)
def test_table_that_differs_otherwise_is_given_nothing(found: tuple[str, ...]) -> None:
    assert NEW.columns_after(found) == ()


def test_old_rows_stay_and_new_ones_have_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with Warehouse.open(epath.Path(path)) as warehouse:
        publish_old(warehouse, MONDAY)
    assert columns_in(path, "main", "pipeline_runs") == list(OLD.column_names)
    with Warehouse.open(epath.Path(path)) as warehouse:
        sample_warehouse.publish(warehouse, TUESDAY)
        found = warehouse.query(ALL_ROWS, {})
    fresh = tmp_path / "fresh.duckdb"
    with Warehouse.open(epath.Path(fresh)) as warehouse:
        sample_warehouse.publish(warehouse, TUESDAY)
        alone = warehouse.query(ALL_ROWS, {})
    old = [row for row in found if row["run_date"] == str(MONDAY)]
    assert [row["seconds"] for row in old] == [30.0, 90.0, 600.0]  # by stage
    assert {row[name] for row in old for name in ADDED} == {None}
    assert [row for row in found if row["run_date"] == str(TUESDAY)] == alone
    described = "SELECT column_name, comment FROM duckdb_columns() ORDER BY ALL"
    with duckdb.connect(str(path)) as one, duckdb.connect(str(fresh)) as other:
        both = [connection.execute(described).fetchall() for connection in (one, other)]
    assert both[0] == both[1]


def make_old(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish and stage as a version before the columns did."""
    tables = {**published_tables(), "pipeline_runs": OLD}
    with monkeypatch.context() as patch:
        for module in (approval, approve, publish, run_loads):
            patch.setattr(module, "published_tables", lambda: tables)
        patch.setattr(run_loads, "_usage", lambda receipt: {})
        write_run(root, TUESDAY)
        publish.publish(root, TUESDAY)
        write_rankings(root, TUESDAY, version="backfill", top_k=3)
        root.write_receipt(TUESDAY, Receipt(Stage.FETCH_IMAGES, {}, {}, 9.0))
        publish.publish(root, TUESDAY, stage_only=True)


def test_request_from_before_is_refused_until_the_date_is_staged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Root.of(str(tmp_path))
    make_old(root, monkeypatch)
    staging = "staging_pipeline_runs_20261110"
    path = Path(root.warehouse)
    assert columns_in(path, "staging", staging) == list(OLD.column_names)
    with pytest.raises(InputError, match=r"pipeline_runs: .*; stage the date again"):
        approve.approve(root, TUESDAY, by="Kim")
    assert columns_in(path, "staging", staging) == list(NEW.column_names)
    publish.publish(root, TUESDAY, stage_only=True)
    assert approve.approve(root, TUESDAY, by="Kim")["pipeline_runs"] == 4


def test_swap_from_before_can_be_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Root.of(str(tmp_path))
    make_old(root, monkeypatch)
    tables = {**published_tables(), "pipeline_runs": OLD}
    with monkeypatch.context() as patch:
        for module in (approval, approve):
            patch.setattr(module, "published_tables", lambda: tables)
        approve.approve(root, TUESDAY, by="Kim")
    # Its checksums are of other columns, so it cannot be told from one that was
    # published again.
    with pytest.raises(InputError, match="--discard_newer"):
        approve.roll_back(root, TUESDAY, by="Kim")
    rows = approve.roll_back(root, TUESDAY, by="Kim", discard_newer=True)
    assert rows["rankings"] == 4
    assert columns_in(Path(root.warehouse), "main", "pipeline_runs") == list(
        NEW.column_names
    )


def resource(table: PublishedTable, dataset: str, name: str) -> dict[str, Any]:
    """A table of BigQuery in the API's form."""
    return {
        **table_of(table, f"{bigquery_server.PROJECT}.{dataset}").to_api_repr(),
        "tableReference": {
            "projectId": bigquery_server.PROJECT,
            "datasetId": dataset,
            "tableId": name,
        },
    }


def test_columns_are_added_in_bigquery_to_the_table_and_to_what_is_kept_of_it() -> None:
    kept = {
        "shop_staging.staging_pipeline_runs_20261110_0123456789abcdef",
        "shop_backup.backup_pipeline_runs_20261110",
    }
    others = {"shop_staging.staging_pipeline_runs_20261110_0123456789abcdef_queries"}
    with bigquery_server.serve() as (state, client):
        for place in ("shop.pipeline_runs", *kept, *others):
            dataset, _, name = place.partition(".")
            state.tables[place] = resource(OLD, dataset, name)
        jobs = Jobs(client, RETRY, upload_retries=0)
        warehouse = BigQueryWarehouse(
            BigQueryAddress(bigquery_server.PROJECT, "shop"), jobs
        )
        warehouse.ensure_tables([NEW])
        patched = {
            request.path.partition("/datasets/")[2].replace("/tables/", ".")
            for request in state.requests
            if request.method == "PATCH"
        }
        assert patched == {"shop.pipeline_runs", *kept}
        for place in patched:
            fields = state.tables[place]["schema"]["fields"]
            assert [field["name"] for field in fields] == list(NEW.column_names)
            assert {field["mode"] for field in fields[-3:]} == {"NULLABLE"}
        # They are asked for what is kept once, when the columns are added.
        state.requests.clear()
        warehouse.ensure_tables([NEW])
        assert [request.method for request in state.requests] == ["GET"]


def test_receipts_without_usage_are_published_without(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    write_run(root, TUESDAY)
    usage = Usage("DirectRunner", 1.5, 2**31, {"beam.fetch_images.ok": 7})
    counts = {"pictures": 8}
    receipt = Receipt(Stage.FETCH_IMAGES, {}, counts, 2.5, usage=usage)
    root.write_receipt(TUESDAY, receipt)
    publish.publish(root, TUESDAY)
    with duckdb.connect(str(root.warehouse), read_only=True) as connection:
        runs = connection.execute(
            f"SELECT stage, {', '.join(ADDED)} FROM pipeline_runs ORDER BY stage"
        ).fetchall()
        counted = connection.execute(
            "SELECT name, value FROM pipeline_counts WHERE stage = 'fetch_images'"
        ).fetchall()
    assert runs == [
        ("build_dataset", None, None, None),
        ("evaluate", None, None, None),
        ("fetch_images", "DirectRunner", 1.5, 2**31),
        ("rank_catalog", None, None, None),
    ]
    assert sorted(counted) == [("beam.fetch_images.ok", 7), ("pictures", 8)]
