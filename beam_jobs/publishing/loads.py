"""The loads of a ranking and of an evaluation, from what those stages left."""

from __future__ import annotations

import datetime
import fnmatch

import pyarrow as pa
import pyarrow.dataset as ds
from etils import epath

from beam_jobs.publishing.publication import Load, empty_rows, parquet_rows
from beam_jobs.publishing.sources import relation
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.table_folders import published_tables


def rankings_load(folder: epath.Path) -> Load:
    """The rankings of a complete ranking run, as its Parquet files hold them."""
    manifest = storage.read_manifest(folder)
    top_k = manifest.get("top_k")
    if not isinstance(top_k, int) or top_k < 1:
        raise InputError(f"{folder / storage.MANIFEST}: top_k is {top_k!r}")
    table = published_tables()["rankings"]
    files = _shards(folder, "rankings")
    return Load(
        table=table,
        rows=parquet_rows(table, files),
        files=tuple(files),
        relations={
            "queries": _queries(folder),
            "products": relation(
                folder / "products.parquet", dataset_tables.RANKED_PRODUCTS
            ),
        },
        parameters={"top_k": top_k},
    )


def attention_load(folder: epath.Path) -> Load:
    """Where the model looked, by query; no rows for models without such attention."""
    table = published_tables()["query_attention"]
    files = _shards(folder, table.name)
    rows = parquet_rows(table, files) if files else empty_rows(table)
    return Load(
        table=table,
        rows=rows,
        files=tuple(files),
        relations={"queries": _queries(folder)},
    )


def unranked_loads() -> list[Load]:
    """No lists and no attention, for a date of which nothing was ranked.

    Published, they take away what an earlier run of the date had published.
    """
    asked = {
        "queries": dataset_tables.RANKED_QUERIES,
        "products": dataset_tables.RANKED_PRODUCTS,
    }
    nothing = {name: ds.dataset(schema.empty_table()) for name, schema in asked.items()}
    return [
        Load(
            table=table,
            rows=empty_rows(table),
            relations={name: nothing[name] for name in table.relations},
            parameters=parameters,
        )
        for table, parameters in (
            (published_tables()["rankings"], {"top_k": 1}),
            (published_tables()["query_attention"], {}),
        )
    ]


def _queries(folder: epath.Path) -> ds.Dataset:
    return relation(folder / "queries.parquet", dataset_tables.RANKED_QUERIES)


def _shards(folder: epath.Path, name: str) -> list[epath.Path]:
    # By name: epath's glob reads a bracket in the root's own path as a pattern.
    return sorted(
        file
        for file in folder.iterdir()
        if fnmatch.fnmatchcase(file.name, f"{name}-*.parquet")
    )


def evaluations_load(
    metrics_file: epath.Path, run_id: str, *, run_date: datetime.date
) -> Load:
    """The metrics of a model, one row each."""
    table = published_tables()["model_evaluations"]
    document = storage.read_json(metrics_file)
    try:
        common = {
            "run_date": run_date,
            "run_id": run_id,
            "dataset_version": document["evaluation"]["dataset"],
        }
        names = [name for name in table.column_names if name not in common]
        rows = [
            {**common, **{name: metric[name] for name in names}}
            for metric in document["metrics"]
        ]
        found = pa.Table.from_pylist(rows, schema=table.arrow_schema)
    except KeyError as error:
        raise InputError(f"{metrics_file} has no {error}") from None
    except (TypeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"{metrics_file} does not fit {table.name}: {error}") from None
    return Load(table=table, rows=ds.dataset(found))
