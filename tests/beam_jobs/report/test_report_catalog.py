"""The report's lists, marks, coverage, history and failures."""

from __future__ import annotations

import datetime
import io
import itertools
import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from PIL import Image
from report_world import (
    BEFORE,
    BEFORE_RANKED,
    HATS,
    HOSTILE,
    NOW_RANKED,
    RUN_DATE,
    RUN_ID,
    SCENES,
    SHOES,
    Reader,
    evaluation_rows,
    publish_rows,
    published_run,
    ranked_rows,
    report,
    write_attention,
    write_pictures,
    write_rankings,
)

from beam_jobs.report.catalog_facts import FailureExample, ListedProduct, PastFigure
from beam_jobs.report.failures import grouped
from beam_jobs.report.history import history_chart
from beam_jobs.report.looks import TOP_PRODUCTS, marks_before, marks_now
from beam_jobs.report.pictures import TILE_PX, PictureBook, heat_layer
from beam_jobs.report.sampling import (
    MAX_LISTS,
    MAX_SCENES,
    sample_lists,
    sample_scenes,
)
from tfrecords_schema import dataset_tables, storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Root
from tfrecords_schema.records import ImageRecord
from tfrecords_schema.segments import SegmentStore


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return published_run(tmp_path)


def products(*ids: str) -> list[ListedProduct]:
    return [ListedProduct(rank, name, None) for rank, name in enumerate(ids, start=1)]


def test_marks_say_what_entered_left_and_moved() -> None:
    now, before = products(*NOW_RANKED), products(*BEFORE_RANKED)
    assert {key: mark.text for key, mark in marks_now(now, before).items()} == {
        "p1": "▲ 1",
        "p2": "▼ 1",
        "p3": "=",
        "p4": "new",
    }
    assert {key: mark.text for key, mark in marks_before(now, before).items()} == {
        "p2": "→ 2",
        "p1": "→ 1",
        "p3": "=",
        "p9": "left",
    }
    assert marks_now(now, None) == {}


def test_lists_stand_beside_those_of_the_date_before(root: Root) -> None:
    page = report(root)
    articles = re.findall('<article class="scene look".*?</article>', page, re.S)
    assert len(articles) == 2 * len(SCENES)
    for article in articles:
        text = Reader(article).text
        assert f"This run {RUN_DATE} 1 ▲ 1 moved up from rank 2 p1" in text
        assert f"Before {BEFORE} 1 → 2 today at rank 2 p2" in text
        assert "4 left left the list p9" in text
        assert "not among the first 6 before: 1 of 4" in text
        # The scene, its attention, four products now and four before.
        assert article.count("<img") == 10
    assert "10 of 10 lists are shown: 5 of 5 scenes" in Reader(page).text


def test_lists_of_another_domain_are_not_the_date_before(root: Root) -> None:
    with duckdb.connect(str(root.warehouse)) as connection:
        connection.execute("UPDATE rankings SET domain = 'home'")
    text = Reader(report(root)).text
    assert "The warehouse has no earlier date to compare with." in text


def test_list_that_is_new_today_has_no_marks(root: Root) -> None:
    with duckdb.connect(str(root.warehouse)) as connection:
        connection.execute("DELETE FROM rankings")
    publish_rows(
        root, "rankings", ranked_rows(BEFORE, BEFORE_RANKED, scenes=SCENES[:1])
    )
    text = Reader(report(root)).text
    assert text.count(f"no such list on {BEFORE}") == 2 * (len(SCENES) - 1)


def test_run_without_a_warehouse_has_lists_and_no_comparison(root: Root) -> None:
    root.warehouse.unlink()
    text = Reader(report(root)).text
    assert "10 of 10 lists are shown" in text
    assert "The warehouse has no earlier date to compare with." in text
    assert "No date's evaluation is published" in text.replace("’", "'")
    assert not root.warehouse.exists()


