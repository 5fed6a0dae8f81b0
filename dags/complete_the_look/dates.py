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
    events: Iterable[Event], params: Mapping[str, Any], *, today: datetime.date
) -> list[dict[str, Any]]:
    """The exports that events, or else the parameters, ask for, a date each.

    Events may have gathered while an earlier run went on; each of their dates is done
    once, as the newest event of the date says. Events of `nightly_retrain` are of dates
    that are fetched, built and checked already. Other events come from whoever brought
    a catalogue, and may name its `catalog`, `domain` and `run_date`.

    Args:
        events: that started the run; none of a run by hand.
        params: of the run.
        today: the date of what names none.

    Returns:
        In the order of the dates root, run_date, catalog, domain, warehouse, and
        `prepare`, whether the date is yet to be prepared.

    Raises:
        ValueError: an event names something that is no date or no place.
    """
    common = {name: params[name] for name in ("root", "catalog", "domain", "warehouse")}
    found: dict[str, dict[str, Any]] = {}
    for event in sorted(events, key=lambda event: event.time):
        extra = event.extra
        text = str(extra.get("run_date") or event.time.date().isoformat())
        run_date = _date("run_date of an asset event", text)
        told = {name: str(extra[name]) for name in common if extra.get(name)}
        is_new = event.source_dag != "nightly_retrain"
        export = _export({**common, **told}, run_date, prepare=is_new)
        _check_event(export)
        found[export["run_date"]] = export
    if found:
        return [found[run_date] for run_date in sorted(found)]
    run_date = _date("run_date", params["run_date"] or today.isoformat())
    return [_export(common, run_date, prepare=bool(params["prepare"]))]


def to_prepare(exports: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Root, run_date, catalog and domain of the exports that are yet to be prepared."""
    unprepared = [export for export in exports if export["prepare"]]
    return [
        _only(export, "root", "run_date", "catalog", "domain") for export in unprepared
    ]


def to_rank(exports: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Root, run_date and warehouse of the exports."""
    return [_only(export, "root", "run_date", "warehouse") for export in exports]


def _only(export: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: export[name] for name in names}


def _export(
    places: Mapping[str, str], run_date: datetime.date, *, prepare: bool
) -> dict[str, Any]:
    return {**places, "run_date": run_date.isoformat(), "prepare": prepare}


def _check_event(export: Mapping[str, Any]) -> None:
    for name in ("root", "catalog"):
        if not re.fullmatch(PLACE, export[name]):
            raise ValueError(
                f"{name} {export[name]!r} of an asset event is neither an absolute "
                "path nor a URL"
            )
    if export["domain"] not in ("fashion", "home"):
        raise ValueError(
            f"domain {export['domain']!r} of an asset event is neither fashion nor home"
        )


def _date(name: str, text: str) -> datetime.date:
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise ValueError(
            f"{name} {text!r} is not a date; write it as YYYY-MM-DD"
        ) from None
