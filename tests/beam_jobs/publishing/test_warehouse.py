"""The DuckDB warehouse: every check can fail, and a date is replaced whole or not."""

from __future__ import annotations

import contextlib
import datetime
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from etils import epath

from beam_jobs.publishing import duckdb_session
from beam_jobs.publishing import warehouse as warehouse_module
from beam_jobs.publishing.duckdb_session import open_session, read_session
from beam_jobs.publishing.partition_state import PartitionState
from beam_jobs.publishing.publication import Load, parquet_rows
from beam_jobs.publishing.warehouse import Warehouse
from tfrecords_schema.dataset_tables import RANKED_QUERIES
from tfrecords_schema.errors import InputError
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import Severity

MONDAY = datetime.date(2026, 11, 9)
TUESDAY = datetime.date(2026, 11, 10)
HOSTILE = (
    """it's "quoted"; DROP TABLE rankings; -- {{ table }} $run_date @run_date"""
    """ \\ ✓ ß 服\t\n"""
)
TOP_K = 3
PRODUCTS = {"shoes": ["p1", "p2", "p3", "p4"], "bags": ["p5", HOSTILE]}
SCENES = ["s1", HOSTILE]

Rows = list[dict[str, Any]]
Mutation = Callable[[Rows], object]


def ranking_rows(run_date: datetime.date = TUESDAY) -> Rows:
    """The first TOP_K products of each category, for each scene."""
    return [
        {
            "run_date": run_date,
            "domain": "fashion",
            "scene_id": scene,
            "category": category,
            "rank": rank,
            "product_id": product,
            "distance": rank / 4,
            "model_version": "m1",
            "dataset_version": "d1",
            "catalog_version": "c1",
            "run_id": "r1",
        }
        for scene in SCENES
        for category, products in PRODUCTS.items()
        for rank, product in enumerate(products[:TOP_K], start=1)
    ]


def evaluation_rows(run_date: datetime.date = TUESDAY) -> Rows:
    return [
        {
            "run_date": run_date,
            "run_id": "r1",
            "model": model,
            "metric": "recall@10",
            "slice": "all",
            "value": 0.5,
            "low": 0.4,
            "high": 0.6,
            "n": 100,
            "dataset_version": "d1",
        }
        for model in ("candidate", "popularity")
    ]


def status_rows(run_date: datetime.date = TUESDAY) -> Rows:
    return [
        {
            "run_date": run_date,
            "image_id": f"{kind}-{number}",
            "kind": kind,
            "url": "http://host/x.jpg",
            "code": "ok",
            "http_status": 200,
            "bytes": 1000,
            "width": 10,
            "height": 10,
            "sha256": "ab" * 32,
            "phash": None,
        }
        for kind in ("scene", "product")
        for number in range(10)
    ]


def attention_rows(run_date: datetime.date = TUESDAY) -> Rows:
    return [
        {
            "run_date": run_date,
            "domain": "fashion",
            "scene_id": scene,
            "category": category,
            "model_version": "m1",
            "run_id": "r1",
            "grid": 2,
            "attention": [0.5, 0.25, 0.25, 0.0],
        }
        for scene in SCENES
        for category in PRODUCTS
    ]


def statistics_rows(run_date: datetime.date = TUESDAY) -> Rows:
    figures = [
        ("train", "records", "all", 3.0),
        ("train", "records_of_category", "bags", 1.0),
        ("train", "records_of_category", "shoes", 2.0),
        ("train", "mean", "box", -0.5),
        ("all", "rejections", "bad_box", 4.0),
    ]
    return [
        {
            "run_date": run_date,
            "dataset_version": "d1",
            "domain": "fashion",
            "split": split,
            "statistic": statistic,
            "subject": subject,
            "value": value,
        }
        for split, statistic, subject, value in figures
    ]


