"""Every query of docs/analysts.md gives the answer that is shown beside it."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
import sample_warehouse
import sqlglot
from cookbook import Recipe, as_text, recipes
from sample_warehouse import MONDAY, TUESDAY

from beam_jobs.publishing.warehouse import Warehouse
from tfrecords_schema.table_folders import published_tables


@pytest.fixture(scope="module")
def warehouse() -> Iterator[Warehouse]:
    connection = duckdb.connect()
    warehouse = Warehouse(connection)
    sample_warehouse.publish(warehouse, MONDAY, TUESDAY)
    yield warehouse
    connection.close()


def test_cookbook_answers_at_least_ten_questions() -> None:
    assert len(recipes()) >= 10


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.question)
def test_query_gives_the_answer_that_is_shown(
    warehouse: Warehouse, recipe: Recipe
) -> None:
    assert as_text(warehouse.query(recipe.query, {})) == recipe.answer


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.question)
def test_query_over_a_table_says_which_dates_it_wants(recipe: Recipe) -> None:
    tree = sqlglot.parse_one(recipe.query, read="bigquery")
    for select in tree.find_all(sqlglot.exp.Select):
        source = select.args.get("from_") or select.args.get("from")
        if source is not None and source.this.name in published_tables():
            assert "run_date" in select.args["where"].sql(), recipe.question
