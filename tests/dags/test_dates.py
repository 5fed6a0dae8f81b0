"""Which dates a run is about."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from complete_the_look.dates import (
    MAX_DATES,
    Event,
    dates_between,
    exports_of,
    to_prepare,
    to_rank,
)

TODAY = datetime.date(2026, 11, 28)
PARAMS = {
    "root": "/runs",
    "catalog": "/catalog",
    "domain": "fashion",
    "warehouse": "",
    "run_date": "",
    "prepare": False,
}


def event(hour: int, dag: str | None = "nightly_retrain", **extra: str) -> Event:
    time = datetime.datetime(2026, 11, 27, hour, tzinfo=datetime.UTC)
    return Event(dag, extra, time)


def exports(*events: Event, **params: Any) -> list[dict[str, Any]]:
    return exports_of(events, {**PARAMS, **params}, today=TODAY)


def test_a_range_has_both_ends() -> None:
    assert dates_between("2026-02-27", "2026-03-01") == [
        *("2026-02-27", "2026-02-28", "2026-03-01")
    ]
    assert dates_between("2026-02-27", "2026-02-27") == ["2026-02-27"]


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ("2026-02-28", "2026-02-27", "last_date 2026-02-27 is before first_date"),
        ("2026-02-30", "2026-03-01", "first_date '2026-02-30' is not a date"),
        ("2026-02-01", "soon", "last_date 'soon' is not a date"),
        ("2016-02-01", "2026-02-01", f"are 3654 dates, and one run does at most {366}"),
    ],
)
def test_a_range_that_is_none_names_the_parameter(
    first: str, last: str, told: str
) -> None:
    assert MAX_DATES == 366
    with pytest.raises(ValueError, match=told):
        dates_between(first, last)


def test_a_run_by_hand_is_about_its_parameters() -> None:
    (export,) = exports(run_date="2026-11-02", prepare=True)
    assert (export["run_date"], export["prepare"]) == ("2026-11-02", True)
    (export,) = exports()
    assert (export["run_date"], export["prepare"]) == ("2026-11-28", False)


def test_a_night_has_prepared_its_date_and_says_where() -> None:
    found = exports(event(3, run_date="2026-11-26", root="/other", warehouse="/w.db"))
    assert to_prepare(found) == []
    assert to_rank(found) == [
        {"root": "/other", "run_date": "2026-11-26", "warehouse": "/w.db"}
    ]


def test_a_catalogue_that_somebody_brings_is_prepared_for_the_day_of_the_event() -> (
    None
):
    found = exports(event(3, dag=None, catalog="gs://b/new", domain="home"))
    assert to_prepare(found) == [
        {
            "root": "/runs",
            "run_date": "2026-11-27",
            "catalog": "gs://b/new",
            "domain": "home",
        }
    ]
    assert [export["run_date"] for export in to_rank(found)] == ["2026-11-27"]


def test_events_that_gathered_are_all_done_each_date_once_as_the_newest_says() -> None:
    found = exports(
        event(5, run_date="2026-11-27"),
        event(4, dag=None, run_date="2026-11-25"),
        event(9, run_date="2026-11-25"),
        event(3, run_date="2026-11-26"),
    )
    assert [(e["run_date"], e["prepare"]) for e in found] == [
        ("2026-11-25", False),
        ("2026-11-26", False),
        ("2026-11-27", False),
    ]


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"run_date": "today"}, "run_date of an asset event 'today' is not a date"),
        ({"catalog": "new"}, "catalog 'new' of an asset event is neither"),
        ({"root": "runs"}, "root 'runs' of an asset event is neither"),
        ({"domain": "cars"}, "domain 'cars' of an asset event"),
    ],
)
def test_an_event_that_says_nonsense_is_told(extra: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        exports(event(3, dag=None, **extra))
