"""A retailer's tables: every row is a scene, a product, a pair or a rejection."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from retailer_tables import FORMATS, GOOD, Rows, write_table, write_tables

from beam_jobs.catalogs.catalog import Catalog, image_urls, read_catalog
from tfrecords_schema import dataset_tables
from tfrecords_schema.codes import RowCode
from tfrecords_schema.errors import InputError

RUG, SHOE = "sku=1", "00042"
URL = "https://shop.example/x.jpg"


def read(folder: Path) -> Catalog:
    return read_catalog(str(folder), "home")


def found(catalog: Catalog) -> list[tuple[str, int, str]]:
    return [(r.source, r.line, r.code) for r in catalog.rejections]


@pytest.mark.parametrize("formats", itertools.product(FORMATS, repeat=3))
def test_good_tables_are_read_whole_in_any_mix_of_formats(
    tmp_path: Path, formats: tuple[str, str, str]
) -> None:
    for name, kind in zip(GOOD, formats, strict=True):
        write_table(tmp_path, name, kind, GOOD[name])

    catalog = read(tmp_path)

    assert not catalog.rejections
    assert catalog.rows_in == 3 + 2 + 3
    assert catalog.products == {RUG: "Home & Garden|Decor|Rugs", SHOE: "Shoes"}
    rows = [(p.scene_id, p.product_id, *p.box) for p in catalog.pairs]
    assert rows == GOOD["pairs"]
    first = 2 if formats[2] == "csv" else 1  # after the header
    assert [pair.line for pair in catalog.pairs] == [first, first + 1, first + 2]
    assert {pair.source for pair in catalog.pairs} == {f"pairs.{formats[2]}"}
    assert catalog.scene_ids == ["Straße/2", "street 1", "unpaired"]


@pytest.mark.parametrize("kind", FORMATS)
def test_pictures_are_where_the_tables_say(tmp_path: Path, kind: str) -> None:
    write_tables(tmp_path, kind)
    catalog = read(tmp_path)

    expected = {("scene", name, url) for name, url in GOOD["scenes"]}
    expected |= {("product", name, url) for name, _, url in GOOD["products"]}
    for host in ("", None, "http://elsewhere"):
        assert set(image_urls(catalog, host)) == expected
    assert not catalog.needs_host


def case(table: str, code: RowCode, *row: Any) -> tuple[str, RowCode, tuple[Any, ...]]:
    return table, code, row


BAD_ROWS = {
    "empty id": case("scenes", RowCode.BAD_ID, "", URL),
    "padded id": case("scenes", RowCode.BAD_ID, " street 9", URL),
    "id with a line break": case("scenes", RowCode.BAD_ID, "street\n9", URL),
    "id with NUL": case("scenes", RowCode.BAD_ID, "street\x009", URL),
    "id with a paragraph end": case("scenes", RowCode.BAD_ID, "street\u20299", URL),
    "id too long": case("scenes", RowCode.BAD_ID, "s" * 201, URL),
    "second scene": case("scenes", RowCode.DUPLICATE_SCENE, "street 1", URL),
    "no address": case("scenes", RowCode.BAD_URL, "street 9", ""),
    "a path": case("scenes", RowCode.BAD_URL, "street 9", "/s/9.jpg"),
    "a file": case("scenes", RowCode.BAD_URL, "street 9", "file:///etc/passwd"),
    "a script": case("scenes", RowCode.BAD_URL, "street 9", "javascript:alert(1)"),
    "no host": case("scenes", RowCode.BAD_URL, "street 9", "https:///s/9.jpg"),
    "a bad port": case("scenes", RowCode.BAD_URL, "street 9", "http://a:99999/"),
    "half an address": case("scenes", RowCode.BAD_URL, "street 9", "http://[::1/"),
    "a space": case("scenes", RowCode.BAD_URL, "street 9", "http://a/b c.jpg"),
    "a header": case("scenes", RowCode.BAD_URL, "street 9", "http://a/\r\nX: y"),
    "address too long": case(
        "scenes", RowCode.BAD_URL, "street 9", "http://a/" + "x" * 2048
    ),
    "second product": case("products", RowCode.DUPLICATE_PRODUCT, RUG, "Rugs", URL),
    "no category": case("products", RowCode.BAD_CATEGORY, "9", " ", URL),
    "reserved category": case("products", RowCode.BAD_CATEGORY, "9", "unseen", URL),
    "category of two lines": case("products", RowCode.BAD_CATEGORY, "9", "a\nb", URL),
    "long category": case("products", RowCode.BAD_CATEGORY, "9", "c" * 201, URL),
    "product without address": case("products", RowCode.BAD_URL, "9", "Rugs", "x"),
    "unknown scene": case(
        "pairs", RowCode.UNKNOWN_SCENE, "street 9", RUG, 0.0, 0.0, 0.5, 0.5
    ),
    "unknown product": case(
        "pairs", RowCode.UNKNOWN_PRODUCT, "street 1", "42", 0.0, 0.0, 0.5, 0.5
    ),
    "second pair": case("pairs", RowCode.DUPLICATE_PAIR, *GOOD["pairs"][0]),
    "inverted": case(
        "pairs", RowCode.BOX_INVERTED, "street 1", RUG, 0.5, 0.0, 0.5, 0.5
    ),
    "pixels": case(
        "pairs", RowCode.BOX_OUT_OF_RANGE, "street 1", RUG, 5.0, 0.0, 90.0, 70.0
    ),
    "infinite": case(
        "pairs", RowCode.BAD_BOX, "street 1", RUG, 0.0, 0.0, float("inf"), 1.0
    ),
    "no number": case(
        "pairs", RowCode.BAD_BOX, "street 1", RUG, 0.0, 0.0, float("nan"), 1.0
    ),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("table", "code", "row"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_row_is_rejected_with_its_code_and_place(
    tmp_path: Path, kind: str, table: str, code: RowCode, row: tuple[Any, ...]
) -> None:
    good = list(GOOD[table])
    write_tables(tmp_path, kind, {table: [*good[:1], row, *good[1:]]})
    # A value with a line break lies on two lines of a CSV file, from the first on.
    line = 3 if kind == "csv" else 2

    catalog = read(tmp_path)

    assert found(catalog) == [(f"{table}.{kind}", line, code)]
    assert catalog.rows_in == 9
    assert len(catalog.pairs) == 3
    dataset_tables.table_bytes(
        [{n: getattr(r, n) for n in r.__slots__} for r in catalog.rejections],
        dataset_tables.REJECTIONS,
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_row_with_a_bad_box_alone_still_tells_of_its_product(
    tmp_path: Path, kind: str
) -> None:
    bad = ("street 1", SHOE, 0.5, 0.5, 0.1, 0.1)
    write_tables(tmp_path, kind, {"pairs": [*GOOD["pairs"], bad]})

    (pair,) = read(tmp_path).boxless_pairs

    assert (pair.scene_id, pair.product_id, pair.category) == (
        "street 1",
        SHOE,
        "Shoes",
    )
    assert not pair.is_usable
    assert pair.source == f"pairs.{kind}"


def test_pair_of_a_rejected_scene_or_product_is_rejected_too(tmp_path: Path) -> None:
    tables: dict[str, Rows] = {
        "scenes": [("street 1", "ftp://a/b"), *GOOD["scenes"][1:]],
        "products": [*GOOD["products"][:1], (SHOE, "", URL)],
    }
    write_tables(tmp_path, "csv", tables)

    assert found(read(tmp_path)) == [
        ("scenes.csv", 2, RowCode.BAD_URL),
        ("products.csv", 3, RowCode.BAD_CATEGORY),
        ("pairs.csv", 2, RowCode.UNKNOWN_SCENE),
        ("pairs.csv", 3, RowCode.UNKNOWN_PRODUCT),
    ]


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "@SUM(1)", "😀", "a'b\"c<d>"])
@pytest.mark.parametrize("kind", FORMATS)
def test_any_printable_text_is_an_id(tmp_path: Path, kind: str, name: str) -> None:
    tables: dict[str, Rows] = {
        "products": [*GOOD["products"], (name, "Rugs", URL)],
        "pairs": [("street 1", name, 0.0, 0.0, 0.5, 0.5)],
    }
    write_tables(tmp_path, kind, tables)

    assert [pair.product_id for pair in read(tmp_path).pairs] == [name]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_whole_numbers_are_ids_that_match_their_text(tmp_path: Path, kind: str) -> None:
    write_tables(tmp_path)
    write_table(tmp_path, "products", kind, [(42, "Rugs", URL), (7, "Rugs", URL)])
    write_table(tmp_path, "pairs", "csv", [("street 1", "42", 0.0, 0.0, 0.5, 0.5)])

    catalog = read(tmp_path)

    assert catalog.products == {"42": "Rugs", "7": "Rugs"}
    assert len(catalog.pairs) == 1


def test_version_follows_from_every_byte_of_every_table(tmp_path: Path) -> None:
    write_tables(tmp_path)
    versions = {read(tmp_path).version, read(tmp_path).version}
    for name in GOOD:
        with (tmp_path / f"{name}.csv").open("a") as file:
            file.write("\n")
        versions.add(read(tmp_path).version)

    assert len(versions) == 1 + len(GOOD)


def test_two_kinds_of_one_domain_are_an_error_and_other_domains_do_not_count(
    tmp_path: Path,
) -> None:
    write_tables(tmp_path)
    (tmp_path / "fashion.json").write_text("{}")
    assert len(read(tmp_path).pairs) == 3  # another domain's files

    with pytest.raises(InputError, match=r"two catalogues.*fashion\.json.*scenes\.csv"):
        read_catalog(str(tmp_path), "fashion")


def test_folder_without_a_catalogue_says_what_was_looked_for(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError) as raised:
            read_catalog(str(folder), "home")

        for word in ("home.json", "home-cat.json", "scenes", ".parquet", "--catalog"):
            assert word in str(raised.value)


@pytest.mark.parametrize("name", GOOD)
def test_missing_table_is_named(tmp_path: Path, name: str) -> None:
    write_tables(tmp_path)
    (tmp_path / f"{name}.csv").unlink()

    with pytest.raises(InputError, match=f"no {name} .*--catalog"):
        read(tmp_path)


def test_table_in_two_formats_is_an_error(tmp_path: Path) -> None:
    write_tables(tmp_path, "csv")
    other = tmp_path / "other"
    other.mkdir()
    write_tables(other, "jsonl")
    (other / "pairs.jsonl").rename(tmp_path / "pairs.jsonl")

    with pytest.raises(InputError, match=r"pairs\.csv and pairs\.jsonl; keep one"):
        read(tmp_path)


@pytest.mark.parametrize("kind", FORMATS)
def test_tables_without_a_usable_pair_are_an_error(tmp_path: Path, kind: str) -> None:
    write_tables(tmp_path, kind, {"pairs": [("nobody", RUG, 0.0, 0.0, 0.5, 0.5)]})

    with pytest.raises(InputError, match=r"no usable pair.*unknown_scene.*--catalog"):
        read(tmp_path)


def test_box_may_be_one_list_in_json_lines(tmp_path: Path) -> None:
    write_tables(tmp_path)
    (tmp_path / "pairs.csv").unlink()
    rows = [
        {"scene_id": "street 1", "product_id": RUG, "box": [0, 0, 0.5, 0.5]},
        {"scene_id": "street 1", "product_id": RUG, "box": [0, 0, 0.5]},
        {"scene_id": "street 1", "product_id": RUG, "box": "0 0 0.5 0.5"},
        {"scene_id": "street 1", "product_id": SHOE, "left": 0, "top": 0, "right": 1},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "pairs.jsonl").write_text(text)

    catalog = read(tmp_path)

    assert [pair.box for pair in catalog.pairs] == [(0.0, 0.0, 0.5, 0.5)]
    assert [(r.line, r.code, r.detail) for r in catalog.rejections] == [
        (2, RowCode.BAD_BOX, "[0, 0, 0.5]"),
        (3, RowCode.BAD_BOX, "'0 0 0.5 0.5'"),
        (4, RowCode.MISSING_FIELD, "bottom"),
    ]
