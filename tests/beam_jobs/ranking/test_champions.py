"""Which model ranks a date."""

from __future__ import annotations

from pathlib import Path

import pytest

from beam_jobs.ranking.champions import find_model
from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Receipt, Root, Stage, parse_run_date

OLD, NEW = "2026-11-10-aaaaaaaa", "2026-11-20-bbbbbbbb"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """The old model was promoted, kept for some nights, and replaced."""
    root = Root.of(str(tmp_path))
    for date, champion in (
        ("2026-11-10", OLD),
        ("2026-11-11", OLD),
        ("2026-11-20", NEW),
    ):
        promoted(root, date, champion)
    point_to(root, NEW, OLD)
    return root


def point_to(root: Root, run_id: str, previous: str) -> None:
    storage.write_manifest(root.model(run_id), {})
    storage.write_json(root.champion, {"run_id": run_id, "previous": previous})


def promoted(root: Root, date: str, champion: str) -> None:
    receipt = Receipt(Stage.PROMOTE, {"champion": champion}, {}, 1.0)
    root.write_receipt(parse_run_date(date), receipt)


def model(root: Root, date: str, rank_with: str = "of_date") -> str | None:
    return find_model(root, parse_run_date(date), rank_with)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2026-11-10", OLD),
        ("2026-11-15", OLD),  # nothing ran that night
        ("2026-11-19", OLD),
        ("2026-11-20", NEW),
        ("2027-01-01", NEW),
    ],
)
def test_a_date_has_the_newest_champion_of_it_or_before(
    date: str, expected: str, root: Root
) -> None:
    assert model(root, date) == expected
    assert model(root, date, "present") == NEW


def test_a_date_that_was_run_again_later_keeps_its_champion(root: Root) -> None:
    # Its receipt then names the champion of the day on which it was run again.
    promoted(root, "2026-11-11", NEW)
    promoted(root, "2026-11-10", NEW)
    assert model(root, "2026-11-12") == OLD


def test_a_model_that_a_person_took_back_ranks_no_date(root: Root) -> None:
    pointer = {"run_id": OLD, "previous": NEW, "withdrawn": [NEW]}
    storage.write_json(root.champion, pointer)
    assert model(root, "2026-11-20") == OLD


def test_of_two_models_of_a_date_the_one_in_force_counts(root: Root) -> None:
    again = "2026-11-20-cccccccc"
    promoted(root, "2026-11-20", again)
    point_to(root, again, NEW)
    assert model(root, "2026-11-25") == again


def test_champion_whose_folder_is_gone_is_told_with_the_file_that_names_it(
    root: Root,
) -> None:
    root.model(NEW).rmtree()
    with pytest.raises(InputError) as told:
        model(root, "2026-11-25", "present")
    message = str(told.value)
    assert message.startswith(f"{root.champion} names model {NEW}, and ")
    assert f"{root.model(NEW)} is gone" in message
    assert "Roll back a model" in message  # of the runbook
    assert OLD in message  # what was in force before
    assert "did not finish" not in message


def test_before_the_first_champion_the_error_names_it_and_the_option(
    root: Root,
) -> None:
    told = f"no model was in force on 2026-11-09, the oldest champion is {OLD}; use"
    with pytest.raises(InputError, match=told):
        model(root, "2026-11-09")


def test_without_any_champion_there_is_none(tmp_path: Path) -> None:
    root = Root.of(str(tmp_path))
    assert model(root, "2026-11-09", "present") is None
    with pytest.raises(InputError, match="the oldest champion is none"):
        model(root, "2026-11-09")


def test_a_model_may_be_named(root: Root) -> None:
    root.model(OLD).mkdir(parents=True)
    assert model(root, "2026-11-28", OLD) == OLD
    with pytest.raises(InputError, match="--rank_with 'best' is neither present nor"):
        model(root, "2026-11-28", "best")
