"""Figures of a data set's tables, counted by DuckDB over their columns.

The tables are read as Arrow data sets, column by column and in batches; of ten million
pairs no more is held at once than a hash for each. Only whole numbers are added up, so
that neither the order of rows nor the number of threads shows in a figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from etils import epath

from beam_jobs.validation.arrow_files import arrow_filesystem
from beam_jobs.validation.figures import ALL, Figures, Mixes, Scalars
from tfrecords_schema.codes import Split
from tfrecords_schema.dataset_tables import part_files
from tfrecords_schema.errors import InputError

TABLES = ("pairs", "scenes", "products", "rejections")

# The first columns may be dimensions: a row's slice is the one that is not null. The
# others are named by their statistic, or by statistic@slice.
_DIMENSIONS = ("split", "category", "code")

# One pass over the lists of negatives, the widest column by far; all that is told of
# pairs by split and category is then told from these few rows.
_PAIR_GROUPS = """
CREATE TEMP TABLE pair_groups AS
SELECT
  split,
  category,
  len(negative_ids) AS negatives,
  count(*) AS n,
  count(*) FILTER (product_seen) AS n_seen,
  count(*) FILTER (
    list_contains(negative_ids, product_id)
    OR list_has_any(negative_ids, co_positive_ids)
    OR list_unique(negative_ids) < len(negative_ids)
  ) AS n_wrong,
FROM pairs GROUP BY ALL
"""

_AREAS = """
CREATE VIEW areas AS
SELECT
  pairs.split,
  (crop_px[3] - crop_px[1]) * (crop_px[4] - crop_px[2]) / (width * height) AS crop,
  1 / CASE WHEN crop_px[3] - crop_px[1] = width THEN height ELSE width END AS line,
  (box[3] - box[1]) * (box[4] - box[2]) AS box,
FROM pairs JOIN scenes USING (scene_id)
"""
"""Shares of the whole picture; DuckDB counts list elements from 1.

