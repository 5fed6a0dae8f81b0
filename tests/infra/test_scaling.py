"""The arithmetic of docs/scaling.md: by hand, by its units, and by how it grows."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from infra.scaling.__main__ import PRODUCTS, SCENES, detail, in_bytes, main, summary
from infra.scaling.estimate import Case, Stage, stages
from infra.scaling.figures import FILE, Figures, read_figures
from tfrecords_schema.errors import InputError

FIGURES = read_figures()
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"
WORK = ("core_s", "wait_s", "shuffle_bytes", "kept_bytes", "table_bytes")
ALL = (*WORK, "scanned_bytes", "memory_bytes")


def by_name(case: Case, figures: Figures = FIGURES) -> dict[str, Stage]:
    return {stage.name: stage for stage in stages(case, figures)}


def changed(section: str, name: str, factor: float) -> Figures:
    """The figures with one of them multiplied."""
    values = dict(getattr(FIGURES, section))
    values[name] *= factor
    return dataclasses.replace(FIGURES, **{section: values})


def test_chart_has_every_stage_that_computes(tmp_path: Path) -> None:
    main([f"--chart={tmp_path / 'chart.svg'}"])
    drawn = (tmp_path / "chart.svg").read_text()
    for stage in stages(Case(1e7, 1e7, 0.01), FIGURES):
        assert (stage.name in drawn) == (stage.core_s > 0)
    with pytest.raises(InputError, match="--chart needs --new_share above 0"):
        main([f"--chart={tmp_path / 'none.svg'}", "--new_share=0"])


def test_first_night_of_a_hundred_thousand_each_as_worked_by_hand() -> None:
    found = by_name(Case(1e5, 1e5, 1.0))
    fetch = found["fetch_images"]
    assert fetch.core_s == pytest.approx(200_000 / 208)
    assert fetch.wait_s == 200_000 / 50  # one host, 50 requests a second
    assert fetch.kept_bytes == 200_000 * 30_000
    assert fetch.memory_bytes == 200_000 * 2_600 + 86_000 * 660
    build = found["build_dataset"]
    assert build.memory_bytes == fetch.memory_bytes
    assert build.core_s == pytest.approx(86_000 / 161)
    assert build.kept_bytes == 86_000 * 205_000
    features = found["extract_features"]
    assert features.core_s == pytest.approx(200_000 / 5.95)
    assert features.kept_bytes == 100_000 * 104_448 + 100_000 * 4_096
    assert found["train"].core_s == pytest.approx(86_000 * 0.8 * 40 / 259)
    rank = found["rank_catalog"]
    assert rank.core_s == pytest.approx(1e10 / 318.5e6)
    assert rank.shuffle_bytes == 1_000_000 * 20 * 8  # one unit a query
    assert rank.memory_bytes == 200_000 * 200 + 1_000_000 * 8
    publish = found["publish"]
    assert publish.table_bytes == 1_000_000 * (20 * 250 + 620) * 30

    # 33,613 s are 9.337 core-hours at 0.060 + 4 × 0.0038, and 0.0931 GiB of shuffle.
    assert features.price(FIGURES) == pytest.approx(9.337 * 0.0752 + 0.001, abs=1e-3)
    # 4 cores for 6 hours do it.
    assert features.machines(FIGURES) == 1
    assert features.hours(FIGURES) == pytest.approx(9.337 / 4, abs=1e-3)
    # The host's limit, not the processor.
    assert fetch.hours(FIGURES) == pytest.approx(4_000 / 3_600)


@pytest.mark.parametrize(
    ("rate", "stage"),
    [
        ("fetch", "fetch_images"),
        ("build", "build_dataset"),
        ("features", "extract_features"),
        ("train", "train"),
        ("rank", "rank_catalog"),
    ],
)
def test_twice_the_rate_is_half_the_work_of_its_stage_and_of_no_other(
    rate: str, stage: str
) -> None:
    case = Case(1e6, 1e6)
    before, after = by_name(case), by_name(case, changed("rates", rate, 2))
    for name, found in after.items():
        factor = 0.5 if name == stage else 1
        assert found.core_s == pytest.approx(before[name].core_s * factor)


@pytest.mark.parametrize("price", sorted(FIGURES.prices))
def test_prices_are_linear_in_each_price(price: str) -> None:
    def total(figures: Figures) -> float:
        return sum(
            stage.price(figures) + stage.price_month(figures)
            for stage in stages(Case(1e6, 1e6), figures)
        )

    base = total(FIGURES)
    once, twice = (total(changed("prices", price, factor)) for factor in (2, 3))
    assert twice - base == pytest.approx(2 * (once - base))
    assert once > base


@pytest.mark.parametrize("size", sorted(FIGURES.sizes))
def test_bytes_are_linear_in_each_size_and_time_knows_none(size: str) -> None:
    case = Case(1e6, 1e6)
    before, after = by_name(case), by_name(case, changed("sizes", size, 2))
    assert any(after[name] != before[name] for name in before)
    for name, found in after.items():
        assert found.core_s == before[name].core_s
        assert found.wait_s == before[name].wait_s


@pytest.mark.parametrize("axis", ["scenes", "products", "new_share"])
def test_nothing_shrinks_when_the_catalogue_grows(axis: str) -> None:
    small = {"scenes": 1e5, "products": 1e5, "new_share": 0.01}
    before = by_name(Case(**small))
    for factor in (2, 10, 100):
        after = by_name(Case(**{**small, axis: small[axis] * factor}))
        for name, stage in after.items():
            for field in ALL:
                assert getattr(stage, field) >= getattr(before[name], field)
            assert stage.price(FIGURES) >= before[name].price(FIGURES)
        before = after


def test_ranking_grows_with_the_product_and_the_rest_with_the_sum() -> None:
    one, both = by_name(Case(1e6, 1e6)), by_name(Case(1e7, 1e7))
    for name, stage in both.items():
        factor = 100 if name == "rank_catalog" else 10
        assert stage.core_s == pytest.approx(factor * one[name].core_s)


def test_a_night_with_little_new_fetches_and_computes_little() -> None:
    first, usual = by_name(Case(1e6, 1e6, 1.0)), by_name(Case(1e6, 1e6, 0.01))
    for name in ("fetch_images", "extract_features"):
        assert usual[name].core_s == pytest.approx(first[name].core_s / 100)
        assert usual[name].kept_bytes == first[name].kept_bytes
    for name in ("build_dataset", "train", "rank_catalog", "publish"):
        assert usual[name] == first[name]


def test_processes_that_plan_hold_every_picture_however_few_are_new() -> None:
    """2·10⁷ pictures take 52 GB, and the machine has 34."""
    found = by_name(Case(1e7, 1e7, 0.01))
    for name in ("fetch_images", "build_dataset"):
        assert not found[name].fits
        assert by_name(Case(5e6, 5e6, 0.01))[name].fits


def test_every_rate_names_its_row_of_the_benchmarks() -> None:
    content = yaml.safe_load(FILE.read_text())
    documents = "".join(
        (DOCUMENT.parent / name).read_text()
        for name in ("data-plane.md", "performance.md", "ranking.md")
    )
    for rate in content["rates"].values():
        assert f"`{rate['row'].split(',')[0]}`" in documents
    for price in content["prices"].values():
        assert re.fullmatch(r"20\d\d-\d\d", str(price["date"]))
        assert price["source"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "–"), (999, "1,000 B"), (1e9, "1.0 GB"), (6.04e12, "6.0 TB"), (4e13, "40 TB")],
)
def test_sizes_are_told_with_two_digits(value: float, text: str) -> None:
    assert in_bytes(value) == text


def test_document_holds_the_tables_as_they_are_printed() -> None:
    text = DOCUMENT.read_text()
    share = FIGURES.catalog["new_share"]
    for table in (
        summary(FIGURES, new_share=1.0),
        summary(FIGURES, new_share=share),
        detail(Case(1e7, 1e7, share), FIGURES),
    ):
        assert "\n".join(table) in text


def test_every_size_is_in_the_summary() -> None:
    lines = list(summary(FIGURES, new_share=1.0))
    assert len(lines) == 2 + len(SCENES) * len(PRODUCTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--new_share", "2"], "--new_share 2.0"),
        (["--scenes", "10"], "together"),
        (["--scenes", "0", "--products", "5"], "--scenes 0.0"),
    ],
)
def test_size_that_is_none_is_told(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        main(arguments)


def test_one_catalogue_is_told_stage_by_stage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--scenes", "30000", "--products", "38000"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[2:]] == [
        stage.name for stage in stages(Case(1, 1), FIGURES)
    ]
