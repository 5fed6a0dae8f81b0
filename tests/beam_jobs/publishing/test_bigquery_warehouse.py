"""Publishing to BigQuery, request by request: ids, retries, refusals, transactions."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterator
from typing import Any

import bigquery_server
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sample_warehouse
from bigquery_server import State, refusal
from google.cloud import bigquery
from sample_warehouse import TUESDAY

from beam_jobs.publishing.bigquery_address import BigQueryAddress, parse_address
from beam_jobs.publishing.bigquery_jobs import RETRY, Jobs, LoadSource
from beam_jobs.publishing.bigquery_statements import Swap, transaction
from beam_jobs.publishing.bigquery_tables import table_of
from beam_jobs.publishing.bigquery_warehouse import BigQueryWarehouse
from beam_jobs.publishing.partition_state import PartitionState, why_changed
from beam_jobs.publishing.publication import Checked, CheckResult, Load, Staged
from tfrecords_schema.errors import InputError
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import Severity

ADDRESS = BigQueryAddress(bigquery_server.PROJECT, "shop")
# As patient as the real one, and in no hurry to show it.
QUICK = RETRY.with_delay(initial=0.001, maximum=0.001)
RANKINGS = sample_warehouse.rankings(TUESDAY)
CONFLICT = "Transaction is aborted due to concurrent update against table rankings."


@pytest.fixture
def server() -> Iterator[tuple[State, bigquery.Client]]:
    with bigquery_server.serve() as served:
        yield served


@pytest.fixture
def state(server: tuple[State, bigquery.Client]) -> State:
    state = server[0]
    state.answer = lambda sql: [{"n": 0}] if "COUNT(*) AS n" in sql else []
    return state


@pytest.fixture
def warehouse(server: tuple[State, bigquery.Client]) -> BigQueryWarehouse:
    return BigQueryWarehouse(ADDRESS, Jobs(server[1], QUICK, upload_retries=0))


def attention_load() -> Load:
    """Without relations, so that one load is one job."""
    load = sample_warehouse.load("query_attention", sample_warehouse.attention(TUESDAY))
    return Load(table=load.table, rows=load.rows)


def stage(warehouse: BigQueryWarehouse, state: State, name: str = "rankings") -> Staged:
    """A load whose job says that it has loaded what was sent."""
    load = sample_warehouse.load(name, sample_warehouse.ROWS[name](TUESDAY))
    state.loaded_rows = load.rows.count_rows()
    return warehouse.stage(Load(load.table, load.rows), run_date=TUESDAY)


@pytest.fixture
def evaluations() -> str:
    """A table whose checks look at nothing beside it."""
    return "model_evaluations"


def checked(staged: Staged, *, failures: int = 0) -> Checked:
    found = CheckResult(
        staged.table.name, "finite", Severity.FAIL, "numbers", failures, ()
    )
    return Checked(staged, (found,))


def test_load_job_has_an_id_of_run_table_and_content(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    (request,) = state.started("load")
    assert request.path == f"/upload/bigquery/v2/projects/{ADDRESS.project}/jobs"
    _, dataset, table = staged.relations["table"].split(".")
    assert dataset == "shop_staging"
    assert table.startswith("staging_model_evaluations_20261110_")
    assert request.job_id == f"ctl-load-shop_staging-{table}-0"
    load = request.body["configuration"]["load"]
    assert load["sourceFormat"] == "PARQUET"
    assert load["writeDisposition"] == "WRITE_TRUNCATE"
    assert load["parquetOptions"] == {"enableListInference": True}
    assert load["destinationTable"]["tableId"] == table
    sent = pq.read_table(io.BytesIO(state.uploads[request.job_id]))
    assert sent.to_pylist() == sample_warehouse.evaluations(TUESDAY)


def test_load_of_a_list_column_is_repeated(
    warehouse: BigQueryWarehouse, state: State
) -> None:
    load = sample_warehouse.load("query_attention", sample_warehouse.attention(TUESDAY))
    state.loaded_rows = 6
    warehouse.stage(load, run_date=TUESDAY)
    (rows, queries) = state.started("load")
    fields = rows.body["configuration"]["load"]["schema"]["fields"]
    modes = {field["name"]: (field["type"], field["mode"]) for field in fields}
    assert modes["attention"] == ("FLOAT64", "REPEATED")
    assert modes["grid"] == ("INT64", "REQUIRED")
    assert "_queries_" in queries.job_id


def test_same_content_again_waits_for_the_first_job(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    first = stage(warehouse, state, evaluations)
    second = stage(warehouse, state, evaluations)
    assert second == first
    assert len(state.jobs) == 1
    one, other = state.started("load")
    assert one.job_id == other.job_id


def test_other_content_is_another_job_and_table(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    first = stage(warehouse, state, evaluations)
    rows = sample_warehouse.evaluations(TUESDAY)
    rows[0]["value"] += 0.01
    second = warehouse.stage(sample_warehouse.load(evaluations, rows), run_date=TUESDAY)
    assert second.relations != first.relations
    assert len(state.jobs) == 2


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "rateLimitExceeded"),
        (403, "quotaExceeded"),
        (503, "backendError"),
        (429, "rateLimitExceeded"),
        (500, "internalError"),
    ],
)
def test_load_is_asked_for_again_under_the_same_id(
    warehouse: BigQueryWarehouse,
    state: State,
    evaluations: str,
    status: int,
    reason: str,
) -> None:
    state.refuse = [refusal(status, reason)] * 2
    stage(warehouse, state, evaluations)
    ids = [request.job_id for request in state.started("load")]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert list(state.jobs) == ids[:1]


def test_load_whose_answer_was_lost_is_not_run_twice(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    state.refuse = [None]
    stage(warehouse, state, evaluations)
    assert len(state.jobs) == 1


@pytest.mark.parametrize("reason", ["backendError", "quotaExceeded"])
def test_load_job_that_breaks_half_way_is_started_under_the_next_number(
    warehouse: BigQueryWarehouse, state: State, evaluations: str, reason: str
) -> None:
    state.job_errors = [(reason, "try again")]
    stage(warehouse, state, evaluations)
    assert [name[-2:] for name in state.jobs] == ["-0", "-1"]


def test_load_job_that_fails_for_good_is_told_and_nothing_is_published(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    state.job_errors = [("invalid", "Error while reading data: bad page header")]
    with pytest.raises(InputError, match=r"refused to load .*bad page header"):
        stage(warehouse, state, evaluations)
    assert len(state.jobs) == 1
    assert state.transactions() == []


def test_load_job_that_failed_in_an_earlier_run_does_not_stand_in_the_way(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    state.job_errors = [("accessDenied", "no permission")]
    with pytest.raises(InputError, match="no permission"):
        stage(warehouse, state, evaluations)
    stage(warehouse, state, evaluations)
    assert [name[-2:] for name in state.jobs] == ["-0", "-1"]


def test_load_whose_staging_table_has_expired_is_loaded_again(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    state.tables.clear()
    assert stage(warehouse, state, evaluations) == staged
    assert [name[-2:] for name in state.jobs] == ["-0", "-1"]


def test_load_that_lost_rows_is_an_error(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    load = sample_warehouse.load(evaluations, sample_warehouse.evaluations(TUESDAY))
    state.loaded_rows = 5
    with pytest.raises(RuntimeError, match="5 rows were loaded, but 6 are"):
        warehouse.stage(load, run_date=TUESDAY)


def test_load_without_permission_is_not_asked_for_again(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    state.refuse = [refusal(403, "accessDenied", "Permission bigquery.jobs.create")]
    with pytest.raises(InputError, match=r"Permission bigquery\.jobs\.create"):
        stage(warehouse, state, evaluations)
    assert len(state.started("load")) == 1


def test_load_that_never_succeeds_ends_with_what_bigquery_said(
    server: tuple[State, bigquery.Client], evaluations: str
) -> None:
    state, client = server
    state.job_errors = [("quotaExceeded", "Quota exceeded: load jobs")] * 2
    # Time is over after the first try.
    warehouse = BigQueryWarehouse(
        ADDRESS, Jobs(client, QUICK.with_timeout(0.0), upload_retries=0)
    )
    with pytest.raises(RuntimeError, match=r"could not load .*Quota exceeded: load"):
        stage(warehouse, state, evaluations)
    assert state.transactions() == []


def test_load_refuses_a_null_in_a_required_column_before_it_is_sent(
    warehouse: BigQueryWarehouse, state: State
) -> None:
    rows = sample_warehouse.image_status(TUESDAY)
    rows[3]["url"] = None
    with pytest.raises(InputError, match=r"image_status cannot be staged.*url"):
        warehouse.stage(sample_warehouse.load("image_status", rows), run_date=TUESDAY)
    assert state.requests == []


def test_load_from_an_object_store_names_the_objects(
    server: tuple[State, bigquery.Client],
) -> None:
    state, client = server
    state.loaded_rows = 12
    uris = ["gs://bucket/r/rankings-0.parquet", "gs://bucket/r/rankings-1.parquet"]
    source = LoadSource(open=None, uris=uris, rows=12, digest="ab")
    Jobs(client, QUICK).load(
        source, f"{ADDRESS.staging}.staged", job_id="ctl-load-x", schema=[]
    )
    (request,) = state.started("load")
    assert request.path.endswith("/jobs")
    assert not request.path.startswith("/upload")
    assert request.body["configuration"]["load"]["sourceUris"] == uris


def test_publish_replaces_all_tables_in_one_transaction(
    warehouse: BigQueryWarehouse, state: State
) -> None:
    names = ("model_evaluations", "pipeline_runs")
    staged = [stage(warehouse, state, name) for name in names]
    rows = warehouse.publish([checked(item) for item in staged])
    assert rows == {"model_evaluations": 6, "pipeline_runs": 3}
    (request,) = state.transactions()
    lines = request.script.splitlines()
    assert (lines[0], lines[-1]) == ("BEGIN TRANSACTION;", "COMMIT TRANSACTION;")
    for item in staged:
        target = f"`test-project.shop.{item.table.name}`"
        deleted = f"DELETE FROM {target} WHERE `run_date` = DATE '2026-11-10';"
        inserted = next(
            line for line in lines if line.startswith(f"INSERT INTO {target}")
        )
        assert lines.index(deleted) < lines.index(inserted)
        assert inserted.endswith(f"FROM `{item.relations['table']}`;")


def test_publish_makes_tables_as_they_are_defined(
    warehouse: BigQueryWarehouse, state: State
) -> None:
    warehouse.ensure_tables([published_tables()["rankings"]])
    made = state.tables["shop.rankings"]
    assert made["timePartitioning"] == {
        "type": "DAY",
        "field": "run_date",
        "expirationMs": str(400 * 86_400_000),
    }
    assert made["requirePartitionFilter"] is True
    assert made["clustering"] == {"fields": ["domain", "category", "scene_id"]}
    assert made["labels"]["application"] == "complete_the_look"
    described = {
        field["name"]: field["description"] for field in made["schema"]["fields"]
    }
    assert described == {
        column.name: column.description
        for column in published_tables()["rankings"].columns
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "STRING"}, "column rank is STRING REQUIRED, .* says INT64 REQUIRED"),
        ({"mode": "NULLABLE"}, "column rank is INT64 NULLABLE"),
        ({"name": "place"}, "column rank is absent"),
    ],
)
def test_publish_refuses_a_table_that_differs_from_its_definition(
    warehouse: BigQueryWarehouse,
    state: State,
    evaluations: str,
    change: dict[str, str],
    message: str,
) -> None:
    table = published_tables()["rankings"]
    resource = table_of(table, ADDRESS.published).to_api_repr()
    for field in resource["schema"]["fields"]:
        field["type"] = {"INT64": "INTEGER"}.get(field["type"], field["type"])
    resource["schema"]["fields"][4].update(change)
    state.tables["shop.rankings"] = resource
    staged = stage(warehouse, state, evaluations)
    with pytest.raises(InputError, match=message):
        warehouse.publish([checked(staged)], tables=[table])
    assert state.transactions() == []
    assert state.tables["shop.rankings"] == resource


def test_publish_brings_descriptions_and_expiry_up_to_date(
    warehouse: BigQueryWarehouse, state: State
) -> None:
    table = published_tables()["rankings"]
    warehouse.ensure_tables([table])
    requests = len(state.requests)
    warehouse.ensure_tables([table])
    assert [request.method for request in state.requests[requests:]] == ["GET"]
    made = state.tables["shop.rankings"]
    made["description"] = "old"
    made["timePartitioning"]["expirationMs"] = "1"
    warehouse.ensure_tables([table])
    (patch,) = [found for found in state.requests if found.method == "PATCH"]
    assert sorted(patch.body) == ["description", "timePartitioning"]
    assert state.tables["shop.rankings"]["description"].startswith("For every scene")


def test_publish_with_a_failed_check_sends_no_transaction(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    with pytest.raises(InputError, match=r"model_evaluations\.finite"):
        warehouse.publish([checked(staged, failures=1)])
    assert state.transactions() == []


def test_checks_are_sent_with_the_date_as_a_parameter(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    checks = [check.name for check in staged.table.checks]
    state.answer = lambda sql: (
        [{"name": name, "failures": 2} for name in checks]
        if "UNION ALL" in sql
        else [{"model": "m"}]
    )
    found = warehouse.run_checks(staged)
    assert len(found.results) == len(staged.table.checks)
    assert {result.failures for result in found.results} == {2}
    assert found.results[0].examples == ({"model": "m"},)
    dated = [
        request.body["configuration"]["query"]
        for request in state.started("query")
        if "@run_date" in request.script
    ]
    (parameter,) = dated[0]["queryParameters"]
    assert parameter["parameterType"] == {"type": "DATE"}
    assert parameter["parameterValue"] == {"value": "2026-11-10"}
    assert f"`{staged.relations['table']}`" in dated[0]["query"]


def test_transaction_that_meets_another_starts_anew(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    state.job_errors = [("invalidQuery", CONFLICT)] * 2
    warehouse.publish([checked(staged)])
    one, *others = state.transactions()
    assert len(others) == 2
    assert {request.script for request in others} == {one.script}
    assert len({request.job_id for request in (one, *others)}) == 3


def test_transaction_whose_answer_was_lost_is_not_run_twice(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    warehouse.ensure_tables([staged.table])
    state.refuse = [None]
    warehouse.publish([checked(staged)])
    first, again = state.transactions()
    assert first.job_id == again.job_id


def test_transaction_that_is_refused_says_why(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    state.job_errors = [("invalidQuery", "model_evaluations: other than the 6 staged")]
    with pytest.raises(InputError, match=r"refused to replace 2026-11-10: .*other"):
        warehouse.publish([checked(staged)])


SEEN = {"model_evaluations": PartitionState(6, "m-1", "17-4")}


def test_approved_swap_keeps_what_it_replaces(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    warehouse.publish([checked(staged)], replacing=SEEN)
    kept = [name for name in state.tables if name.startswith("shop_backup.")]
    assert sorted(kept) == [
        "shop_backup.backup_model_evaluations_20261110",
        "shop_backup.swapped_in_20261110",
    ]
    (request,) = state.transactions()
    lines = [line.split("(")[0] for line in request.script.splitlines()]
    backup = "`test-project.shop_backup.backup_model_evaluations_20261110`"
    target = "`test-project.shop.model_evaluations`"
    saved = lines.index(f"INSERT INTO {backup} ")
    put_in = lines.index(f"INSERT INTO {target} ")
    # The old rows are saved before they are deleted.
    assert saved < put_in
    assert saved < lines.index(
        f"DELETE FROM {target} WHERE `run_date` = DATE '2026-11-10';"
    )
    # What is there then is written down after the new rows are.
    record = "`test-project.shop_backup.swapped_in_20261110`"
    assert put_in < lines.index(f"INSERT INTO {record} ")


def test_approved_swap_first_asserts_what_it_replaces(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    warehouse.publish([checked(staged)], replacing=SEEN)
    (request,) = state.transactions()
    first, second = request.script.splitlines()[:2]
    assert first == "BEGIN TRANSACTION;"
    assert second.startswith('SELECT IF(checksum = "17-4", checksum, ERROR("model_eval')
    assert "6 row(s) of m-1" in second


def test_second_of_two_approvals_at_once_fails_and_is_not_asked_for_again(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    table = published_tables()[evaluations]
    changed = why_changed(table, TUESDAY, SEEN[evaluations])
    # BigQuery aborts it; anew, it meets the rows of the first.
    state.job_errors = [("invalidQuery", CONFLICT), ("invalidQuery", changed)]
    with pytest.raises(InputError, match=r"has changed .* nothing was replaced"):
        warehouse.publish([checked(staged)], replacing=SEEN)
    assert len(state.transactions()) == 2


def test_approved_swap_leaves_backups_of_other_dates(
    warehouse: BigQueryWarehouse, state: State, evaluations: str
) -> None:
    staged = stage(warehouse, state, evaluations)
    other = "backup_model_evaluations_20261001"
    reference = {"projectId": ADDRESS.project, "datasetId": "shop_backup"}
    state.tables[f"shop_backup.{other}"] = {
        "tableReference": {**reference, "tableId": other}
    }
    warehouse.publish([checked(staged)], replacing=SEEN)
    warehouse.drop_backups(TUESDAY, list(published_tables().values()))
    assert [name for name in state.tables if "backup" in name] == [
        f"shop_backup.{other}"
    ]


def test_rollback_without_a_backup_is_refused(
    warehouse: BigQueryWarehouse, state: State
) -> None:
    tables = list(published_tables().values())
    with pytest.raises(InputError, match="no backup of 2026-11-10 is kept"):
        warehouse.rollback(TUESDAY, tables)
    assert state.transactions() == []
    with pytest.raises(InputError, match="no backup of 2026-11-10 is kept"):
        warehouse.drop_backups(TUESDAY, tables)


@pytest.mark.parametrize("discard_newer", [False, True])
def test_swap_that_was_refused_cannot_be_rolled_back(
    warehouse: BigQueryWarehouse, state: State, evaluations: str, discard_newer: bool
) -> None:
    staged = stage(warehouse, state, evaluations)
    state.job_errors = [("invalidQuery", "what is published has changed")]
    with pytest.raises(InputError, match="has changed"):
        warehouse.publish([checked(staged)], replacing=SEEN)
    # Its tables are there, without a row: put back, they would empty the date.
    assert "shop_backup.backup_model_evaluations_20261110" in state.tables
    sent = len(state.transactions())
    tables = list(published_tables().values())
    with pytest.raises(InputError, match="no swap of 2026-11-10 is written down"):
        warehouse.rollback(TUESDAY, tables, discard_newer=discard_newer)
    assert len(state.transactions()) == sent


def test_datasets_are_made_where_they_are_missing(
    warehouse: BigQueryWarehouse, state: State
) -> None:
    warehouse.ensure_datasets()
    assert sorted(state.datasets) == ["shop", "shop_backup", "shop_staging"]
    days = 7 * 86_400_000
    assert state.datasets["shop_staging"]["defaultTableExpirationMs"] == str(days)
    assert "defaultTableExpirationMs" not in state.datasets["shop"]
    assert "defaultTableExpirationMs" not in state.datasets["shop_backup"]


def test_views_hold_the_published_dates_and_descriptions(
    warehouse: BigQueryWarehouse, state: State
) -> None:
    dates = ["20261108", "20261109", "20261110", "__NULL__"]
    state.answer = lambda sql: (
        [{"table_name": "rankings", "partition_id": date} for date in dates]
        if "PARTITIONS" in sql
        else []
    )
    warehouse.publish([])
    (script,) = [
        request.script
        for request in state.started("query")
        if "VIEW `test-project.shop.ranking_changes`" in request.script
    ]
    assert "WHERE run_date = DATE '2026-11-10'" in script
    assert "WHERE run_date = DATE '2026-11-09'" in script
    assert '`product_id` OPTIONS (description = "Catalogue id' in script
    assert "FROM `test-project.shop.rankings`" in script


def test_views_are_made_again_where_another_date_was_published_meanwhile(
    warehouse: BigQueryWarehouse, state: State
) -> None:
    published = ["20261109"]

    def answer(sql: str) -> list[dict[str, Any]]:
        if "CREATE OR REPLACE VIEW" in sql:
            # Another run commits its date after this one has looked for dates.
            published[1:] = ["20261110"]
        if "PARTITIONS" not in sql:
            return []
        return [{"table_name": "rankings", "partition_id": date} for date in published]

    state.answer = answer
    warehouse.publish([])
    made = [
        request.script
        for request in state.started("query")
        if "VIEW `test-project.shop.latest_rankings`" in request.script
    ]
    assert len(made) == 2
    assert made[-1].endswith("WHERE run_date = DATE '2026-11-10'")


def test_transaction_by_hand() -> None:
    table = published_tables()["pipeline_counts"]
    script = transaction([Swap(table, "p.d.t", "p.s.t", 3)], datetime.date(2026, 1, 5))
    columns = "`run_date`, `run_id`, `stage`, `name`, `value`"
    assert script.splitlines() == [
        "BEGIN TRANSACTION;",
        "DELETE FROM `p.d.t` WHERE `run_date` = DATE '2026-01-05';",
        f"INSERT INTO `p.d.t` ({columns}) SELECT {columns} FROM `p.s.t`;",
        "SELECT IF((SELECT COUNT(*) FROM `p.d.t` WHERE `run_date` = DATE '2026-01-05') "
        "= 3, 3, ERROR('pipeline_counts: other than the 3 staged rows were "
        "published'));",
        "COMMIT TRANSACTION;",
    ]


def test_address_is_parsed() -> None:
    assert parse_address("bigquery://my-project/shop") == BigQueryAddress(
        "my-project", "shop"
    )
    found = parse_address("bigquery://my-project/shop?location=EU")
    assert found.location == "EU"
    assert found.staging == "my-project.shop_staging"


@pytest.mark.parametrize(
    "address",
    [
        "bigquery://",
        "bigquery://my-project",
        "bigquery://my-project/a.b",
        "bigquery://my-project/shop?region=EU",
        "bigquery://my-project/shop?location=",
        "bigquery://My Project/shop",
        "bigquery://my-project/shop/more",
    ],
)
def test_address_in_another_form_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="is not bigquery://project/dataset"):
        parse_address(address)


def test_float32_lists_are_sent_as_the_definition_says(
    warehouse: BigQueryWarehouse, state: State
) -> None:
    load = attention_load()
    at = load.table.arrow_schema.get_field_index("attention")
    single = load.table.arrow_schema.set(
        at, pa.field("attention", pa.list_(pa.float32()), nullable=False)
    )
    rows = load.rows.to_table().cast(single)
    relations: dict[str, Any] = {
        "queries": sample_warehouse.load("query_attention", []).relations["queries"]
    }
    state.loaded_rows = 6
    narrow = Load(load.table, pa.dataset.dataset(rows), relations)
    warehouse.stage(narrow, run_date=TUESDAY)
    (sent, _) = state.uploads.values()
    kind = pq.read_schema(io.BytesIO(sent)).field("attention").type
    assert kind.value_type == pa.float64()
