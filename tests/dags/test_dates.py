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
    return exports_of(events, {**PARAMS, **params}, today=TODAY, max_days_ahead=1)


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
    (export,) = exports(
        event(3, run_date="2026-11-26", root="/other", warehouse="/w.db")
    )
    assert export == {
        "root": "/other",
        "run_date": "2026-11-26",
        "catalog": "/catalog",
        "domain": "fashion",
        "warehouse": "/w.db",
        "prepare": False,
        "refused": "",
    }


def test_a_catalogue_that_somebody_brings_is_prepared_for_the_day_of_the_event() -> (
    None
):
    # Airflow adds a word of its own to events that come over its API.
    brought = {"catalog": "gs://b/new", "domain": "home", "from_rest_api": "True"}
    (export,) = exports(event(3, dag=None, **brought))
    assert export == {
        "root": "/runs",
        "run_date": "2026-11-27",
        "catalog": "gs://b/new",
        "domain": "home",
        "warehouse": "",
        "prepare": True,
        "refused": "",
    }


def test_events_that_gathered_are_all_done_each_date_once_as_the_newest_says() -> None:
    found = exports(
        event(5, run_date="2026-11-27"),
        event(4, run_date="2026-11-25", catalog="/first"),
        event(9, run_date="2026-11-25", catalog="/second"),
        event(3, run_date="2026-11-26"),
    )
    assert [(e["run_date"], e["catalog"]) for e in found] == [
        ("2026-11-25", "/second"),
        ("2026-11-26", "/catalog"),
        ("2026-11-27", "/catalog"),
    ]


def test_nights_of_one_date_under_two_roots_are_both_exported() -> None:
    found = exports(
        event(3, run_date="2026-11-26", root="/a"),
        event(4, run_date="2026-11-26", root="/b"),
    )
    assert [export["root"] for export in found] == ["/a", "/b"]


@pytest.mark.parametrize("hours", [(3, 4), (4, 3)])
def test_a_catalogue_that_somebody_brings_counts_over_the_night_of_its_date(
    hours: tuple[int, int],
) -> None:
    (export,) = exports(
        event(hours[0], dag=None, run_date="2026-11-26", catalog="/brought"),
        event(hours[1], run_date="2026-11-26"),
    )
    assert (export["catalog"], export["prepare"]) == ("/brought", True)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"run_date": "today"}, "run_date of an asset event 'today' is not a date"),
        ({"run_date": "2026-11-30"}, "run_date 2026-11-30 of an asset event is after"),
        ({"catalog": "new"}, "catalog 'new' of an asset event is neither"),
        ({"domain": "cars"}, "domain 'cars' of an asset event"),
        ({"root": "/elsewhere"}, "an asset event may not name root"),
        ({"warehouse": "../w"}, "an asset event may not name warehouse"),
    ],
)
def test_an_event_that_says_nonsense_is_told_and_keeps_no_other_from_its_export(
    extra: dict[str, str], told: str
) -> None:
    night = event(4, run_date="2026-11-20")
    good, bad = exports(event(3, dag=None, **extra), night)
    assert good["refused"] == ""
    assert bad["refused"].startswith(told)
