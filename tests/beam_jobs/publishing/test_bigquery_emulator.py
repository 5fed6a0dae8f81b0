"""Publishing over a real connection, with the real client, into the BigQuery emulator.

It shows that the requests are well-formed and that every statement runs. What the
emulator is lax about or cannot do is in `test_bigquery_warehouse`, see
docs/publishing.md.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sample_warehouse
from bigquery_emulator import PROJECT_ID, Unavailable, emulator
from cookbook import Recipe, as_text, recipes
from google.cloud import bigquery
from run_outputs import write_rankings, write_run
from sample_warehouse import MONDAY, TUESDAY

from beam_jobs import approve, publish
from beam_jobs.publishing import bigquery_backups
from beam_jobs.publishing.bigquery_address import make_client, parse_address
from beam_jobs.publishing.bigquery_warehouse import BigQueryWarehouse
from beam_jobs.publishing.target import open_reader
from beam_jobs.publishing.warehouse import Warehouse
from beam_jobs.report.warehouse import earlier_lists, past_figures
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.view_folders import published_views

SHOP = f"bigquery://{PROJECT_ID}/shop"
TABLES = list(published_tables().values())


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        try:
            with emulator() as address:
                patch.setenv("BIGQUERY_EMULATOR_HOST", address)
                yield address
        except Unavailable as reason:
            pytest.skip(f"no BigQuery emulator: {reason}")


@pytest.fixture(scope="module")
def shop(running: str) -> Iterator[BigQueryWarehouse]:
    """The sample's two nights."""
    with BigQueryWarehouse.open(SHOP) as warehouse:
        warehouse.ensure_tables(TABLES)
        sample_warehouse.publish(warehouse, MONDAY, TUESDAY)
        yield warehouse


@pytest.fixture(scope="module")
def local() -> Iterator[Warehouse]:
    connection = duckdb.connect()
    warehouse = Warehouse(connection)
    sample_warehouse.publish(warehouse, MONDAY, TUESDAY)
    yield warehouse
    connection.close()


@pytest.fixture
def client(running: str) -> Iterator[bigquery.Client]:
    client = make_client(parse_address(SHOP))
    yield client
    client.close()


def content(warehouse: Any, name: str) -> list[str]:
    """All rows of a table or view, in any order."""
    relation = name
    if isinstance(warehouse, BigQueryWarehouse):
        relation = f"{PROJECT_ID}.shop.{name}"
    rows = warehouse.query(f"SELECT * FROM `{relation}`", {})
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def count(client: bigquery.Client, dataset: str, date: datetime.date) -> int:
    table = f"`{PROJECT_ID}.{dataset}.rankings`"
    query = f"SELECT COUNT(*) AS n FROM {table} WHERE run_date = DATE '{date}'"
    (row,) = client.query(query).result()
    return row["n"]


@pytest.mark.parametrize("name", [*published_tables(), *published_views()])
def test_every_table_and_view_has_the_rows_of_the_local_warehouse(
    shop: BigQueryWarehouse, local: Warehouse, name: str
) -> None:
    found = content(shop, name)
    assert found == content(local, name)
    assert found


def test_date_again_replaces_that_date_alone(
    shop: BigQueryWarehouse, local: Warehouse
) -> None:
    before = {name: content(shop, name) for name in published_tables()}
    sample_warehouse.publish(shop, MONDAY)
    assert {name: content(shop, name) for name in published_tables()} == before


def test_failed_check_publishes_nothing(shop: BigQueryWarehouse) -> None:
    before = content(shop, "rankings")
    rows = sample_warehouse.rankings(TUESDAY)
    rows[0]["distance"] = 9.0
    staged = shop.stage(sample_warehouse.load("rankings", rows), run_date=TUESDAY)
    with pytest.raises(InputError, match=r"rankings\.distance_range") as told:
        shop.publish([shop.run_checks(staged)])
    assert "distance=9.0" in str(told.value)
    assert content(shop, "rankings") == before


def test_rows_that_change_after_the_checks_roll_the_transaction_back(
    shop: BigQueryWarehouse, client: bigquery.Client
) -> None:
    rows = [{**row, "run_id": "r-late"} for row in sample_warehouse.rankings(TUESDAY)]
    staged = shop.stage(sample_warehouse.load("rankings", rows), run_date=TUESDAY)
    checked = shop.run_checks(staged)
    before = content(shop, "rankings")
    client.query(f"DELETE FROM `{staged.relations['table']}` WHERE rank = 2").result()
    with pytest.raises(InputError, match="other than the 12 staged rows"):
        shop.publish([checked])
    assert content(shop, "rankings") == before


def test_table_is_made_as_it_is_defined(
    shop: BigQueryWarehouse, client: bigquery.Client
) -> None:
    found = client.get_table(f"{PROJECT_ID}.shop.query_attention")
    assert found.clustering_fields == ["domain", "category", "scene_id"]
    assert found.time_partitioning.field == "run_date"
    assert found.time_partitioning.expiration_ms == 400 * 86_400_000
    modes = {field.name: field.mode for field in found.schema}
    assert modes["attention"] == "REPEATED"
    assert modes["grid"] == "REQUIRED"


