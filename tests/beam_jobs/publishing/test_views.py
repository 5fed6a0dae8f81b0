"""The published views: what they answer, by hand, and that their SQL is portable."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
import sample_warehouse
import sqlglot
from sample_warehouse import MONDAY, TUESDAY
from sqlglot.optimizer.qualify import qualify

from beam_jobs.publishing.dialects import to_duckdb
from beam_jobs.publishing.warehouse import Warehouse
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.view_folders import (
    NO_DATE,
    PublishedDates,
    PublishedView,
    published_views,
)

DATES = PublishedDates(MONDAY, MONDAY, TUESDAY)
VIEWS = list(published_views().values())
CHECKS = [
    (table, check) for table in published_tables().values() for check in table.checks
]


@pytest.fixture(scope="module")
def nights() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    sample_warehouse.publish(Warehouse(connection), MONDAY, TUESDAY)
    yield connection
    connection.close()


def warehouse_of(*dates: datetime.date) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    warehouse = Warehouse(connection)
    warehouse.publish([], tables=list(published_tables().values()))
    sample_warehouse.publish(warehouse, *dates)
    return connection


def ask(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def test_latest_rankings_are_those_of_the_newest_date(
    nights: duckdb.DuckDBPyConnection,
) -> None:
    found = ask(nights, "SELECT * FROM latest_rankings ORDER BY ALL")
    expected = "SELECT * FROM rankings WHERE run_date = '2026-11-10' ORDER BY ALL"
    assert found == ask(nights, expected)
    assert len(found) == 12


def test_latest_rankings_stay_when_an_older_date_is_published_again(
    nights: duckdb.DuckDBPyConnection,
) -> None:
    sample_warehouse.publish(Warehouse(nights), MONDAY)
    dates = ask(nights, "SELECT DISTINCT run_date FROM latest_rankings")
    assert dates == [(TUESDAY,)]


def test_ranking_changes_by_hand(nights: duckdb.DuckDBPyConnection) -> None:
    columns = "category, scene_id, product_id, change, previous_rank, rank"
    assert ask(nights, f"SELECT {columns} FROM ranking_changes ORDER BY 1, 2, 3") == [
        ("Bags", "street-2", "bag-b", "entered", None, 2),
        ("Bags", "street-2", "bag-c", "left", 2, None),
        ("Bags", "street-3", "bag-a", "moved", 1, 2),
        ("Bags", "street-3", "bag-b", "left", 2, None),
        ("Bags", "street-3", "bag-c", "entered", None, 1),
        ("Shoes", "street-1", "shoe-a", "moved", 1, 2),
        ("Shoes", "street-1", "shoe-b", "moved", 2, 1),
        ("Shoes", "street-3", "shoe-b", "entered", None, 2),
        ("Shoes", "street-3", "shoe-d", "left", 2, None),
    ]
    why = "run_date, previous_run_date, model_changed, catalog_changed"
    assert ask(nights, f"SELECT DISTINCT {why} FROM ranking_changes") == [
        (TUESDAY, MONDAY, True, False)
    ]


def test_category_coverage_by_hand(nights: duckdb.DuckDBPyConnection) -> None:
    found = ask(
        nights,
        "SELECT category, scenes_ranked, scenes_known, coverage, products_shown, "
        "products_per_list, best_distance FROM category_coverage "
        "WHERE run_date = '2026-11-10' ORDER BY category",
    )
    # Of four scenes one has no picture; a fifth is of an earlier catalogue.
    # Bags: (0.6875 + 0.8125 + 1.6875) / 3.
    assert found == [
        ("Bags", 3, 4, 0.75, 3, 2.0, pytest.approx(3.1875 / 3)),
        ("Shoes", 3, 4, 0.75, 2, 2.0, pytest.approx(2.4375 / 3)),
    ]


def test_category_without_lists_has_no_coverage() -> None:
    connection = warehouse_of(TUESDAY)
    connection.execute(
        "INSERT INTO dataset_statistics SELECT * REPLACE ('Hats' AS subject) "
        "FROM dataset_statistics WHERE subject = 'Bags'"
    )
    found = ask(
        connection,
        "SELECT scenes_ranked, scenes_known, coverage, products_shown, "
        "products_per_list, best_distance FROM category_coverage "
        "WHERE category = 'Hats'",
    )
    assert found == [(0, 4, 0.0, 0, None, None)]


def test_product_exposure_by_hand(nights: duckdb.DuckDBPyConnection) -> None:
    found = ask(
        nights,
        "SELECT product_id, lists, share_of_lists, lists_led, mean_rank, "
        "exposure_rank, cumulative_share, category_gini FROM product_exposure "
        "WHERE run_date = '2026-11-10' AND category = 'Bags' ORDER BY exposure_rank",
    )
    # Sorted ascending 1, 2, 3: (-2·1 + 0·2 + 2·3) / (3 · 6).
    gini = pytest.approx(4 / 18)
    third = pytest.approx(1 / 3)
    assert found == [
        ("bag-a", 3, 1.0, 2, pytest.approx(4 / 3), 1, 0.5, gini),
        ("bag-b", 2, pytest.approx(2 / 3), 0, 2.0, 2, pytest.approx(5 / 6), gini),
        ("bag-c", 1, third, 1, 1.0, 3, 1.0, gini),
    ]


def test_product_exposure_of_equal_products_has_no_concentration(
    nights: duckdb.DuckDBPyConnection,
) -> None:
    query = (
        "SELECT DISTINCT category_gini FROM product_exposure "
        "WHERE run_date = '2026-11-10' AND category = 'Shoes'"
    )
    assert ask(nights, query) == [(0.0,)]


def test_model_quality_puts_metrics_side_by_side(
    nights: duckdb.DuckDBPyConnection,
) -> None:
    columns = "run_id, pairs, binary_accuracy, recall_at_10, mrr, in_force"
    query = f"SELECT {columns} FROM model_quality WHERE model = 'paper' "
    assert ask(nights, f"{query} AND slice = 'all' ORDER BY run_date") == [
        ("m-1", 60, 0.70, 0.40, 0.20, True),
        ("m-2", 60, 0.75, 0.50, 0.25, True),
    ]
    assert ask(nights, f"{query} AND slice = 'Bags' AND run_id = 'm-2'") == [
        ("m-2", 30, 0.85, None, None, True)
    ]


def test_model_quality_of_a_model_that_was_not_promoted_is_not_in_force() -> None:
    connection = warehouse_of(TUESDAY)
    connection.execute("UPDATE rankings SET model_version = 'm-1'")
    query = "SELECT DISTINCT in_force FROM model_quality"
    assert ask(connection, query) == [(False,)]


@pytest.mark.parametrize("name", published_views())
def test_view_of_an_empty_warehouse_is_empty(name: str) -> None:
    assert ask(warehouse_of(), f"SELECT * FROM {name}") == []


def test_views_of_one_date_have_no_changes() -> None:
    connection = warehouse_of(TUESDAY)
    assert ask(connection, "SELECT * FROM ranking_changes") == []
    for name, rows in (("latest_rankings", 12), ("category_coverage", 2)):
        assert ask(connection, f"SELECT COUNT(*) FROM {name}") == [(rows,)]


def test_ranking_changes_of_a_new_scene_all_entered() -> None:
    connection = warehouse_of(MONDAY, TUESDAY)
    connection.execute("DELETE FROM rankings WHERE run_date = '2026-11-09'")
    rows = sample_warehouse.rankings(MONDAY)
    first = [row for row in rows if row["scene_id"] == "street-1"]
    # The checks would refuse a ranking of one scene, so it goes past them.
    table = published_tables()["rankings"]
    for row in first:
        connection.execute(
            f"INSERT INTO rankings VALUES ({', '.join('?' for _ in table.columns)})",
            [row[name] for name in table.column_names],
        )
    Warehouse(connection).publish([])
    query = "SELECT change, COUNT(*) FROM ranking_changes WHERE scene_id = 'street-2'"
    assert ask(connection, f"{query} GROUP BY change") == [("entered", 4)]


def test_dates_of_the_views_by_hand() -> None:
    third = datetime.date(2026, 11, 11)
    every = [MONDAY, TUESDAY, third]
    assert PublishedDates.of([], []) == PublishedDates(NO_DATE, NO_DATE, NO_DATE)
    assert PublishedDates.of([], every) == PublishedDates(MONDAY, NO_DATE, NO_DATE)
    assert PublishedDates.of([TUESDAY], every) == PublishedDates(
        MONDAY, NO_DATE, TUESDAY
    )
    assert PublishedDates.of(every, every) == PublishedDates(MONDAY, TUESDAY, third)


def test_every_column_of_tables_and_views_is_described_in_the_file(
    nights: duckdb.DuckDBPyConnection,
) -> None:
    described = ask(
        nights,
        "SELECT table_name, column_name, comment FROM duckdb_columns() "
        "WHERE schema_name = 'main' AND NOT internal AND database_name = 'memory'",
    )
    assert {(name, column): comment for name, column, comment in described} == {
        **{
            (table.name, column.name): column.description
            for table in published_tables().values()
            for column in table.columns
        },
        **{(view.name, name): text for view in VIEWS for name, text in view.columns},
    }


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_view_gives_the_columns_that_it_describes(view: PublishedView) -> None:
    query = view.render({name: name for name in view.relations}, DATES)
    schema: dict[str, object] = {
        name: {column.name: column.type.value for column in table.columns}
        for name, table in published_tables().items()
    }
    # Names every column's table, and refuses one that no table has.
    found: Any = qualify(
        sqlglot.parse_one(query, read="bigquery"), schema=schema, dialect="bigquery"
    )
    assert found.named_selects == [name for name, _ in view.columns]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_view_prunes_every_table_by_constants(view: PublishedView) -> None:
    query = view.render({name: name for name in view.relations}, DATES)
    selects = sqlglot.parse_one(query, read="bigquery").find_all(sqlglot.exp.Select)
    n_pruned = 0
    for select in selects:
        source = select.args.get("from_") or select.args.get("from")
        if source is None or source.this.name not in published_tables():
            continue
        where = select.args["where"].sql("bigquery")
        assert "run_date" in where, query
        assert "CAST('2026-11-" in where, query
        n_pruned += 1
    # No table is looked at elsewhere, as in a join.
    tables = sqlglot.parse_one(query, read="bigquery").find_all(sqlglot.exp.Table)
    assert n_pruned == sum(table.name in published_tables() for table in tables) > 0


@pytest.mark.parametrize(
    ("table", "check"), CHECKS, ids=[f"{t.name}-{c.name}" for t, c in CHECKS]
)
def test_check_is_of_bigquerys_dialect_and_transpiles(table: Any, check: Any) -> None:
    names = {name: f"p.d.{name}" for name in check.relations}
    query = check.render(names)
    assert sqlglot.transpile(query, read="bigquery", write="bigquery")
    transpiled = to_duckdb(query)
    assert all(f"${name}" in transpiled for name in check.parameters)
    assert "@" not in transpiled
