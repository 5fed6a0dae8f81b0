"""The asset events that a run is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from complete_the_look.dates import Event

if TYPE_CHECKING:
    from airflow.sdk import Asset


def events_of(context: Mapping[str, Any], *assets: Asset) -> list[Event]:
    """The events that started a run, and those that came after them.

    Airflow remembers of events that gather during a run the time of the first alone:
    the next run is given the events up to that one, and the later ones start no run of
    their own (3.3, `airflow.assets.manager`). So they are asked for here. One that
    another run is given as well is done twice, which changes nothing.

    Args:
        context: of a task that has the assets as inlets.
        *assets: that the DAG is scheduled by.

    Returns:
        In no order; none of a run by hand.
    """
    given = [
        e for of_asset in context["triggering_asset_events"].values() for e in of_asset
    ]
    if not given:
        return []
    oldest = min(event.timestamp for event in given)
    later = [
        event
        for asset in assets
        for event in context["inlet_events"][asset].after(oldest.isoformat())
    ]
    return [
        Event(event.source_dag_id, event.extra or {}, event.timestamp)
        for event in (*given, *later)
    ]