def test_schema_that_drifted_is_refused_by_column(
    running: str, client: bigquery.Client
) -> None:
    with BigQueryWarehouse.open(f"bigquery://{PROJECT_ID}/drifted") as warehouse:
        name = f"{PROJECT_ID}.drifted.rankings"
        table = bigquery.Table(
            name,
            schema=[
                bigquery.SchemaField("run_date", "DATE", mode="REQUIRED"),
                bigquery.SchemaField("domain", "INT64", mode="REQUIRED"),
            ],
        )
        client.create_table(table)
        with pytest.raises(InputError, match="column domain is INT64 REQUIRED"):
            warehouse.ensure_tables(TABLES)
        assert len(client.get_table(name).schema) == 2


def test_report_reads_the_same_from_both_warehouses(
    shop: BigQueryWarehouse, local: Warehouse
) -> None:
    chosen = [("street-1", "Bags"), ("street-2", "Shoes"), ("no-such-scene", "Bags")]
    lists = [
        earlier_lists(warehouse, TUESDAY, "fashion", chosen)
        for warehouse in (shop, local)
    ]
    assert lists[0] == lists[1]
    assert lists[0] is not None
    assert lists[0].run_date == MONDAY
    # Of the scene and category that were chosen, and of no other pair of them.
    assert set(lists[0].lists) == set(chosen[:2])
    figures = [
        past_figures(warehouse, TUESDAY, ["mrr", "recall_at_10"])
        for warehouse in (shop, local)
    ]
    assert figures[0] == figures[1]
    assert [figure.value for figure in figures[0]] == [0.2, 0.4, 0.25, 0.5]


def test_report_of_a_data_set_that_is_not_there_is_refused(
    running: str, tmp_path: Path
) -> None:
    root = Root.of(str(tmp_path))
    address = f"bigquery://{PROJECT_ID}/never_made"
    with (
        pytest.raises(InputError, match=r"find the data set test-project\.never_made"),
        open_reader(root, address),
    ):
        pass


def run_options(root: Root) -> list[str]:
    return ["--root", str(root.path), "--run_date", str(TUESDAY)]


def stage_backfill(root: Root, dataset: str) -> None:
    """A published date of two products a list, and one of three that waits."""
    write_run(root, TUESDAY)
    where = ["--warehouse", f"bigquery://{PROJECT_ID}/{dataset}"]
    publish.main([*run_options(root), *where])
    write_rankings(root, TUESDAY, version="backfill", top_k=3)
    publish.main([*run_options(root), *where, "--stage_only"])


def decide(root: Root, *options: str) -> None:
    approve.main([*run_options(root), "--by", "Kim", *options])


def test_jobs_publish_stage_approve_and_roll_back(
    running: str, client: bigquery.Client, tmp_path: Path
) -> None:
    root = Root.of(str(tmp_path))
    stage_backfill(root, "jobs")
    assert count(client, "jobs", TUESDAY) == 4
    request = json.loads(
        (root.path / "runs" / str(TUESDAY) / "approval.json").read_text()
    )
    assert request["rankings"]["lists_changed"] == 2
    decide(root)
    assert count(client, "jobs", TUESDAY) == 6
    decide(root, "--rollback")
    assert count(client, "jobs", TUESDAY) == 4
    assert list(client.list_tables(f"{PROJECT_ID}.jobs_backup")) == []


def test_second_of_two_approvals_at_once_changes_nothing(
    running: str,
    client: bigquery.Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Root.of(str(tmp_path))
    stage_backfill(root, "at_once")
    compare = approve.require_unchanged

    def while_another_approves(*arguments: Any) -> None:
        compare(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(approve, "require_unchanged", compare)
            # Its staging tables are the other's as well.
            patch.setattr(BigQueryWarehouse, "discard", lambda *_: None)
            approve.approve(root, TUESDAY, by="Lee")

    with monkeypatch.context() as patch:
        patch.setattr(approve, "require_unchanged", while_another_approves)
        with pytest.raises(InputError, match=r"published .* has changed since"):
            decide(root)
    assert count(client, "at_once", TUESDAY) == 6
    # What both were to replace is still kept.
    decide(root, "--rollback")
    assert count(client, "at_once", TUESDAY) == 4


def test_rollback_spares_what_was_published_since_unless_told(
    running: str,
    client: bigquery.Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Root.of(str(tmp_path))
    stage_backfill(root, "since")
    decide(root)
    write_rankings(root, TUESDAY, version="mended", top_k=1)
    where = ["--warehouse", f"bigquery://{PROJECT_ID}/since"]
    publish.main([*run_options(root), *where])
    with pytest.raises(InputError, match=r"of mended now, the swap put in .*backfill"):
        decide(root, "--rollback")
    assert count(client, "since", TUESDAY) == 2
    with monkeypatch.context() as patch:
        patch.setattr(bigquery_backups, "drop", _killed)
        with pytest.raises(RuntimeError, match="killed"):
            decide(root, "--rollback", "--discard_newer")
    assert count(client, "since", TUESDAY) == 4
    # Asked for again, it finds its own work and ends it.
    decide(root, "--rollback")
    assert count(client, "since", TUESDAY) == 4
    assert list(client.list_tables(f"{PROJECT_ID}.since_backup")) == []


def _killed(*_: Any) -> None:
    raise RuntimeError("killed")


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.question)
def test_query_of_the_cookbook_runs_in_bigquerys_dialect(
    shop: BigQueryWarehouse, client: bigquery.Client, recipe: Recipe
) -> None:
    config = bigquery.QueryJobConfig(default_dataset=f"{PROJECT_ID}.shop")
    rows = [dict(row) for row in client.query(recipe.query, job_config=config).result()]
    assert as_text(rows) == recipe.answer
