"""The published tables' definitions: what is there, and that a wrong one is refused."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import yaml

from tfrecords_schema.codes import ImageCode
from tfrecords_schema.table_folders import load_table, load_tables, published_tables
from tfrecords_schema.tables import ColumnType, Mode, PublishedTable, Severity, quoted

SCHEMA = """
columns:
  - {name: run_date, type: DATE, mode: REQUIRED, description: Date of the run.}
  - {name: item, type: STRING, mode: REQUIRED, description: What is counted.}
  - {name: count, type: INT64, mode: NULLABLE, description: How many.}
"""
METADATA = """
friendly_name: Things
description: One row per item.
owner: maintainers
partition_by: run_date
cluster_by: [item]
key: [run_date, item]
shared_checks: [key_unique]
partition_expiration_days: 30
require_partition_filter: true
labels: {application: complete_the_look}
"""
CHECKS = """-- What this file is.

-- #fail positive: counts are positive
-- Why that is so.
SELECT * FROM {{ table }} WHERE count <= 0;

-- #warn known: every item is in the list
SELECT * FROM {{ table }}
WHERE run_date = @run_date AND item NOT IN (SELECT item FROM {{ items }});
"""
SHARED = """
-- #fail not_empty: there are rows
SELECT COUNT(*) AS n FROM {{ table }} HAVING COUNT(*) = 0;

-- #warn key_unique: no two rows have one {{ key }}
SELECT {{ key }} FROM {{ table }} GROUP BY {{ key }} HAVING COUNT(*) > 1;

-- #fail finite: {{ numbers | join(', ') }}: numbers
SELECT * FROM {{ table }} WHERE {{ partition_by }} = @run_date
  {%- for n in numbers %} OR IS_NAN({{ n }}){% endfor %};
