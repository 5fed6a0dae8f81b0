"""Reading a catalogue: every row is a pair, a product or a rejection with its line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from release_files import BOX, CATEGORIES, GOOD, HAT, PAIR, SCENE, SHOE, write_catalog

from beam_jobs.catalogs.catalog import Catalog, read_catalog
from tfrecords_schema import dataset_tables
from tfrecords_schema.codes import RowCode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(
    folder: Path, lines: Sequence[bytes], categories: bytes = CATEGORIES
) -> Catalog:
    write_catalog(folder, b"\n".join(lines), categories)
    return read_catalog(str(folder), "fashion")


def changed(**fields: Any) -> bytes:
    return json.dumps(PAIR | fields).encode()


def without(field: str) -> bytes:
    return json.dumps({k: v for k, v in PAIR.items() if k != field}).encode()


def raw_box(text: str) -> bytes:
    return GOOD.replace(json.dumps(BOX).encode(), text.encode())


BAD_PAIRS = {
    "cut short": (RowCode.MALFORMED_JSON, GOOD[:-5]),
    "no json": (RowCode.MALFORMED_JSON, b"<html>"),
    "blank": (RowCode.MALFORMED_JSON, b""),
    "two objects": (RowCode.MALFORMED_JSON, GOOD + GOOD),
    "a list": (RowCode.MALFORMED_JSON, b"[1, 2]"),
    "a number": (RowCode.MALFORMED_JSON, b"7"),
    "a lone surrogate": (RowCode.MALFORMED_JSON, b'"\\ud800"'),
    "not utf-8": (RowCode.MALFORMED_JSON, b'{"scene": "\xff\xfe"}'),
    "nested 100,000 deep": (RowCode.MALFORMED_JSON, b"[" * 100_000),
    "nested and closed": (RowCode.MALFORMED_JSON, b"[" * 50_000 + b"]" * 50_000),
    "a number too long": (RowCode.MALFORMED_JSON, b"9" * 100_000),
    "no scene": (RowCode.MISSING_FIELD, without("scene")),
    "no product": (RowCode.MISSING_FIELD, without("product")),
    "no box": (RowCode.MISSING_FIELD, without("bbox")),
    "empty": (RowCode.MISSING_FIELD, b"{}"),
    "short scene": (RowCode.BAD_SIGNATURE, changed(scene=SCENE[:-1])),
    "long scene": (RowCode.BAD_SIGNATURE, changed(scene=SCENE + "0")),
    "scene with newline": (RowCode.BAD_SIGNATURE, changed(scene=SCENE + "\n")),
    "upper-case": (RowCode.BAD_SIGNATURE, changed(product=SHOE.upper())),
    "not hex": (RowCode.BAD_SIGNATURE, changed(product="g" * 32)),
    "other digits": (RowCode.BAD_SIGNATURE, changed(product="\u0663" * 32)),
    "a path": (RowCode.BAD_SIGNATURE, changed(scene="../../../etc/passwd")),
    "null scene": (RowCode.BAD_SIGNATURE, changed(scene=None)),
    "surrogate scene": (RowCode.BAD_SIGNATURE, changed(scene="\ud800")),
    "huge scene": (RowCode.BAD_SIGNATURE, changed(scene="0" * 1_000_000)),
    "three edges": (RowCode.BAD_BOX, changed(bbox=BOX[:3])),
    "five edges": (RowCode.BAD_BOX, changed(bbox=[*BOX, 1.0])),
    "booleans": (RowCode.BAD_BOX, changed(bbox=[False, 0.2, True, 0.4])),
    "texts": (RowCode.BAD_BOX, changed(bbox=["0", "0", "1", "1"])),
    "null box": (RowCode.BAD_BOX, changed(bbox=None)),
    "surrogate box": (RowCode.BAD_BOX, changed(bbox="\ud800")),
    "named edges": (RowCode.BAD_BOX, changed(bbox={"left": 0})),
    "NaN": (RowCode.BAD_BOX, raw_box("[NaN, 0.2, 0.3, 0.4]")),
    "infinity": (RowCode.BAD_BOX, raw_box("[0.1, 0.2, Infinity, 0.4]")),
    "overflow": (RowCode.BAD_BOX, raw_box("[0.1, 0.2, 1e999, 0.4]")),
    "below 0": (RowCode.BOX_OUT_OF_RANGE, changed(bbox=[-0.01, 0.2, 0.3, 0.4])),
    "above 1": (RowCode.BOX_OUT_OF_RANGE, changed(bbox=[0.1, 0.2, 0.3, 1.01])),
    "pixels": (RowCode.BOX_OUT_OF_RANGE, changed(bbox=[10, 20, 300, 400])),
    "integer beyond floats": (
        RowCode.BOX_OUT_OF_RANGE,
        raw_box(f"[0, 0, 1, {10**400}]"),
    ),
    "right of left": (RowCode.BOX_INVERTED, changed(bbox=[0.3, 0.2, 0.1, 0.4])),
    "above its top": (RowCode.BOX_INVERTED, changed(bbox=[0.1, 0.4, 0.3, 0.2])),
    "no width": (RowCode.BOX_INVERTED, changed(bbox=[0.1, 0.2, 0.1, 0.4])),
    "no category": (RowCode.PRODUCT_WITHOUT_CATEGORY, changed(product="c" * 32)),
}


@pytest.mark.parametrize(("code", "line"), BAD_PAIRS.values(), ids=BAD_PAIRS.keys())
def test_bad_pair_is_rejected_with_its_code_and_line(
    folder: Path, code: RowCode, line: bytes
) -> None:
    other = changed(bbox=[0.0, 0.0, 1.0, 1.0])

    catalog = read(folder, [GOOD, line, other])

    (rejection,) = catalog.rejections
    assert (rejection.source, rejection.line, rejection.code) == (
        "fashion.json",
        2,
        code,
    )
    assert [pair.line for pair in catalog.pairs] == [1, 3]
    assert len(rejection.detail) <= 200
    rejection.detail.encode()  # goes into a table of UTF-8 text


def deepest_that_parses() -> int:
    """How deep JSON may be nested here, which differs between Python versions."""
    parses, fails = 1, 200_000
    while fails - parses > 1:
        depth = (parses + fails) // 2
        try:
            json.loads("[" * depth + "]" * depth)
            parses = depth
        except RecursionError:
            fails = depth
    return parses


def test_nested_values_are_rejected_at_any_depth(folder: Path) -> None:
    limit = deepest_that_parses()
    for depth in (10, 100, *range(limit - 60, limit + 20)):
        nested = b"[" * depth + b"]" * depth
        rows = [
            nested,
            b'{"bbox": %s}' % nested,
            GOOD.replace(b"[0.1,", b"[%s," % nested),
            GOOD.replace(json.dumps(SCENE).encode(), nested),
        ]

        assert len(read(folder, [GOOD, *rows]).rejections) == len(rows)


def test_nested_category_is_rejected_at_any_depth_that_parses(folder: Path) -> None:
    limit = deepest_that_parses()
    for depth in (10, 100, *range(limit - 80, limit - 40)):
        nested = b"[" * depth + b"]" * depth

        (rejection,) = read(
            folder, [GOOD], CATEGORIES.replace(b'"Hats"', nested)
        ).rejections

        assert rejection.code == RowCode.BAD_CATEGORY


def test_good_pair_is_read_whole(folder: Path) -> None:
    (pair,) = read(folder, [GOOD]).pairs

    assert (pair.scene_id, pair.product_id, pair.line) == (SCENE, SHOE, 1)
    assert pair.box == (0.1, 0.2, 0.3, 0.4)
    assert pair.category == "Apparel|Shoes"


def test_row_with_a_bad_box_alone_still_tells_of_its_product(folder: Path) -> None:
    outside = changed(bbox=[0.1, 0.2, 0.3, 1.4])
    unknown = changed(bbox=[0.1, 0.2, 0.3, 1.4], product="f" * 32)
    catalog = read(folder, [GOOD, outside, unknown])

    assert [rejection.line for rejection in catalog.rejections] == [2, 3]
    (pair,) = catalog.boxless_pairs
    assert (pair.scene_id, pair.product_id, pair.line) == (SCENE, SHOE, 2)
    assert not pair.is_usable


@pytest.mark.parametrize("name", ["all", "seen", " unseen "])
def test_category_named_like_another_slice_is_rejected(folder: Path, name: str) -> None:
    catalog = read(folder, [GOOD], json.dumps({SHOE: "Shoes", HAT: name}).encode())

    (rejection,) = catalog.rejections
    assert rejection.code == RowCode.BAD_CATEGORY


def test_box_edges_may_be_whole_numbers_and_fields_may_be_added(folder: Path) -> None:
    (pair,) = read(folder, [changed(bbox=[0, 0, 1, 1], note="kept")]).pairs

    assert pair.box == (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "again",
    [
        GOOD,
        b"  " + GOOD + b" ",
        json.dumps(dict(reversed(PAIR.items()))).encode(),
        raw_box("[1e-1, 0.20, 0.3, 0.4]"),
    ],
)
def test_second_of_two_equal_pairs_is_a_duplicate(folder: Path, again: bytes) -> None:
    catalog = read(folder, [GOOD, again])

    assert [pair.line for pair in catalog.pairs] == [1]
    (rejection,) = catalog.rejections
    assert (rejection.line, rejection.code) == (2, RowCode.DUPLICATE_PAIR)


def test_zero_and_minus_zero_are_the_same_edge(folder: Path) -> None:
    lines = [raw_box("[0.0, 0.2, 0.3, 0.4]"), raw_box("[-0.0, 0.2, 0.3, 0.4]")]

    (rejection,) = read(folder, lines).rejections

    assert rejection.code == RowCode.DUPLICATE_PAIR


def test_pairs_that_differ_in_one_thing_are_different(folder: Path) -> None:
    lines = [
        GOOD,
        changed(product=HAT),
        changed(scene="f" * 32),
        changed(bbox=[0.1, 0.2, 0.3, 0.4000000001]),
    ]

    catalog = read(folder, lines)

    assert len({pair.pair_id for pair in catalog.pairs}) == 4
    assert not catalog.rejections


def test_lines_end_as_on_any_system(folder: Path) -> None:
    lines = [GOOD, changed(product=HAT)]
    read_as = {}
    for ending in (b"\n", b"\r\n", b"\r"):
        write_catalog(folder, ending.join([*lines, b""]))
        catalog = read_catalog(str(folder), "fashion")
        read_as[ending] = (catalog.pairs, catalog.rejections)

    assert read_as[b"\r\n"] == read_as[b"\r"] == read_as[b"\n"]
    assert [pair.line for pair in read_as[b"\n"][0]] == [1, 2]


def test_blank_lines_keep_the_numbers_of_the_others(folder: Path) -> None:
    catalog = read(folder, [b"", GOOD, b"   ", b"", changed(product=HAT), b""])

    assert [pair.line for pair in catalog.pairs] == [2, 5]
    assert {r.line for r in catalog.rejections} == {1, 3, 4}


good_or_garbage = st.one_of(
    st.sampled_from([line for _, line in BAD_PAIRS.values() if len(line) < 5_000]),
    st.binary(max_size=30),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["scene", "product", "bbox"]), inner)
        ),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
    st.lists(st.floats(-0.5, 1.5), min_size=4, max_size=4).map(
        lambda box: changed(bbox=box)
    ),
    st.just(GOOD),
)


@given(lines=st.lists(good_or_garbage, max_size=12))
@example(lines=[b'"\xed\xa0\x80"', b"\xef\xbb\xbf" + GOOD, b"\x00\x00"])
def test_rows_in_are_rows_out_plus_rejected_for_any_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    data = b"\n".join([changed(bbox=[0, 0, 1, 1]), *lines])
    write_catalog(folder, data)
    n_lines = len(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    n_lines -= data.endswith((b"\n", b"\r"))

    catalog = read_catalog(str(folder), "fashion")

    accounted = [pair.line for pair in catalog.pairs]
    accounted += [rejection.line for rejection in catalog.rejections]
    assert sorted(accounted) == [*range(1, n_lines + 1)]
    assert catalog.rows_in == n_lines + 2
    dataset_tables.table_bytes(
        ({name: getattr(r, name) for name in r.__slots__} for r in catalog.rejections),
        dataset_tables.REJECTIONS,
    )
