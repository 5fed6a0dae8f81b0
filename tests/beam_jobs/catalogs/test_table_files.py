"""The files of a retailer's tables: their formats, and what is broken in them."""

from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etils import epath
from hypothesis import example, given
from hypothesis import strategies as st
from retailer_tables import (
    COLUMNS,
    FORMATS,
    GOOD,
    csv_text,
    rows_of,
    write_tables,
)

from beam_jobs.catalogs import csv_records, text_lines
from beam_jobs.catalogs.catalog import read_catalog
from beam_jobs.catalogs.csv_records import read_records
from beam_jobs.catalogs.table_catalog import PAIRS
from tfrecords_schema.codes import RowCode
from tfrecords_schema.errors import InputError

STL = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "stl"
HEADER = "scene_id,image_url"


def csv_rows(folder: Path, text: str | bytes) -> list[tuple[int, Any]]:
    path = folder / "scenes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return rows_of(path)


def test_lines_of_quoted_values_that_span_several_are_those_they_begin_on(
    tmp_path: Path,
) -> None:
    text = f'{HEADER},note\na,u,"1\n2\n\n3"\nb,u,x\n"c","u","say ""hi""\n"\nd,u,\n'

    assert csv_rows(tmp_path, text) == [
        (2, ("a", "u")),
        (6, ("b", "u")),
        (7, ("c", "u")),
        (9, ("d", "u")),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_csv_lines_end_as_on_any_system(tmp_path: Path, ending: str) -> None:
    lines = [HEADER, "a,u", '"b', 'b",v', "", "c,w"]

    assert csv_rows(tmp_path, ending.join(lines)) == [
        (2, ("a", "u")),
        (3, ("b\nb", "v")),
        (6, ("c", "w")),
    ]


BROKEN_ROWS = {
    "too few fields": "x",
    "too many fields": "x,u,v",
    "text after a quote": '"x"y,u',
    "quote that never ends": '"x,u',
    "a field of a megabyte": "x," + "u" * 1_000_000,
    "a line of two megabytes": "x" * 2_000_000,
    "a million fields": "," * 1_000_000,
}


@pytest.mark.parametrize("line", BROKEN_ROWS.values(), ids=BROKEN_ROWS)
def test_broken_row_costs_no_other_row(tmp_path: Path, line: str) -> None:
    good = ['a,"u"', "b,v"]

    assert csv_rows(tmp_path, "\n".join([HEADER, good[0], line, good[1], ""])) == [
        (2, ("a", "u")),
        (3, RowCode.MALFORMED_ROW),
        (4, ("b", "v")),
    ]


def test_stray_quote_does_not_swallow_the_rows_behind_it(tmp_path: Path) -> None:
    good = [f'{name},"u"' for name in "abcdefgh"]
    for at in range(len(good)):
        lines = [HEADER, *good[:at], '"x,u', *good[at:]]

        rows = csv_rows(tmp_path, "\n".join(lines))

        assert rows[at] == (at + 2, RowCode.MALFORMED_ROW)
        assert [row[0] for _, row in rows[:at] + rows[at + 1 :]] == [*"abcdefgh"]


def test_file_of_nothing_but_broken_records_is_read_in_linear_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(csv_records, "MAX_RECORD_CHARS", 300)
    handed_out = 0

    def lines() -> Any:
        nonlocal handed_out
        for number in range(20_000):
            handed_out += 1
            yield number + 1, 'a","x'  # each line ends inside quotes

    firsts = [line for line, _ in read_records(lines())]

    assert handed_out == 20_000
    assert firsts == sorted(set(firsts))
    assert len(firsts) < csv_records.MAX_RETRIES + 20_000 / 40


def test_values_may_hold_nul_and_columns_may_be_added_in_any_order(
    tmp_path: Path,
) -> None:
    text = "note,image_url,more,scene_id\nn,u,m,a\x00b\n"

    assert csv_rows(tmp_path, text) == [(2, ("a\x00b", "u"))]


def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert csv_rows(tmp_path, f"\ufeff{HEADER}\na,u\n") == [(2, ("a", "u"))]
    assert csv_rows(tmp_path, '\ufeff"scene_id",image_url\na,u') == [(2, ("a", "u"))]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-32", "cp1252"])
def test_other_encoding_is_an_input_error_that_says_so(
    tmp_path: Path, kind: str, encoding: str
) -> None:
    write_tables(tmp_path, kind)
    path = tmp_path / f"scenes.{kind}"
    text = path.read_text().replace("\\u00df", "ß")
    path.write_bytes(text.encode(encoding))

    with pytest.raises(InputError, match=rf"scenes\.{kind} is not UTF-8.*save it as"):
        read_catalog(str(tmp_path), "home")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("table", "column"),
    [(name, column) for name, columns in COLUMNS.items() for column in columns],
)
def test_missing_column_is_an_input_error_naming_column_and_file(
    tmp_path: Path, kind: str, table: str, column: str
) -> None:
    write_tables(tmp_path, kind)
    path = tmp_path / f"{table}.{kind}"
    renamed = f"{column} "
    if kind == "parquet":
        names = [renamed if n == column else n for n in COLUMNS[table]]
        pq.write_table(pq.read_table(path).rename_columns(names), path)
    elif kind == "csv":
        path.write_text(path.read_text().replace(column, renamed, 1))
    else:
        path.write_text(path.read_text().replace(f'"{column}"', f'"{renamed}"'))

    with pytest.raises(InputError, match=rf"{table}\.{kind} has no column '{column}'"):
        read_catalog(str(tmp_path), "home")


