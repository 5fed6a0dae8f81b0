"""Rank, publish and report a date, when there is a new champion or a new catalogue.

Started by asset events, or by hand with a `run_date`. `nightly_retrain` tells of dates
that are prepared already: nothing is fetched or built twice. Whoever brings a catalogue
at another time creates an event of the asset `catalogue`, whose `extra` may name
`catalog`, `domain` and `run_date`; then the date is prepared first, and nothing is
trained. Events that gather while a run goes on are all done by the next one, a date
each.
"""

from __future__ import annotations

import datetime
from typing import Any

from airflow.sdk import DAG, Param, task, task_group
from complete_the_look import export_stages, prepare_stages
from complete_the_look.assets import CATALOG, CHAMPION
from complete_the_look.dates import START, Event, exports_of, to_prepare, to_rank
from complete_the_look.engines import Run
from complete_the_look.failures import deadline, default_args
from complete_the_look.params import (
    DATE,
    place_params,
    prepare_params,
    ranking_params,
)
from complete_the_look.settings import current_settings

settings = current_settings()

with DAG(
    dag_id="export_rankings",
    description="Champion and catalogue → rankings → published tables → report",
    doc_md=__doc__,
    schedule=CHAMPION | CATALOG,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=datetime.timedelta(hours=24),
    deadline=deadline("export_rankings", settings.alerts),
    tags=["complete-the-look", "rankings"],
    default_args=default_args(
        settings.retries, settings.alerts, pool=settings.pools.jobs
    ),
    params={
        **place_params(settings),
        **prepare_params(settings),
        **ranking_params(settings),
        "run_date": Param(
            "",
            type="string",
            pattern=f"^({DATE})?$",
            description="Of a run by hand; empty for the day of the run",
        ),
        "prepare": Param(
            False,
            type="boolean",
            description="Whether a run by hand fetches and builds the date first",
        ),
    },
) as dag:
    dated = Run(
        run_date="{{ params.run_date or "
        "((dag_run.logical_date or dag_run.run_after) | ds) }}"
    )

    def asked_for(context: Any) -> list[dict[str, Any]]:
        """What the run is to export, a date each; see `exports_of`."""
        events = [
            Event(event.source_dag_id, event.extra, event.timestamp)
            for of_asset in context["triggering_asset_events"].values()
            for event in of_asset
        ]
        dag_run = context["dag_run"]
        today = (dag_run.logical_date or dag_run.run_after).date()
        return exports_of(events, context["params"], today=today)

    @task(
        doc_md="""List the dates that are yet to be fetched and built; most often none.

**If this fails**: an event's `extra` names something that is no date or no place; the
line says which. Trigger the DAG by hand with the parameters set.""",
        execution_timeout=datetime.timedelta(minutes=10),
    )
    def list_unprepared(**context: Any) -> list[dict[str, str]]:
        """What there is to prepare."""
        return to_prepare(asked_for(context))

    @task(
        doc_md="""List the dates to rank and publish.

**If this fails**: as with `list_unprepared`.""",
        execution_timeout=datetime.timedelta(minutes=10),
    )
    def list_dates(**context: Any) -> list[dict[str, str]]:
        """What there is to rank."""
        return to_rank(asked_for(context))

    @task_group(prefix_group_id=False)
    def export(root: Any, run_date: Any, warehouse: Any) -> None:
        """Rank a date, publish it and write its report."""
        run = Run(root, run_date)
        (
            export_stages.rank_catalog(run)
            >> export_stages.publish(run, warehouse)
            >> export_stages.report(run, warehouse)
        )

    unprepared, dates = list_unprepared(), list_dates()
    (
        prepare_stages.preflight(
            "export_rankings",
            dated,
            warehouse="{{ params.warehouse }}",
            filters="{{ params.filters }}",
            attributes="{{ params.attributes }}",
        )
        >> [unprepared, dates]
    )
    prepared = prepare_stages.prepare.expand_kwargs(unprepared)
    prepared >> export.expand_kwargs(dates)
