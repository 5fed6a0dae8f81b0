"""The files of a catalogue: products, what is no catalogue, versions and addresses."""

from __future__ import annotations

import collections
import json
from pathlib import Path

import pytest
from release_files import CATEGORIES, GOOD, HAT, PAIR, SCENE, SHOE, write_catalog

from beam_jobs.catalogs.catalog import Catalog, image_path, image_urls, read_catalog
from tfrecords_schema.codes import RowCode
from tfrecords_schema.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, lines: list[bytes], categories: bytes = CATEGORIES) -> Catalog:
    write_catalog(folder, b"\n".join(lines), categories)
    return read_catalog(str(folder), "fashion")


def changed(**fields: object) -> bytes:
    return json.dumps(PAIR | fields).encode()


BAD_PRODUCTS = {
    "not a signature": (RowCode.BAD_SIGNATURE, '"shoe": "Shoes"'),
    "empty key": (RowCode.BAD_SIGNATURE, '"": "Shoes"'),
    "same key": (RowCode.DUPLICATE_PRODUCT, f'"{SHOE}": "Hats"'),
    "empty category": (RowCode.BAD_CATEGORY, f'"{HAT}": ""'),
    "blank category": (RowCode.BAD_CATEGORY, f'"{HAT}": " \\t"'),
    "null category": (RowCode.BAD_CATEGORY, f'"{HAT}": null'),
    "number": (RowCode.BAD_CATEGORY, f'"{HAT}": 3'),
    "list": (RowCode.BAD_CATEGORY, f'"{HAT}": ["Hats"]'),
    "object": (RowCode.BAD_CATEGORY, f'"{HAT}": {{"Hats": "x"}}'),
    "no text": (RowCode.BAD_CATEGORY, f'"{HAT}": "Hat\\ud800"'),
}


@pytest.mark.parametrize(("code", "entry"), BAD_PRODUCTS.values(), ids=BAD_PRODUCTS)
def test_bad_product_is_rejected_with_its_code_and_place(
    folder: Path, code: RowCode, entry: str
) -> None:
    categories = f'{{"{SHOE}": "Shoes", {entry}, "{"d" * 32}": " Bags "}}'

    catalog = read(folder, [GOOD], categories.encode())

    (rejection,) = catalog.rejections
    assert (rejection.source, rejection.line, rejection.code) == (
        "fashion-cat.json",
        2,
        code,
    )
    assert catalog.products == {SHOE: "Shoes", "d" * 32: "Bags"}
    assert catalog.rows_in == 1 + 3


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"[1]", b"[{}]", b'"text"', b"null", b"{", b"\xff", b"[" * 100_000],
)
def test_category_file_that_is_no_object_is_an_input_error(
    folder: Path, content: bytes
) -> None:
    with pytest.raises(InputError, match=r"fashion-cat\.json") as raised:
        read(folder, [GOOD], content)

    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("name", ["fashion.json", "fashion-cat.json"])
def test_missing_file_is_an_input_error_naming_file_and_option(
    folder: Path, name: str
) -> None:
    write_catalog(folder, GOOD)
    (folder / name).unlink()

    with pytest.raises(InputError, match=f"{name} does not exist.*--catalog"):
        read_catalog(str(folder), "fashion")


def test_folder_in_place_of_a_file_is_an_input_error(folder: Path) -> None:
    write_catalog(folder, GOOD)
    (folder / "fashion.json").unlink()
    (folder / "fashion.json").mkdir()

    with pytest.raises(InputError, match=r"fashion\.json cannot be read"):
        read_catalog(str(folder), "fashion")


def test_catalogue_without_an_option_is_an_input_error() -> None:
    with pytest.raises(InputError, match="--catalog"):
        read_catalog("", "fashion")


@pytest.mark.parametrize("pairs", [b"", b"\n\n", b"nonsense\n", GOOD[:-1]])
def test_catalogue_without_a_usable_pair_is_an_input_error(
    folder: Path, pairs: bytes
) -> None:
    write_catalog(folder, pairs)

    with pytest.raises(InputError, match=r"no usable pair.*--catalog"):
        read_catalog(str(folder), "fashion")


def test_version_follows_from_every_byte_of_both_files(folder: Path) -> None:
    inputs = [
        ([GOOD], CATEGORIES),
        ([GOOD, b""], CATEGORIES),
        ([GOOD], CATEGORIES + b" "),
        ([changed(bbox=[0, 0, 1, 1])], CATEGORIES),
    ]
    versions = [read(folder, lines, categories).version for lines, categories in inputs]

    assert len(set(versions)) == len(versions)
    assert read(folder, [GOOD]).version == versions[0]


def test_pictures_lie_under_the_first_three_pairs_of_digits() -> None:
    assert image_path(SCENE) == f"400x/01/23/45/{SCENE}.jpg"


def test_every_scene_and_product_has_one_picture(folder: Path) -> None:
    lines = [GOOD, changed(product=HAT), changed(scene="f" * 32), b"bad"]
    catalog = read(folder, lines)

    urls = list(image_urls(catalog, "http://host/base/"))

    kinds = collections.Counter(kind for kind, _, _ in urls)
    assert kinds == {"scene": 2, "product": 2}
    assert ("scene", SCENE, f"http://host/base/400x/01/23/45/{SCENE}.jpg") in urls
    assert len({url for _, _, url in urls}) == 4


def test_catalogue_in_another_kind_of_store_is_refused_with_the_option() -> None:
    with pytest.raises(InputError, match=r"^--catalog s3://looks/c is neither"):
        read_catalog("s3://looks/c", "fashion")