def test_semicolons_are_not_guessed_at_but_shown(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"commas: \['scene_id;image_url'\]"):
        csv_rows(tmp_path, "scene_id;image_url\na;u\n")


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", '"scene_id,image_url\na,u\n'])
def test_csv_without_a_header_is_an_input_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"scenes\.csv has no header"):
        csv_rows(tmp_path, text)


def test_column_that_stands_twice_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'scene_id' twice"):
        csv_rows(tmp_path, "scene_id,image_url,scene_id\na,u,b\n")
    path = tmp_path / "scenes.parquet"
    values = [pa.array(["a"])] * 3
    names = ["scene_id", "image_url", "scene_id"]
    pq.write_table(pa.table(values, names=names), path)
    with pytest.raises(InputError, match="column 'scene_id' twice"):
        rows_of(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_file_that_is_a_folder_is_an_input_error(tmp_path: Path, kind: str) -> None:
    write_tables(tmp_path, kind)
    (tmp_path / f"products.{kind}").unlink()
    (tmp_path / f"products.{kind}").mkdir()

    with pytest.raises(InputError, match=rf"products\.{kind} cannot be read"):
        read_catalog(str(tmp_path), "home")


CSV_NUMBERS = {
    "0.25": 0.25,
    " 1 ": 1.0,
    "-.5": -0.5,
    "2.5e-1": 0.25,
    "1e999": math.inf,
    "1_0": "1_0",
    "nan": "nan",
    "inf": "inf",
    "0,5": "0,5",
    "٠": "٠",
    "": "",
    "=1+1": "=1+1",
}


@pytest.mark.parametrize(("text", "value"), CSV_NUMBERS.items())
def test_edges_in_csv_are_plain_decimal_numbers(
    tmp_path: Path, text: str, value: float | str
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(csv_text([COLUMNS["pairs"], ("s", "p", text, 0, 1, 1)]))

    ((_, row),) = rows_of(path, PAIRS)

    assert row[2:] == (value, 0.0, 1.0, 1.0)


BAD_JSON = {
    "cut short": '{"scene_id": "x"',
    "a list": '["x", "u"]',
    "a text": '"x"',
    "null": "null",
    "two objects": "{}{}",
    "nested 100,000 deep": "[" * 100_000,
    "nested and closed": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "a number too long": "9" * 100_000,
    "a line of two megabytes": '"' + "x" * 2_000_000 + '"',
}


@pytest.mark.parametrize("line", BAD_JSON.values(), ids=BAD_JSON)
def test_bad_json_is_rejected_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "scenes.jsonl"
    good = '{"image_url": "u", "scene_id": "a", "note": [{}]}'
    path.write_text("\n".join([good, "", line, good]))

    assert rows_of(path) == [
        (1, ("a", "u")),
        (3, RowCode.MALFORMED_JSON),
        (4, ("a", "u")),
    ]


def accounted_for(folder: Path) -> None:
    """A catalogue is read with every row accounted for, or refused in one line."""
    try:
        catalog = read_catalog(str(folder), "home")
    except InputError:
        return
    places = [(rejection.source, rejection.line) for rejection in catalog.rejections]
    places += [(pair.source, pair.line) for pair in catalog.pairs]
    assert len(set(places)) == len(places)
    kept = len(catalog.products) + len(catalog.scene_ids)
    assert len(places) + kept == catalog.rows_in


@pytest.mark.parametrize("kind", FORMATS)
def test_flipped_bytes_never_crash_the_reader(tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    write_tables(tmp_path, kind)
    for name, number in itertools.product(GOOD, range(60)):
        path = tmp_path / f"{name}.{kind}"
        good = path.read_bytes()
        bad = bytearray(good)
        for _ in range(1 + number % 8):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        path.write_bytes(bad[: rng.randrange(len(bad))] if number % 5 == 0 else bad)

        accounted_for(tmp_path)

        path.write_bytes(good)


any_lines = st.lists(
    st.one_of(
        st.text('",\n\r\ufeffa1\x00 ', max_size=12),
        st.sampled_from(["street 1,sku=1,0,0,0.5,0.5", '"street 1","sku=1",0,0,1,1']),
        st.just(json.dumps(dict(zip(COLUMNS["pairs"], GOOD["pairs"][0], strict=True)))),
        st.text(max_size=20),
    ),
    max_size=8,
)


@given(lines=any_lines, kind=st.sampled_from(["csv", "jsonl"]))
@example(lines=['"', '"'], kind="csv")
def test_rows_in_are_rows_out_plus_rejected_for_any_text(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], kind: str
) -> None:
    folder = tmp_path_factory.mktemp("tables", numbered=True)
    write_tables(folder, kind)
    path = folder / f"pairs.{kind}"
    text = path.read_text() + "\n".join(lines)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))

    accounted_for(folder)