A crop is the whole pixels of a strip from side to side, or from top to bottom: cutting
cost it less than a line of pixels, which is a sixteenth of the smallest pictures.
"""

_QUERIES = (
    """
    SELECT
      split,
      category,
      coalesce(sum(n), 0) AS pairs,
      min(negatives) AS negatives_min,
      coalesce(
        sum(n) FILTER (negatives < (SELECT max(negatives) FROM pair_groups)), 0
      ) / sum(n) AS negatives_short_share,
      sum(n_wrong) AS negatives_wrong,
      sum(n_seen) / sum(n) AS seen_share,
      sum(n) - sum(n_seen) AS unseen_pairs,
    FROM pair_groups GROUP BY GROUPING SETS ((), (split), (category))
    """,
    """
    SELECT split, sum(n) / (SELECT sum(n) FROM pair_groups) AS split_share,
    FROM pair_groups GROUP BY split
    """,
    """
    SELECT split, count(*) AS scenes,
    FROM scenes GROUP BY GROUPING SETS ((), (split))
    """,
    """
    SELECT category, count(*) AS products,
    FROM products GROUP BY GROUPING SETS ((), (category))
    """,
    """
    SELECT
      code,
      count(*) / ((SELECT count(*) FROM pairs) + (SELECT count(*) FROM rejections))
        AS drop_rate,
    FROM rejections GROUP BY GROUPING SETS ((), (code))
    """,
    """
    SELECT
      split,
      median(crop) AS crop_area_median,
      min(crop) AS crop_area_min,
      min(crop + line) AS strip_area_min,
      median(box) AS box_area_median,
    FROM areas GROUP BY GROUPING SETS ((), (split))
    """,
    """
    SELECT
      count(*) FILTER (scenes.scene_id IS NULL) AS "pairs_dangling@table=scenes",
      count(*) FILTER (products.product_id IS NULL) AS "pairs_dangling@table=products",
      count(*) FILTER (scenes.split <> pairs.split) AS pairs_on_wrong_side,
    FROM pairs
    LEFT JOIN scenes USING (scene_id)
    LEFT JOIN products ON products.product_id = pairs.product_id
    """,
    """
    SELECT
      coalesce(sum(n) FILTER (n > 1), 0) / sum(n) AS products_sharing_picture_share,
      max(n) / sum(n) AS largest_product_picture_share,
    FROM (SELECT count(*) AS n FROM products GROUP BY sha256)
    """,
    """
    SELECT
      coalesce(sum(n) FILTER (n > 1), 0) / sum(n) AS scenes_near_duplicate_share,
      max(n) / sum(n) AS largest_scene_group_share,
    FROM (SELECT count(*) AS n FROM scenes GROUP BY scene_group)
    """,
    # By hashes of 64 bits: of ten million ids two collide once in 400,000 times.
    """
    SELECT
      (SELECT count(*) - count(DISTINCT hash(pair_id)) FROM pairs)
        AS "ids_repeated@table=pairs",
      (SELECT count(*) - count(DISTINCT scene_id) FROM scenes)
        AS "ids_repeated@table=scenes",
      (SELECT count(*) - count(DISTINCT product_id) FROM products)
        AS "ids_repeated@table=products",
      (SELECT count(*) - count(DISTINCT hash(scene_id, product_id, box)) FROM pairs)
        AS pairs_repeated,
    """,
)

# Slice as above, then what is counted and how often.
_MIX_QUERIES = {
    "category_mix": """
        SELECT split, category AS kind, sum(n) AS n
        FROM pair_groups GROUP BY GROUPING SETS ((category), (split, category))
        """,
    "product_category_mix": """
        SELECT NULL AS split, category AS kind, count(*) AS n
        FROM products GROUP BY category
        """,
    "crop_area_mix": """
        SELECT split, greatest(0, least(19, floor(crop * 20)))::INTEGER AS kind,
          count(*) AS n
        FROM areas GROUP BY GROUPING SETS ((kind), (split, kind))
        """,
    "box_area_mix": """
        SELECT split, greatest(0, least(19, floor(box * 20)))::INTEGER AS kind,
          count(*) AS n
        FROM areas GROUP BY GROUPING SETS ((kind), (split, kind))
        """,
}


def open_tables(folder: epath.Path) -> dict[str, ds.Dataset]:
    """The tables of a data set, each one file or a folder of parts.

    Raises:
        InputError: one is absent or is not Parquet.
    """
    return {name: _open(folder / f"{name}.parquet") for name in TABLES}


def _open(path: epath.Path) -> ds.Dataset:
    try:
        # Columns come from the files alone, never from a folder's name.
        return ds.dataset(
            [str(part) for part in part_files(path)],
            filesystem=arrow_filesystem(path),
            format="parquet",
            partitioning=None,
        )
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; build the data set again") from None
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not Parquet: {error}") from None


def table_figures(tables: Mapping[str, ds.Dataset]) -> Figures:
    """All figures that the tables tell.

    Args:
        tables: by the names in `TABLES`.

    Raises:
        InputError: a column is missing, as in tables of an older version.
    """
    with duckdb.connect() as connection:
        for name in TABLES:
            connection.register(name, tables[name])
        try:
            connection.execute(_PAIR_GROUPS)
            connection.execute(_AREAS)
            return Figures(_scalars(connection), _mixes(connection))
        except duckdb.BinderException as error:
            raise InputError(
                "the tables are not as this version of build_dataset writes them: "
                f"{str(error).splitlines()[0]}"
            ) from None


def _scalars(connection: duckdb.DuckDBPyConnection) -> Scalars:
    scalars: Scalars = {}
    for query in _QUERIES:
        for row in _rows(connection, query):
            part = _pop_slice(row)
            for column, value in row.items():
                name, _, own = column.partition("@")
                parts = scalars.setdefault(name, {})
                if value is not None and math.isfinite(value):
                    parts[own or part] = value
    # A split of which nothing is left must be seen as empty, not as unknown.
    for split in Split:
        for name in ("pairs", "scenes", "split_share"):
            scalars[name].setdefault(f"split={split}", 0)
    return scalars


def _mixes(connection: duckdb.DuckDBPyConnection) -> Mixes:
    mixes: Mixes = {}
    for name, query in _MIX_QUERIES.items():
        parts = mixes.setdefault(name, {})
        for row in _rows(connection, query):
            parts.setdefault(_pop_slice(row), {})[str(row["kind"])] = row["n"]
    return mixes


def _rows(
    connection: duckdb.DuckDBPyConnection, query: str
) -> Iterator[dict[str, Any]]:
    result = connection.execute(query)
    names = [column[0] for column in result.description]
    # In an order of their own: that of groups is DuckDB's business.
    for values in sorted(result.fetchall(), key=repr):
        yield dict(zip(names, values, strict=True))


def _pop_slice(row: dict[str, Any]) -> str:
    """Take the dimensions out of a row: the slice it is about."""
    members = {name: row.pop(name) for name in _DIMENSIONS if name in row}
    for name, member in members.items():
        if member is not None:
            return f"{name}={member}"
    return ALL
