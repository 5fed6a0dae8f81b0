"""The job: which data sets it compares, and what a verdict leaves behind."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from planted_dataset import PlantedDataset, healthy
from planted_faults import FAULTS

from beam_jobs.validate_dataset import main
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage

PROJECT = Path(__file__).resolve().parents[3]
FIRST, SECOND, THIRD = (datetime.date(2026, 1, day) for day in (5, 6, 7))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.of(str(tmp_path))


def build(
    root: Root,
    date: datetime.date,
    version: str,
    data: PlantedDataset | None = None,
    *,
    domain: str = "fashion",
) -> None:
    """A data set and the receipts of the stages before."""
    data = data or healthy()
    if not root.dataset(version).exists():
        data.write(root, version)
    root.write_receipt(date, Receipt(Stage.FETCH_IMAGES, {}, data.fetched, 1.0))
    outputs = {"dataset": version, "domain": domain}
    root.write_receipt(date, Receipt(Stage.BUILD_DATASET, outputs, {}, 1.0))


def faulty(*codes: str) -> PlantedDataset:
    data = healthy()
    for code in codes:
        FAULTS[code](data)
    return data


def validate(root: Root, date: datetime.date, *options: str) -> Receipt:
    main([f"--root={root.path}", f"--run_date={date}", *options])
    return root.receipt(date, Stage.VALIDATE_DATASET)


def verdict(root: Root, date: datetime.date) -> dict[str, Any]:
    path = root.path / "runs" / date.isoformat() / "validation.json"
    return json.loads(path.read_text())


def test_the_first_run_is_judged_without_a_baseline(root: Root) -> None:
    build(root, FIRST, "d1")
    receipt = validate(root, FIRST)
    assert receipt.outputs == {"dataset": "d1", "domain": "fashion", "baseline": "none"}
    assert receipt.notes == ()
    counts = receipt.counts
    assert counts["rules"] == counts["rules_kept"] + counts["rules_not_applied"]
    found = verdict(root, FIRST)
    assert found["passed"]
    assert found["anomalies"] == []
    assert set(found["not_applied"].values()) == {"no previous version to compare with"}


def test_a_later_run_is_compared_with_the_last_that_passed(root: Root) -> None:
    build(root, FIRST, "d1")
    build(root, SECOND, "d2", faulty("pairs_dropped_much"))
    build(root, THIRD, "d3", faulty("pairs_dropped"))
    validate(root, FIRST)
    with pytest.raises(InputError, match="pairs_dropped_much: Many of the pairs"):
        validate(root, SECOND)
    receipt = validate(root, THIRD)
    assert receipt.outputs["baseline"] == "d1"
    (note,) = (text for text in receipt.notes if "pairs_dropped:" in text)
    assert note.startswith("data validation: pairs_dropped: Pairs are gone. pairs is ")
    assert receipt.counts["rules_warned"] == len(receipt.notes)


def test_a_refusal_tells_every_broken_rule_and_leaves_no_receipt(root: Root) -> None:
    build(root, FIRST, "d1")
    validate(root, FIRST)
    # The same date again, with another data set: the old receipt must not stand.
    build(root, FIRST, "d2", faulty("ids_repeated", "negatives_wrong", "placeholders"))
    with pytest.raises(InputError) as error:
        validate(root, FIRST)
    head, *lines = str(error.value).splitlines()
    assert "data set d2 is refused by" in head
    assert "validation.json" in head
    codes = {line.strip().partition(":")[0] for line in lines}
    assert {"ids_repeated", "negatives_wrong"} <= codes
    assert "placeholders" not in codes  # a warning refuses nothing
    assert root.find_receipt(FIRST, Stage.VALIDATE_DATASET) is None
    found = verdict(root, FIRST)
    assert not found["passed"]
    assert {"placeholders", *codes} == {row["code"] for row in found["anomalies"]}
    anomalies = root.path / "runs" / FIRST.isoformat() / "anomalies.pbtxt"
    assert "ids_repeated[table=scenes]" in anomalies.read_text()


def test_a_rule_broken_in_many_slices_is_one_line(root: Root) -> None:
    data = healthy()
    for row in data.pairs:
        row["category"] = row["category"].upper()
    build(root, FIRST, "d1")
    build(root, SECOND, "d2", data)
    validate(root, FIRST)
    with pytest.raises(InputError) as error:
        validate(root, SECOND)
    (line,) = (text for text in str(error.value).splitlines() if "vanished" in text)
    assert "pairs category=bags is 0 against previous (800 there)" in line
    assert line.endswith("(and 3 more slices)")


def test_a_jump_is_accepted_by_comparing_with_nothing(root: Root) -> None:
    build(root, FIRST, "d1")
    build(root, SECOND, "d2", faulty("pairs_dropped_much"))
    build(root, THIRD, "d2")
    validate(root, FIRST)
    accepted = validate(root, SECOND, "--baseline=none")
    assert accepted.outputs["baseline"] == "none"
    assert any("--baseline=none" in note for note in accepted.notes)
    # And from then on it is what is compared with.
    assert validate(root, THIRD).outputs["baseline"] == "d2"


def test_what_is_wrong_in_itself_is_not_accepted_with_it(root: Root) -> None:
    build(root, FIRST, "d1", faulty("pairs_on_wrong_side"))
    with pytest.raises(InputError, match="pairs_on_wrong_side"):
        validate(root, FIRST, "--baseline=none")


def test_a_version_may_be_named_to_compare_with(root: Root) -> None:
    build(root, FIRST, "d1")
    build(root, SECOND, "d2", faulty("pairs_dropped_much"))
    with pytest.raises(InputError, match="compared with d1"):
        validate(root, SECOND, "--baseline=d1")
    with pytest.raises(InputError, match="--baseline 'd9' is no complete data set"):
        validate(root, SECOND, "--baseline=d9")


def test_only_earlier_runs_of_the_domain_count(root: Root) -> None:
    build(root, FIRST, "home1", domain="home")
    build(root, THIRD, "d3")
    build(root, SECOND, "d2")
    validate(root, FIRST)
    validate(root, THIRD)
    assert validate(root, SECOND).outputs["baseline"] == "none"
    assert validate(root, THIRD).outputs["baseline"] == "d2"


def test_a_baseline_that_was_removed_gives_way_to_the_one_before(root: Root) -> None:
    for date, version in ((FIRST, "d1"), (SECOND, "d2"), (THIRD, "d3")):
        build(root, date, version)
        validate(root, date)
    root.dataset("d2").rmtree()
    assert validate(root, THIRD).outputs["baseline"] == "d1"


def test_a_baseline_of_an_older_layout_is_told_and_not_compared_with(
    root: Root,
) -> None:
    build(root, FIRST, "d1")
    build(root, SECOND, "d2")
    validate(root, FIRST)
    path = root.dataset("d1") / "scenes.parquet"
    pq.write_table(pq.read_table(str(path)).drop_columns(["width"]), str(path))
    receipt = validate(root, SECOND)
    assert receipt.outputs["baseline"] == "none"
    (note,) = receipt.notes
    assert "d1 of 2026-01-05 cannot be compared with" in note


def test_the_same_date_again_gives_the_same_bytes(root: Root) -> None:
    build(root, FIRST, "d1")
    files = ("validation.json", "anomalies.pbtxt")
    folder = root.path / "runs" / FIRST.isoformat()
    validate(root, FIRST)
    first = [(folder / name).read_bytes() for name in files]
    validate(root, FIRST)
    assert [(folder / name).read_bytes() for name in files] == first


def test_tables_in_parts_give_the_figures_of_one_file(root: Root) -> None:
    build(root, FIRST, "d1")
    build(root, SECOND, "key=[2]")
    for name in ("pairs", "scenes", "products", "rejections"):
        path = root.dataset("key=[2]") / f"{name}.parquet"
        table = pq.read_table(str(path), partitioning=None)
        path.unlink()
        path.mkdir()
        half = len(table) // 2
        for number, part in enumerate((table[half:], table[:half])):
            pq.write_table(part, str(path / f"{number:05d}-of-00002.parquet"))
    validate(root, FIRST)
    validate(root, SECOND)
    statistics = [verdict(root, date)["statistics"] for date in (FIRST, SECOND)]
    assert statistics[0] == statistics[1]


def test_rules_of_ones_own_replace_the_projects(root: Root, tmp_path: Path) -> None:
    rules = tmp_path / "strict.yaml"
    rules.write_text(
        """
version: 1
rules:
  - {code: many_pairs, statistic: pairs, slice: all, comparison: min,
     threshold: 1000000, severity: fail, description: Too few., action: Find more.}
"""
    )
    build(root, FIRST, "d1")
    with pytest.raises(InputError, match=r"many_pairs: Too few\. pairs is 3,200; min"):
        validate(root, FIRST, f"--rules={rules}")


def test_a_date_without_a_data_set_names_the_stage(root: Root) -> None:
    with pytest.raises(InputError, match="stage build_dataset has not run"):
        validate(root, FIRST)


def test_a_data_set_that_was_not_finished_is_refused(root: Root) -> None:
    build(root, FIRST, "d1")
    (root.dataset("d1") / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"has no manifest\.json"):
        validate(root, FIRST)


def test_a_refusal_is_exit_code_two_and_no_traceback(root: Root) -> None:
    build(root, FIRST, "d1", faulty("ids_repeated"))
    result = subprocess.run(
        [
            *(sys.executable, "-m", "beam_jobs.validate_dataset"),
            *(f"--root={root.path}", f"--run_date={FIRST}"),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 2
    assert "error: data set d1 is refused by" in result.stderr
    assert "Traceback" not in result.stderr