def test_lines_are_the_same_whatever_the_size_of_the_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lines, "MAX_LINE_BYTES", 6)
    path = tmp_path / "text"
    path.write_bytes(b"a\r\nb\rc\n\n\r\r\nlong line\r\n123456\n12345\nend of it\r")
    expected = ["a", "b", "c", "", "", "", None, None, "12345", None]
    for size in range(1, 40):
        monkeypatch.setattr(text_lines, "_CHUNK_BYTES", size)

        lines = list(text_lines.read_lines(epath.Path(path)))

        assert lines == [*enumerate(expected, start=1)]


@pytest.mark.skipif(not STL.exists(), reason=f"{STL} is not on this machine")
@pytest.mark.parametrize("kind", FORMATS)
def test_products_of_the_real_home_catalogue_are_read_whole(
    tmp_path: Path, kind: str
) -> None:
    categories = json.loads((STL / "home-cat.json").read_text())
    write_tables(
        tmp_path,
        kind,
        {
            "products": [
                (name, category, f"https://a/{name}.jpg")
                for name, category in categories.items()
            ],
            "pairs": [("street 1", next(iter(categories)), 0.0, 0.0, 0.5, 0.5)],
        },
    )

    catalog = read_catalog(str(tmp_path), "home")

    assert catalog.products == categories
    assert len(catalog.products) == 41_306
    assert not catalog.rejections