def stage_rows(run_date: datetime.date = TUESDAY) -> Rows:
    return [
        {
            "run_date": run_date,
            "run_id": "r1",
            "stage": stage,
            "stage_number": number,
            "seconds": 2.5,
            "reused": False,
            "notes": [],
        }
        for number, stage in enumerate(("fetch_images", "train"), start=1)
    ]


def count_rows(run_date: datetime.date = TUESDAY) -> Rows:
    common = {"run_date": run_date, "run_id": "r1", "stage": "train"}
    return [{**common, "name": name, "value": 7} for name in ("pairs", "epochs")]


ROWS: dict[str, Callable[[datetime.date], Rows]] = {
    "query_attention": attention_rows,
    "dataset_statistics": statistics_rows,
    "pipeline_runs": stage_rows,
    "pipeline_counts": count_rows,
    "rankings": ranking_rows,
    "model_evaluations": evaluation_rows,
    "image_status": status_rows,
}


def make_load(name: str, rows: Rows) -> Load:
    table = published_tables()[name]
    data = ds.dataset(pa.Table.from_pylist(rows, schema=table.arrow_schema))
    if not table.relations:
        return Load(table=table, rows=data)
    products = [
        {"domain": "fashion", "product_id": product, "category": category}
        for category, ids in PRODUCTS.items()
        for product in ids
    ]
    queries = [
        {"domain": "fashion", "scene_id": scene, "category": category}
        for scene in SCENES
        for category in PRODUCTS
    ]
    relations = {
        "products": ds.dataset(pa.Table.from_pylist(products)),
        "queries": ds.dataset(pa.Table.from_pylist(queries, schema=RANKED_QUERIES)),
    }
    relations = {wanted: relations[wanted] for wanted in table.relations}
    return Load(
        table=table, rows=data, relations=relations, parameters={"top_k": TOP_K}
    )


def publish(path: epath.Path, loads: Sequence[Load], run_date: datetime.date) -> Any:
    with Warehouse.open(path) as warehouse:
        staged = [warehouse.stage(load, run_date=run_date) for load in loads]
        return warehouse.publish([warehouse.run_checks(item) for item in staged])


def publish_all(path: epath.Path, run_date: datetime.date) -> Any:
    loads = [make_load(name, rows(run_date)) for name, rows in ROWS.items()]
    return publish(path, loads, run_date)