def test_warehouse_that_was_given_has_the_date_before(
    root: Root, tmp_path: Path
) -> None:
    page = report(root)
    root.warehouse.rename(tmp_path / "shop.duckdb")
    assert report(root) != page
    assert report(root, "--warehouse", str(tmp_path / "shop.duckdb")) == page


def test_warehouse_that_was_given_and_is_not_there_is_an_error(
    root: Root, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no\.duckdb does not exist; publish"):
        report(root, "--warehouse", str(tmp_path / "no.duckdb"))
    assert not (tmp_path / "no.duckdb").exists()


def test_warehouse_that_is_none_is_named(root: Root) -> None:
    root.warehouse.write_text("not a database, whatever its name says")
    with pytest.raises(InputError, match=r"warehouse\.duckdb cannot be read"):
        report(root)


def test_warehouse_that_is_a_table_of_another_kind_is_named(
    root: Root, tmp_path: Path
) -> None:
    (tmp_path / "offers.csv").write_text("product_id,price\nshoe-a,10\n")
    with pytest.raises(InputError, match=r"offers\.csv is no DuckDB file"):
        report(root, "--warehouse", str(tmp_path / "offers.csv"))


def test_model_without_attention_says_so_and_draws_none(root: Root) -> None:
    manifest = {"preset": "best", "config": {"method": "closed_form"}}
    storage.write_json(root.model(RUN_ID) / "manifest.json", manifest)
    page = report(root)
    assert page.count("Model “best” has no attention") == 1, "of the lists"
    assert "This model looks at that part as a whole." in page, "of the examples"
    assert 'class="layer"' not in page
    assert "data:image/png" not in page
    assert 'id="filter-attention"' not in page


def test_rankings_without_attention_say_so(root: Root) -> None:
    (root.rankings("r1") / "query_attention-00000-of-00001.parquet").unlink()
    page = report(root)
    assert "Where the model looked was not written with these rankings." in page
    assert 'class="layer"' not in page


def test_attention_of_a_wrong_size_says_why() -> None:
    assert "3 attention weights do not fill" in heat_layer(2, [0.3] * 3).reason
    assert heat_layer(2, [0.25] * 4).uri.startswith("data:image/png;base64,")


def test_ranking_file_without_a_column_is_named(root: Root) -> None:
    folder = root.rankings("r1")
    (folder / "queries.parquet").copy(
        folder / "query_attention-00000-of-00001.parquet", overwrite=True
    )
    with pytest.raises(InputError, match=r"query_attention-.* has no column attention"):
        report(root)


def test_coverage_counts_all_lists_and_products(root: Root) -> None:
    text = Reader(report(root)).text
    # Five scenes with four products each, of eight; p1 leads everywhere.
    assert "Hats Apparel 5 of 5 4 of 8 1" in text


def test_history_has_each_dates_own_model_only(root: Root) -> None:
    late = RUN_DATE + datetime.timedelta(days=1)
    publish_rows(root, "model_evaluations", evaluation_rows(late, 0.9))
    reader = Reader(report(root))
    (label,) = (
        attributes["aria-label"]
        for tag, attributes in reader.tags
        if tag == "svg" and " by run date" in attributes.get("aria-label", "")
    )
    assert label == (
        f"Binary accuracy by run date; {BEFORE}: 0.600, 0.550 to\u00a00.650, "
        f"model model-of-{BEFORE}; {RUN_DATE}: 0.700, 0.650 to\u00a00.750, "
        f"model model-of-{RUN_DATE}"
    )
    assert f"{RUN_DATE} paper model-of-{RUN_DATE} 0.700" in reader.text


@pytest.mark.parametrize("n_dates", [1, 2, 7, 60])
def test_labels_of_dates_keep_apart(n_dates: int) -> None:
    days = [BEFORE + datetime.timedelta(days=n) for n in range(n_dates)]
    figures = [PastFigure(day, "m", "paper", "mrr", 0.5, 0.4, 0.6, 9) for day in days]
    chart = history_chart("MRR", figures)
    places = [tick.at for tick in chart.x_ticks]
    assert chart.x_ticks[-1].label == days[-1].isoformat()
    assert all(b - a >= 62 for a, b in itertools.pairwise(places))
    assert max(places) + 31 <= chart.width


def test_failures_are_told_by_reason_with_examples(root: Root) -> None:
    text = Reader(report(root)).text
    assert f"not found product picture 1 {HOSTILE[:39]}… HTTP 404" in text


def test_what_could_not_be_ranked_is_told(root: Root) -> None:
    row = {"kind": "scene", "id": "s7", "code": "not_finite", "detail": "no numbers"}
    storage.write_atomic(
        root.rankings("r1") / "rejections.parquet",
        dataset_tables.arrow_bytes(pa.Table.from_pylist([row])),
    )
    assert "not finite scene in ranking 1 s7 no numbers" in Reader(report(root)).text


def test_failures_come_by_frequency_with_three_examples() -> None:
    rare = [("row", "bad_box", FailureExample("line 1", ""))]
    many = [
        ("picture", "timed_out", FailureExample(f"p{n}", ""))
        for n in reversed(range(9))
    ]
    first, second = grouped([*rare, *many])
    assert (first.code, first.count, second.code) == ("timed_out", 9, "bad_box")
    assert [example.subject for example in first.examples] == ["p0", "p1", "p2"]


@pytest.mark.parametrize("n_categories", [1, 8, 64, 3000])
def test_sample_is_bounded_whatever_the_catalogue(n_categories: int) -> None:
    scenes = [f"scene-{n}" for n in range(500)]
    categories = [f"c{n}" for n in range(n_categories)]
    chosen = sample_scenes(scenes, n_categories)
    lists = sample_lists(chosen, categories)
    assert len(chosen) <= MAX_SCENES
    assert 0 < len(lists) <= MAX_LISTS
    assert len(set(lists)) == len(lists)
    assert {scene for scene, _ in lists} == set(chosen)


def test_sample_does_not_follow_the_order_of_its_input() -> None:
    scenes = [f"scene-{n}" for n in range(200)]
    assert sample_scenes(scenes, 8) == sample_scenes(reversed(scenes), 8)
    # Most of a night's scenes are there the next night, with others beside them.
    grown = sample_scenes([*scenes, "another"], 8)
    assert len(set(grown) & set(sample_scenes(scenes, 8))) >= 7


def test_gallery_stays_under_ten_megabytes_with_pictures_of_noise(
    tmp_path: Path,
) -> None:
    """The bound of docs/report.md: noise is what JPEG makes least of."""
    root = Root.of(str(tmp_path))
    buffer = io.BytesIO()
    Image.effect_noise((400, 400), 90).convert("RGB").save(buffer, "JPEG", quality=95)
    noise = ImageRecord("a" * 64, buffer.getvalue(), 400, 400)
    write_pictures(root, [noise])
    book = PictureBook(SegmentStore(root.image_store))
    tile = len(book.thumbnail(noise.sha256, px=TILE_PX).uri)
    scene = len(book.thumbnail(noise.sha256).uri)
    layer = len(heat_layer(7, [n / 1176 for n in range(49)]).uri)
    assert scene > tile > layer > 0
    assert MAX_LISTS * (2 * TOP_PRODUCTS * tile + scene + layer) < 10_000_000


def test_hostile_category_is_text_everywhere(root: Root) -> None:
    reader = Reader(report(root))
    options = [a["value"] for tag, a in reader.tags if tag == "option"]
    assert {HATS, SHOES, *SCENES} <= set(options)
    assert not {"alert", "onerror"} & {name for _, a in reader.tags for name in a}
    articles = [a for tag, a in reader.tags if tag == "article" and "data-entry" in a]
    assert {a["data-scene"] for a in articles} == {*SCENES}


def test_list_without_products_is_shown_empty(root: Root) -> None:
    root.rankings("r1").rmtree()
    write_rankings(root, products=())
    write_attention(root)
    text = Reader(report(root)).text
    assert text.count("No product.") == 2 * len(SCENES)
    assert "Hats Apparel 0 of 5 0 of 8 0" in text
