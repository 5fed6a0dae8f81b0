"""Where things lie, and the receipts by which one stage finds what another made."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from etils import epath

from tfrecords_schema.errors import InputError, UnreachableError
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date

DATE = datetime.date(2026, 2, 28)
RECEIPT = Receipt(
    stage=Stage.TRAIN,
    outputs={"model": "2026-02-28-abc", "dataset": "fashion-1"},
    counts={"epochs": 3, "not_found": 0},
    seconds=1.25,
    reused=True,
    notes=("Gewichte: ✓", "second"),
)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.of(str(tmp_path / "run=[1] it's"))


@pytest.fixture
def no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bucket is out of reach."""

    def refuse(path: object) -> bool:
        raise OSError(f"Could not resolve host\n\t when reading {path}")

    monkeypatch.setattr(type(epath.Path("gs://looks")), "exists", refuse)


@pytest.mark.usefixtures("no_store")
def test_bucket_out_of_reach_is_told_in_one_line_with_the_option() -> None:
    with pytest.raises(UnreachableError) as raised:
        Root.of("gs://looks/prod")
    message = str(raised.value)
    assert message.startswith("--root gs://looks/prod cannot be reached")
    assert message.endswith("Could not resolve host when reading gs://looks/prod")


@pytest.mark.usefixtures("no_store")
def test_folder_is_not_asked_for(tmp_path: Path) -> None:
    assert Root.of(str(tmp_path / "later")).path == epath.Path(tmp_path / "later")


@pytest.mark.parametrize("value", ["s3://b/x", "foo://b", "gs://", "gs:///x"])
def test_root_in_another_kind_of_store_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=f"^--root {value} is neither a folder"):
        Root.of(value)


def test_receipt_survives_the_round_trip(root: Root) -> None:
    root.write_receipt(DATE, RECEIPT)

    assert root.receipt(DATE, Stage.TRAIN) == RECEIPT
    assert root.find_receipt(DATE, Stage.TRAIN) == RECEIPT


def test_receipt_is_replaced_when_a_stage_runs_again(root: Root) -> None:
    root.write_receipt(DATE, RECEIPT)
    again = Receipt(Stage.TRAIN, outputs={}, counts={}, seconds=0.0)
    root.write_receipt(DATE, again)

    assert root.receipt(DATE, Stage.TRAIN) == again


def test_receipts_of_other_dates_and_stages_are_not_taken(root: Root) -> None:
    root.write_receipt(DATE, RECEIPT)

    assert root.find_receipt(DATE + datetime.timedelta(1), Stage.TRAIN) is None
    assert root.find_receipt(DATE, Stage.EVALUATE) is None


def test_missing_receipt_says_which_stage_to_run_and_what_to_change(
    root: Root,
) -> None:
    with pytest.raises(InputError) as raised:
        root.receipt(DATE, Stage.BUILD_DATASET)

    message = str(raised.value)
    for part in ("build_dataset", "2026-02-28", str(root.path), "--root", "--run_date"):
        assert part in message
    assert "\n" not in message


def test_dates_of_runs_are_told_in_their_order_without_other_names(root: Root) -> None:
    assert root.run_dates() == []
    for day in (28, 3):
        root.write_receipt(datetime.date(2026, 2, day), RECEIPT)
    # Of a file manager, of a person, and a date that is not written as ours are.
    for name in (".DS_Store", "old 2026-02-01", "20260227"):
        (root.path / "runs" / name).mkdir()
    assert [date.day for date in root.run_dates()] == [3, 28]


def test_run_date_is_read() -> None:
    assert parse_run_date("2026-02-28") == DATE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-02-30",
        "2025-02-29",
        "28-02-2026",
        "2026/02/28",
        "20260228",
        "2026-02-28T00:00",
        " 2026-02-28",
        "2026-02-28\n",
        "today",
        "../../etc",
        "0000-01-01",
    ],
)
def test_bad_run_date_is_refused_with_its_value_and_option(text: str) -> None:
    with pytest.raises(InputError, match="--run_date") as raised:
        parse_run_date(text)

    assert repr(text) in str(raised.value)


def test_empty_root_is_refused_with_its_option() -> None:
    with pytest.raises(InputError, match="--root"):
        Root.of("")


def test_no_two_things_lie_at_one_path(root: Root) -> None:
    paths = [
        root.image_store,
        root.dataset("v"),
        root.backbone("v"),
        root.feature_store("v"),
        root.model("v"),
        root.champion,
        root.rankings("v"),
        root.warehouse,
        root.report(DATE),
    ]

    assert len(set(map(str, paths))) == len(paths)
    assert all(str(path).startswith(f"{root.path}/") for path in paths)
