"""Which dates a run is about: of its parameters, or of the events that started it."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Iterable, Mapping
from typing import Any

from complete_the_look.environment import PLACE

START = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
"""Airflow calls a run of an earlier logical date a success without running a task."""

_PLACES = ("root", "catalog", "domain", "warehouse")
_OF_NIGHTS = ("root", "warehouse")  # what a night alone may say, whose run was checked

MAX_DATES = 366
"""Of one backfill: a typing error in a year should not rank for a month."""


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """An asset event that started a run.

    Attributes:
        source_dag: that made it; None where somebody told Airflow's API.
        extra: what it says.
        time: when it was made.
    """

    source_dag: str | None
    extra: Mapping[str, Any]
    time: datetime.datetime


def dates_between(first: str, last: str) -> list[str]:
    """Every date of a range, both ends in it.

    Raises:
        ValueError: naming the parameter.
    """
    start, end = _date("first_date", first), _date("last_date", last)
    days = (end - start).days + 1
    if days < 1:
        raise ValueError(f"last_date {last} is before first_date {first}")
    if days > MAX_DATES:
        raise ValueError(
            f"first_date {first} to last_date {last} are {days} dates, and one run "
            f"does at most {MAX_DATES}"
        )
    return [(start + datetime.timedelta(days=n)).isoformat() for n in range(days)]


def exports_of(
    events: Iterable[Event],
    params: Mapping[str, Any],
    *,
    today: datetime.date,
    max_days_ahead: int,
) -> list[dict[str, Any]]:
    """The exports that events, or else the parameters, ask for, one a root and date.

    Events may have gathered while an earlier run went on; each of their dates is done
    once, as the newest event of the date says. Events of `nightly_retrain` are of dates
    that are fetched, built and checked already. Other events come from whoever brought
    a catalogue, and may name its `catalog`, `domain` and `run_date`; of these and a
    night's of the same date they count, as they ask for more.

    Args:
        events: that started the run; none of a run by hand.
        params: of the run.
        today: the date of what names none.
        max_days_ahead: by which an event's date may lie in the future.

    Returns:
        In the order of the dates root, run_date, catalog, domain, warehouse; `prepare`,
        whether the date is yet to be prepared; and `refused`, what is wrong with an
        event, empty where nothing is.

    Raises:
        ValueError: the parameter `run_date` is no date.
    """
    places = {name: params[name] for name in _PLACES}
    latest = today + datetime.timedelta(days=max_days_ahead)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for event in sorted(events, key=lambda event: event.time):
        export = _export_of(event, places, latest=latest)
        key = export["root"], export["run_date"]
        if not (key in found and found[key]["prepare"] and not export["prepare"]):
            found[key] = export
    if found:
        return sorted(found.values(), key=lambda export: export["run_date"])
    run_date = _date("run_date", params["run_date"] or today.isoformat())
    by_hand = {"run_date": run_date.isoformat(), "prepare": bool(params["prepare"])}
    return [{**places, **by_hand, "refused": ""}]


def _export_of(
    event: Event, places: Mapping[str, str], *, latest: datetime.date
) -> dict[str, Any]:
    """What one event asks for."""
    told = {name: str(value) for name, value in event.extra.items() if value}
    export = {
        **places,
        **{name: told[name] for name in _PLACES if name in told},
        "run_date": told.get("run_date") or event.time.date().isoformat(),
        "prepare": event.source_dag != "nightly_retrain",
    }
    return {**export, "refused": _refusal(export, told, latest=latest)}


def _refusal(
    export: Mapping[str, Any], told: Mapping[str, str], *, latest: datetime.date
) -> str:
    """Why an event is not followed, or nothing.

    Airflow checks a run's parameters, and nobody an event's.
    """
    if export["prepare"] and (named := [n for n in _OF_NIGHTS if n in told]):
        return f"an asset event may not name {named[0]}; set it for the environment"
    if not re.fullmatch(PLACE, export["catalog"]):
        return (
            f"catalog {export['catalog']!r} of an asset event is neither an absolute "
            "path nor a URL"
        )
    if export["domain"] not in ("fashion", "home"):
        return (
            f"domain {export['domain']!r} of an asset event is neither fashion nor home"
        )
    try:
        run_date = _date("run_date of an asset event", export["run_date"])
    except ValueError as error:
        return str(error)
    if run_date > latest:
        return (
            f"run_date {run_date} of an asset event is after {latest}; see "
            "preflight.max_days_ahead of the settings file"
        )
    return ""


def _date(name: str, text: str) -> datetime.date:
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise ValueError(
            f"{name} {text!r} is not a date; write it as YYYY-MM-DD"
        ) from None