"""
FILES = {"schema.yaml": SCHEMA, "metadata.yaml": METADATA, "checks.sql": CHECKS}


def shared_of(folder: Path) -> Path:
    return folder.parent / "shared" / "checks.sql"


def load(folder: Path) -> PublishedTable:
    return load_table(folder, shared_of(folder))


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    def write(*, name: str = "things_v3", **changed: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, text in FILES.items():
            (folder / file).write_text(changed.get(file.partition(".")[0], text))
        (tmp_path / "shared").mkdir(exist_ok=True)
        shared_of(folder).write_text(SHARED)
        return folder

    return write


def test_published_tables_are_those_of_the_warehouse() -> None:
    tables = published_tables()
    assert list(tables) == [
        *("dataset_statistics", "image_status", "model_evaluations"),
        *("pipeline_counts", "pipeline_runs", "query_attention", "rankings"),
    ]
    assert tables["rankings"].relations == {"products", "queries"}
    assert tables["image_status"].checks[-1].severity is Severity.WARN


@pytest.mark.parametrize("table", published_tables().values(), ids=lambda t: t.name)
def test_published_table_is_well_formed(table: PublishedTable) -> None:
    assert table.key[0] == table.partition_by == table.column_names[0] == "run_date"
    assert all(column.required for column in table.columns if column.name in table.key)
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE made ({table.duckdb_columns})")
    made = connection.execute("SELECT * FROM made").to_arrow_table().schema
    assert [(field.name, field.type) for field in made] == [
        (field.name, field.type) for field in table.arrow_schema
    ]


def test_image_codes_of_the_check_are_those_of_the_enum() -> None:
    checks = {check.name: check for check in published_tables()["image_status"].checks}
    listed = re.findall(r"'(\w+)'", checks["code_known"].sql)
    assert listed == [code.value for code in ImageCode]


def test_load_table_reads_what_the_folder_says(
    write_folder: Callable[..., Path],
) -> None:
    table = load(write_folder())
    assert (table.name, table.version, table.owner) == ("things", 3, "maintainers")
    assert table.columns[2].type is ColumnType.INT64
    assert table.columns[2].mode is Mode.NULLABLE
    assert table.arrow_schema == pa.schema(
        [
            pa.field("run_date", pa.date32(), nullable=False),
            pa.field("item", pa.string(), nullable=False),
            pa.field("count", pa.int64()),
        ]
    )
    assert table.duckdb_columns == (
        '"run_date" DATE NOT NULL, "item" VARCHAR NOT NULL, "count" BIGINT'
    )
    key_unique, positive, known = table.checks
    assert key_unique.severity is Severity.WARN
    assert key_unique.description == "no two rows have one run_date, item"
    assert key_unique.render({"table": "a"}) == (
        "SELECT run_date, item FROM `a` GROUP BY run_date, item HAVING COUNT(*) > 1"
    )
    assert (positive.name, positive.severity) == ("positive", Severity.FAIL)
    assert positive.description == "counts are positive"
    assert positive.parameters == frozenset()
    assert known.severity is Severity.WARN
    assert known.parameters == {"run_date"}
    assert known.relations == {"table", "items"}
    assert "FROM `a`\n" in known.render({"table": "a", "items": "b"})


def test_shared_check_of_numbers_is_of_all_there_are(
    write_folder: Callable[..., Path],
) -> None:
    modes = {"low": "REQUIRED", "high": "NULLABLE", "all": "REPEATED"}
    schema = SCHEMA + "".join(
        f"  - {{name: {name}, type: FLOAT64, mode: {mode}, description: A number.}}\n"
        for name, mode in modes.items()
    )
    metadata = METADATA.replace("[key_unique]", "[finite]")
    table = load(write_folder(schema=schema, metadata=metadata))
    assert table.checks[0].description == "low, high: numbers"
    assert table.checks[0].sql.endswith("OR IS_NAN(low) OR IS_NAN(high)")


def test_checks_file_may_be_absent_beside_shared_ones(
    write_folder: Callable[..., Path],
) -> None:
    folder = write_folder()
    (folder / "checks.sql").unlink()
    assert [check.name for check in load(folder).checks] == ["key_unique"]


def test_repeated_column_is_a_list_that_is_never_null(
    write_folder: Callable[..., Path],
) -> None:
    table = load(
        write_folder(schema=SCHEMA.replace("mode: NULLABLE", "mode: REPEATED"))
    )
    assert table.arrow_schema.field("count") == pa.field(
        "count", pa.list_(pa.int64()), nullable=False
    )
    assert table.duckdb_columns.endswith('"count" BIGINT[] NOT NULL')


def test_published_table_is_frozen() -> None:
    table = published_tables()["rankings"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("schema", "name: item,", "name: item, unit: kg,", "unknown key unit"),
        ("schema", "columns:", "rows:", "unknown key rows"),
        ("schema", "type: INT64", "type: INTEGER", "type is 'INTEGER'"),
        ("schema", "mode: NULLABLE", "mode: OPTIONAL", "mode is 'OPTIONAL'"),
        ("schema", "name: item", "name: 'item; --'", "'item; --' is not an ident"),
        ("schema", "name: item", "name: Item", "'Item' is not an identifier"),
        ("schema", "name: count", "name: item", "item is there twice"),
        ("schema", ", description: How many.", "", "description is missing"),
        ("schema", "description: How many.", "description: ''", "expected text"),
        ("schema", "description: How many.", "description: 3", "expected text"),
        ("schema", "columns:", "columns: [", "is not YAML"),
        ("schema", SCHEMA, "columns: []", "expected a list"),
        ("schema", SCHEMA, "", "expected the keys columns"),
        ("metadata", "owner: maintainers", "", "owner is missing"),
        ("metadata", "owner:", "colour: red\nowner:", "unknown key colour"),
        ("metadata", "partition_by: run_date", "partition_by: item", "a DATE column"),
        ("metadata", "[run_date, item]", "[run_date, thing]", "'thing' is not a col"),
        ("metadata", "[run_date, item]", "[item, item]", "item is there twice"),
        ("metadata", "cluster_by: [item]", "cluster_by: item", "a list of columns"),
        ("metadata", "[key_unique]", "key_unique", "expected a list of checks"),
        ("metadata", "[key_unique]", "[unique]", "'unique' is none of not_empty, key"),
        ("metadata", "[key_unique]", "[finite]", "no column is FLOAT64"),
        ("metadata", "[key_unique]", "[not_empty, not_empty]", "not_empty is there"),
        ("metadata", "complete_the_look", "Complete Look", "'Complete Look' is not"),
        ("metadata", "days: 30", "days: 0", "days is 0; expected days, 1 or more"),
        ("metadata", "days: 30", "days: true", "days is True; expected days"),
        ("metadata", "filter: true", "filter: 1", "filter is 1; expected true or f"),
        ("metadata", "labels: {application: complete_the_look}", "labels: 1", "labels"),
        ("checks", "-- #fail positive: counts are positive\n", "", "with 0 headers"),
        ("checks", "<= 0;", "<= 0", "with 2 headers"),
        ("checks", "#warn", "#note", "severity is 'note'"),
        ("checks", "#warn known:", "#warn positive:", "positive is there twice"),
        ("checks", "{{ table }} WHERE", "things WHERE", "does not look at"),
        ("checks", "{{ items }}", "{{ items", "check known"),
        ("checks", CHECKS, "", "has no checks"),
    ],
)
def test_load_table_refuses_and_names_the_file(
    write_folder: Callable[..., Path], file: str, old: str, new: str, message: str
) -> None:
    name = next(name for name in FILES if name.startswith(file))
    assert old in FILES[name]
    folder = write_folder(**{file: FILES[name].replace(old, new, 1)})
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load(folder)
    assert str(folder / name) in str(caught.value)


def test_load_table_refuses_too_many_clustering_columns(
    write_folder: Callable[..., Path],
) -> None:
    schema = yaml.safe_load(SCHEMA)
    names = [f"column_{number}" for number in range(5)]
    schema["columns"] += [
        {"name": name, "type": "BOOL", "mode": "NULLABLE", "description": "Yes or no."}
        for name in names
    ]
    metadata = yaml.safe_load(METADATA) | {"cluster_by": names}
    folder = write_folder(schema=yaml.dump(schema), metadata=yaml.dump(metadata))
    with pytest.raises(ValueError, match="more than 4 columns"):
        load(folder)


@pytest.mark.parametrize("name", FILES)
def test_load_table_names_a_missing_file(
    write_folder: Callable[..., Path], name: str
) -> None:
    without = METADATA.replace("[key_unique]", "[]")
    folder = write_folder(metadata=without)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        load(folder)


def test_load_table_names_the_shared_file_where_it_is_missing(
    write_folder: Callable[..., Path],
) -> None:
    folder = write_folder()
    shared_of(folder).unlink()
    with pytest.raises(ValueError, match=r"shared/checks\.sql is missing"):
        load(folder)


def test_load_tables_refuses_an_unversioned_folder(
    write_folder: Callable[..., Path],
) -> None:
    folder = write_folder(name="things")
    with pytest.raises(ValueError, match="<name>_v<version>"):
        load_tables(folder.parent)


def test_load_tables_passes_over_the_views_and_nothing_that_begins_so(
    write_folder: Callable[..., Path],
) -> None:
    folder = write_folder(name="views_per_day_v1")
    (folder.parent / "views").mkdir()
    assert list(load_tables(folder.parent)) == ["views_per_day"]


def test_load_tables_refuses_two_versions_of_one_name(
    write_folder: Callable[..., Path],
) -> None:
    write_folder(name="things_v1")
    folder = write_folder(name="things_v2")
    with pytest.raises(ValueError, match="things is defined twice"):
        load_tables(folder.parent)


@pytest.mark.parametrize("name", ['a"b', "A", "", "1a", "a-b", "a b", "é", "a\n"])
def test_quoted_refuses_what_is_no_identifier(name: str) -> None:
    with pytest.raises(ValueError, match="not an identifier"):
        quoted(name)
