"""Which asset events a run hears of."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from complete_the_look.assets import CATALOG, CHAMPION
from complete_the_look.events import events_of


@dataclasses.dataclass
class Told:
    """An event as Airflow hands it over."""

    timestamp: datetime.datetime
    source_dag_id: str | None = "nightly_retrain"
    extra: dict[str, Any] | None = None


class Inlet(list[Told]):
    """The events of an asset, of which those after a time can be asked for."""

    def after(self, time: str) -> list[Told]:
        return [e for e in self if e.timestamp >= datetime.datetime.fromisoformat(time)]


def at(hour: int) -> datetime.datetime:
    return datetime.datetime(2026, 11, 27, hour, tzinfo=datetime.UTC)


def hours_of(
    given: list[Told], champions: list[Told], catalogs: list[Told]
) -> set[int]:
    context = {
        "triggering_asset_events": {CHAMPION: given},
        "inlet_events": {CHAMPION: Inlet(champions), CATALOG: Inlet(catalogs)},
    }
    return {event.time.hour for event in events_of(context, CHAMPION, CATALOG)}


def test_events_that_airflow_does_not_hand_over_are_asked_for() -> None:
    # It remembers when the first came while a run went on, and no later ones.
    early, first, later, other = Told(at(1)), Told(at(3)), Told(at(4)), Told(at(5))
    assert hours_of([first], [early, first, later], [other]) == {3, 4, 5}


def test_a_run_by_hand_is_about_no_event() -> None:
    assert hours_of([], [Told(at(3))], [Told(at(4))]) == set()


def test_an_event_may_say_nothing() -> None:
    context = {
        "triggering_asset_events": {CATALOG: [Told(at(3), None, None)]},
        "inlet_events": {CHAMPION: Inlet(), CATALOG: Inlet()},
    }
    (event,) = events_of(context, CHAMPION, CATALOG)
    assert (event.source_dag, event.extra) == (None, {})