def content(path: epath.Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table in the file, in the stored order."""
    connection = duckdb.connect(str(path), read_only=True)
    names = [
        row[0]
        for row in connection.execute(
            "SELECT table_name FROM duckdb_tables() ORDER BY table_name"
        ).fetchall()
    ]
    found = {
        name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names
    }
    connection.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path) / "root" / "warehouse.duckdb"


@pytest.fixture
def memory() -> Iterator[Warehouse]:
    connection = duckdb.connect()
    yield Warehouse(connection)
    connection.close()


def put(index: int, **values: object) -> Mutation:
    return lambda rows: rows[index].update(values)


def copy(index: int, **values: object) -> Mutation:
    return lambda rows: rows.append(rows[index] | values)


def drop(first: int, last: int) -> Mutation:
    return lambda rows: rows.__delitem__(slice(first, last + 1))


def swap_categories(rows: Rows) -> None:
    # A shoe and a bag of one scene, so that the lists keep their lengths.
    shoe, bag = rows[0], rows[TOP_K]
    shoe["product_id"], bag["product_id"] = bag["product_id"], shoe["product_id"]


NAN, INFINITY = float("nan"), float("inf")
# Table, check, what breaks it, and the other checks that see it too. In the rankings,
# rows 0-2 are shoes of the first scene and rows 3-4 its bags.
MUTATIONS: list[tuple[str, str, Mutation, set[str]]] = [
    ("rankings", "not_empty", list.clear, {"coverage"}),
    ("rankings", "run_date", put(-1, run_date=MONDAY), {"ranks_contiguous"}),
    ("rankings", "key_unique", put(2, rank=2), {"ranks_contiguous"}),
    ("rankings", "product_unique", put(2, product_id="p2"), set()),
    ("rankings", "ranks_contiguous", put(2, rank=4), set()),
    ("rankings", "distance_ordered", put(2, distance=0.3), set()),
    ("rankings", "distance_range", put(2, distance=4.1), set()),
    ("rankings", "distance_range", put(0, distance=-0.1), set()),
    ("rankings", "distance_range", put(2, distance=NAN), set()),
    ("rankings", "distance_range", put(2, distance=INFINITY), set()),
    ("rankings", "product_category", swap_categories, set()),
    ("rankings", "product_category", put(0, product_id="unknown"), set()),
    ("rankings", "query_known", copy(0, scene_id="s3"), set()),
    ("rankings", "coverage", drop(2, 2), set()),
    ("rankings", "coverage", drop(3, 4), set()),
    ("rankings", "coverage", copy(2, rank=4, product_id="p4"), set()),
    ("query_attention", "run_date", put(0, run_date=MONDAY), set()),
    ("query_attention", "key_unique", copy(0, model_version="m2"), set()),
    ("query_attention", "length", put(0, grid=3), set()),
    ("query_attention", "length", put(0, attention=[]), {"weights"}),
    ("query_attention", "weights", put(0, attention=[0.5, 0.25, 0.25, 0.1]), set()),
    ("query_attention", "weights", put(0, attention=[1.5, -0.5, 0.0, 0.0]), set()),
    ("query_attention", "weights", put(0, attention=[NAN, 0.5, 0.25, 0.25]), set()),
    ("query_attention", "query_known", copy(0, scene_id="s3"), set()),
    ("dataset_statistics", "not_empty", list.clear, set()),
    ("dataset_statistics", "run_date", put(3, run_date=MONDAY), set()),
    ("dataset_statistics", "key_unique", copy(3, value=0.7), set()),
    ("dataset_statistics", "finite", put(3, value=NAN), set()),
    ("dataset_statistics", "counts_not_negative", put(4, value=-1.0), set()),
    ("dataset_statistics", "categories_add_up", put(0, value=4.0), set()),
    ("dataset_statistics", "categories_add_up", drop(1, 2), set()),
    ("pipeline_runs", "not_empty", list.clear, set()),
    ("pipeline_runs", "run_date", put(0, run_date=MONDAY), set()),
    ("pipeline_runs", "key_unique", copy(0, seconds=3.0), set()),
    ("pipeline_runs", "seconds", put(0, seconds=-1.0), set()),
    ("pipeline_runs", "usage", put(0, cpu_seconds=-1.0), set()),
    ("pipeline_runs", "usage", put(0, cpu_seconds=NAN), set()),
    ("pipeline_runs", "usage", put(0, peak_memory_bytes=-1), set()),
    ("pipeline_counts", "run_date", put(0, run_date=MONDAY), set()),
    ("pipeline_counts", "key_unique", copy(0, value=8), set()),
    ("model_evaluations", "not_empty", list.clear, set()),
    ("model_evaluations", "run_date", put(0, run_date=MONDAY), set()),
    ("model_evaluations", "key_unique", copy(0, value=0.45), set()),
    ("model_evaluations", "finite", put(0, value=NAN), {"interval"}),
    ("model_evaluations", "finite", put(0, low=-INFINITY), set()),
    ("model_evaluations", "finite", put(0, high=INFINITY), set()),
    ("model_evaluations", "interval", put(0, low=0.51), set()),
    ("model_evaluations", "interval", put(0, high=0.49), set()),
    ("model_evaluations", "observations", put(0, n=0), set()),
    ("image_status", "not_empty", list.clear, set()),
    ("image_status", "run_date", put(0, run_date=MONDAY), set()),
    ("image_status", "key_unique", copy(0, width=11), set()),
    ("image_status", "kind_known", put(0, kind="logo"), set()),
    ("image_status", "code_known", put(0, code="lost"), set()),
    ("image_status", "ok_has_sha256", put(0, sha256=None), set()),
    ("image_status", "ok_has_sha256", put(0, sha256=""), set()),
    (
        "image_status",
        "success_rate",
        lambda rows: [row.update(code="timed_out") for row in rows[:2]],
        set(),
    ),
]


@pytest.mark.parametrize("name", ROWS)
def test_checks_pass_for_good_rows(memory: Warehouse, name: str) -> None:
    checked = memory.run_checks(
        memory.stage(make_load(name, ROWS[name](TUESDAY)), run_date=TUESDAY)
    )
    assert [result for result in checked.results if result.failures] == []
    assert len(checked.results) == len(published_tables()[name].checks)


@pytest.mark.parametrize(
    ("name", "check", "mutate", "also"),
    MUTATIONS,
    ids=[f"{name}-{check}" for name, check, _, _ in MUTATIONS],
)
def test_check_fails_for_one_wrong_row(
    memory: Warehouse,
    name: str,
    check: str,
    mutate: Mutation,
    also: set[str],
) -> None:
    rows = ROWS[name](TUESDAY)
    mutate(rows)
    checked = memory.run_checks(memory.stage(make_load(name, rows), run_date=TUESDAY))
    broken = {result.name for result in checked.results if result.failures}
    assert broken == {check} | also
    result = next(result for result in checked.results if result.name == check)
    assert 1 <= len(result.examples) <= 3


def test_every_check_has_a_mutation() -> None:
    proven = {(name, check) for name, check, _, _ in MUTATIONS}
    assert proven == {
        (table.name, check.name)
        for table in published_tables().values()
        for check in table.checks
    }


def test_coverage_counts_by_hand(memory: Warehouse) -> None:
    rows = [row for row in ranking_rows() if row["scene_id"] == "s1"]
    checked = memory.run_checks(
        memory.stage(make_load("rankings", rows), run_date=TUESDAY)
    )
    (result,) = checked.broken(Severity.FAIL)
    # Of two bags and four shoes, a list of top 3 has two and three.
    assert result.failures == 2
    assert [
        (found["category"], found["expected_products"], found["ranked_products"])
        for found in result.examples
    ] == [("bags", 2, 0), ("shoes", 3, 0)]


def test_distance_check_allows_float32_rounding(memory: Warehouse) -> None:
    rows = ranking_rows()
    rows[0]["distance"], rows[2]["distance"] = -1e-6, 4.000001
    checked = memory.run_checks(
        memory.stage(make_load("rankings", rows), run_date=TUESDAY)
    )
    assert checked.broken(Severity.FAIL) == ()


def test_publish_writes_every_table_and_nothing_else(path: epath.Path) -> None:
    rows = publish_all(path, TUESDAY)
    assert rows == {
        "rankings": 10,
        "model_evaluations": 2,
        "image_status": 20,
        "query_attention": 4,
        "dataset_statistics": 5,
        "pipeline_runs": 2,
        "pipeline_counts": 2,
    }
    found = content(path)
    assert {name: len(table) for name, table in found.items()} == rows
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_publish_keeps_hostile_strings(path: epath.Path) -> None:
    publish_all(path, TUESDAY)
    names = published_tables()["rankings"].column_names
    found = [dict(zip(names, row, strict=True)) for row in content(path)["rankings"]]
    key = ("category", "scene_id", "rank")
    assert found == sorted(
        ranking_rows(), key=lambda row: tuple(row[name] for name in key)
    )
    assert {row["scene_id"] for row in found} == {"s1", HOSTILE}


def test_publish_another_date_adds_to_the_first(path: epath.Path) -> None:
    publish_all(path, MONDAY)
    first = content(path)
    publish_all(path, TUESDAY)
    both = content(path)
    for name, rows in first.items():
        assert [row for row in both[name] if row[0] == MONDAY] == rows
        assert len(both[name]) == 2 * len(rows)


def test_publish_a_date_again_replaces_only_that_date(path: epath.Path) -> None:
    publish_all(path, MONDAY)
    publish_all(path, TUESDAY)
    before = content(path)
    rows = [dict(row, run_id="r2", distance=row["rank"] / 8) for row in ranking_rows()]
    publish(path, [make_load("rankings", rows)], TUESDAY)
    after = content(path)
    for name in before.keys() - {"rankings"}:
        assert after[name] == before[name]
    monday, tuesday = (
        [row for row in after["rankings"] if row[0] == date]
        for date in (MONDAY, TUESDAY)
    )
    assert monday == [row for row in before["rankings"] if row[0] == MONDAY]
    assert {row[-1] for row in tuesday} == {"r2"}
    assert len(tuesday) == len(rows)


def test_publish_the_same_rows_again_in_any_order_changes_nothing(
    path: epath.Path,
) -> None:
    publish_all(path, TUESDAY)
    before = content(path)
    loads = [make_load(name, rows(TUESDAY)[::-1]) for name, rows in ROWS.items()]
    publish(path, loads, TUESDAY)
    assert content(path) == before


def test_publish_with_a_failed_check_leaves_everything(path: epath.Path) -> None:
    publish_all(path, MONDAY)
    publish_all(path, TUESDAY)
    before = content(path)
    bad = ranking_rows()
    bad[0]["distance"] = 5.0
    loads = [
        make_load("model_evaluations", evaluation_rows()[:1]),
        make_load("rankings", bad),
    ]
    with pytest.raises(InputError, match=r"rankings.distance_range .*1 row") as caught:
        publish(path, loads, TUESDAY)
    assert "distance=5.0" in str(caught.value)
    assert "nothing was published" in str(caught.value)
    assert content(path) == before


def test_publish_with_a_warning_publishes(path: epath.Path) -> None:
    rows = status_rows()
    for row in rows[:5]:
        row.update(code="not_found", sha256=None)
    assert publish(path, [make_load("image_status", rows)], TUESDAY) == {
        "image_status": 20
    }


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_publish_that_breaks_off_in_the_transaction_leaves_everything(
    path: epath.Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    publish_all(path, TUESDAY)
    before = content(path)
    original = warehouse_module.require_rows

    def break_off(table: Any, *arguments: Any) -> None:
        # The third table: two have been replaced, and this one too.
        if table.name == "image_status" and "published" in arguments:
            raise error
        original(table, *arguments)

    monkeypatch.setattr(warehouse_module, "require_rows", break_off)
    loads = [
        make_load("rankings", [dict(row, run_id="r2") for row in ranking_rows()]),
        make_load("model_evaluations", evaluation_rows()[:1]),
        make_load("image_status", status_rows()[:12]),
    ]
    with pytest.raises(type(error)):
        publish(path, loads, TUESDAY)
    assert content(path) == before


def test_publish_counts_what_it_replaced(path: epath.Path) -> None:
    publish_all(path, TUESDAY)
    before = content(path)
    with Warehouse.open(path) as warehouse:
        staged = warehouse.stage(
            make_load("image_status", status_rows()), run_date=TUESDAY
        )
        checked = warehouse.run_checks(staged)
        # A row that slips in after the checks.
        warehouse._session.execute(
            f"DELETE FROM {staged.relations['table']} WHERE image_id = 'scene-1'"
        )
        with pytest.raises(RuntimeError, match="19 rows were published, but 20 are"):
            warehouse.publish([checked])
    assert content(path) == before


def test_publish_that_was_to_replace_other_rows_changes_nothing(
    path: epath.Path,
) -> None:
    publish_all(path, TUESDAY)
    before = content(path)
    with Warehouse.open(path) as warehouse:
        load = make_load("image_status", status_rows()[:12])
        checked = warehouse.run_checks(warehouse.stage(load, run_date=TUESDAY))
        seen = {"image_status": PartitionState(20, "", "1-2")}
        with pytest.raises(InputError, match=r"status: .*it was 20 row\(s\), and"):
            warehouse.publish([checked], replacing=seen)
    assert content(path) == before


def test_publish_refuses_a_table_that_differs_from_its_definition(
    path: epath.Path,
) -> None:
    publish_all(path, MONDAY)
    connection = duckdb.connect(str(path))
    connection.execute("ALTER TABLE image_status ALTER bytes TYPE INTEGER")
    connection.close()
    before = content(path)
    with pytest.raises(InputError, match=r"column bytes is INTEGER, .* says BIGINT"):
        publish_all(path, TUESDAY)
    assert content(path) == before


def test_publish_refuses_a_table_with_another_column(path: epath.Path) -> None:
    publish_all(path, MONDAY)
    connection = duckdb.connect(str(path))
    connection.execute("ALTER TABLE rankings ADD COLUMN price DOUBLE")
    connection.close()
    with pytest.raises(InputError, match=r"column price is DOUBLE, .* says absent"):
        publish_all(path, TUESDAY)


def test_stage_refuses_a_null_in_a_required_column(memory: Warehouse) -> None:
    rows = ranking_rows()
    rows[1]["product_id"] = None
    with pytest.raises(InputError, match=r"rankings cannot be staged.*product_id"):
        memory.stage(make_load("rankings", rows), run_date=TUESDAY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["rank"]), "has no column rank"),
        (
            lambda table: table.set_column(
                table.column_names.index("rank"), "rank", table["rank"].cast(pa.int32())
            ),
            "column rank is int32, the definition says int64",
        ),
        (
            lambda table: table.append_column("price", table["distance"]),
            "column price is not in the definition",
        ),
    ],
)
def test_parquet_rows_refuses_other_columns_in_any_file(
    tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    table = published_tables()["rankings"]
    rows = pa.Table.from_pylist(ranking_rows(), schema=table.arrow_schema)
    files = [epath.Path(tmp_path) / f"{name}.parquet" for name in "ab"]
    pq.write_table(rows, str(files[0]))
    pq.write_table(change(rows), str(files[1]))
    with pytest.raises(InputError, match=message) as caught:
        parquet_rows(table, files)
    assert "b.parquet" in str(caught.value)


def test_parquet_rows_refuses_what_is_not_parquet(tmp_path: Path) -> None:
    file = epath.Path(tmp_path) / "a.parquet"
    file.write_text("rank,product_id")
    with pytest.raises(InputError, match=r"a\.parquet is not Parquet"):
        parquet_rows(published_tables()["rankings"], [file])


@contextlib.contextmanager
def held_open(path: epath.Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the file open until its input ends."""
    hold = (
        "import duckdb, sys; kept = duckdb.connect(sys.argv[1]); "
        "print('open', flush=True); sys.stdin.read()"
    )
    path.parent.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        yield other
        other.communicate()


@pytest.mark.parametrize("session", [open_session, read_session])
def test_file_in_use_is_refused_once_patience_ends(
    path: epath.Path,
    session: Callable[[epath.Path], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duckdb_session, "PATIENCE_S", 0.0)
    with (
        held_open(path),
        pytest.raises(InputError, match=r"close it (there|where it is open)"),
        session(path),
    ):
        pass


@pytest.mark.parametrize("session", [open_session, read_session])
def test_file_that_another_job_has_for_a_moment_is_waited_for(
    path: epath.Path,
    session: Callable[[epath.Path], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with held_open(path) as other:
        # The other closes it while this one waits.
        monkeypatch.setattr(duckdb_session.time, "sleep", lambda _: other.communicate())
        with session(path) as opened:
            assert opened.scalar("SELECT 42") == 42


def test_open_refuses_what_is_no_warehouse(path: epath.Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database " * 100)
    with pytest.raises(InputError, match="cannot be opened"), Warehouse.open(path):
        pass


def test_open_refuses_an_object_store() -> None:
    path = epath.Path("gs://bucket/warehouse.duckdb")
    with pytest.raises(InputError, match="local file"), Warehouse.open(path):
        pass
