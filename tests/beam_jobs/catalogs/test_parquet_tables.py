"""Parquet tables of a retailer: which types are read, and what is broken in them."""

from __future__ import annotations

import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from retailer_tables import COLUMNS, csv_text, rows_of, write_parquet, write_tables

from beam_jobs.catalogs.catalog import read_catalog
from beam_jobs.catalogs.table_catalog import PAIRS, PRODUCTS
from tfrecords_schema.codes import RowCode
from tfrecords_schema.errors import InputError

LISTS = {
    "list": pa.list_(pa.float64()),
    "of a fixed size": pa.list_(pa.float32(), 4),
    "large list": pa.large_list(pa.float64()),
    "of whole numbers": pa.list_(pa.int64()),
    "of decimals": pa.list_(pa.decimal128(10, 4)),
}


@pytest.mark.parametrize("kind", LISTS.values(), ids=LISTS)
def test_box_may_be_one_list_of_any_numbers_in_parquet(
    tmp_path: Path, kind: pa.DataType
) -> None:
    box = [decimal.Decimal(edge) for edge in (0, 0, 1, 1)]
    values = box if "decimal" in str(kind) else [int(edge) for edge in box]
    path = write_parquet(
        tmp_path / "pairs.parquet",
        scene_id=pa.array(["s"] * 3),
        product_id=pa.array(["p"] * 3).dictionary_encode(),
        box=pa.array([values] * 3, kind),
        left=pa.array(["not read"] * 3),
    )

    assert rows_of(path, PAIRS) == [
        (row, ("s", "p", [0.0, 0.0, 1.0, 1.0])) for row in (1, 2, 3)
    ]


def test_list_without_a_box_or_an_edge_is_told_as_it_stands(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "pairs.parquet",
        scene_id=pa.array(["s"] * 3),
        product_id=pa.array(["p"] * 3),
        box=pa.array([None, [0.0, None], []], pa.list_(pa.float64())),
    )

    assert [row[2] for _, row in rows_of(path, PAIRS)] == [None, [0.0, None], []]


EDGE_TYPES = [pa.float16(), pa.float32(), pa.int8(), pa.uint64(), pa.decimal128(6, 3)]


@pytest.mark.parametrize("kind", EDGE_TYPES, ids=str)
def test_edges_may_be_columns_of_any_numbers_in_parquet(
    tmp_path: Path, kind: pa.DataType
) -> None:
    one = decimal.Decimal(1) if pa.types.is_decimal(kind) else np.float16(1)
    edges = pa.array([one, None], kind) if kind != pa.int8() else pa.array([1, None])
    path = write_parquet(
        tmp_path / "pairs.parquet",
        scene_id=pa.array(["s", "s"], pa.large_string()),
        product_id=pa.array([1, 2], pa.uint32()),
        **dict.fromkeys(("left", "top", "right", "bottom"), edges),
    )

    assert rows_of(path, PAIRS) == [
        (1, ("s", 1, 1.0, 1.0, 1.0, 1.0)),
        (2, ("s", 2, None, None, None, None)),
    ]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("product_id", pa.array([1.0])),
        ("product_id", pa.array([b"a"])),
        ("product_id", pa.array([True])),
        ("category", pa.array([1])),
        ("image_url", pa.array([["u"]])),
    ],
)
def test_column_of_another_type_is_an_input_error(
    tmp_path: Path, column: str, values: pa.Array
) -> None:
    columns = {name: pa.array(["a"]) for name in COLUMNS["products"]}
    path = write_parquet(tmp_path / "products.parquet", **columns | {column: values})

    with pytest.raises(InputError, match=f"'{column}' is of type "):
        rows_of(path, PRODUCTS)


def test_column_of_nothing_but_nulls_is_told_row_by_row(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "pairs.parquet",
        scene_id=pa.nulls(2),
        product_id=pa.array(["p", None]),
        box=pa.nulls(2),
    )

    assert rows_of(path, PAIRS) == [(1, (None, "p", None)), (2, (None, None, None))]


def test_text_that_is_not_utf_8_in_parquet_costs_its_own_row(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"\xff\xfe", b"also"])
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    urls = pa.array(["https://a/b"] * 3)
    write_tables(tmp_path, "csv")
    (tmp_path / "scenes.csv").unlink()
    write_parquet(tmp_path / "scenes.parquet", scene_id=text, image_url=urls)
    pairs = [COLUMNS["pairs"], ("also", "sku=1", 0, 0, 0.5, 0.5)]
    (tmp_path / "pairs.csv").write_text(csv_text(pairs))

    catalog = read_catalog(str(tmp_path), "home")

    assert catalog.scene_ids == ["also", "good"]
    (rejection,) = catalog.rejections
    assert (rejection.line, rejection.code) == (2, RowCode.BAD_ID)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 10, b"a,b\n1,2\n"])
def test_file_that_is_not_parquet_is_an_input_error(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "scenes.parquet").write_bytes(content)

    with pytest.raises(InputError, match=r"scenes\.parquet cannot be read"):
        rows_of(tmp_path / "scenes.parquet")


def test_column_name_that_is_not_utf_8_is_an_input_error(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "scenes.parquet", scene_id=pa.array(["a"]))
    path.write_bytes(path.read_bytes().replace(b"scene_id", b"scene\xffid"))

    with pytest.raises(InputError, match=r"scenes\.parquet cannot be read"):
        rows_of(path)
