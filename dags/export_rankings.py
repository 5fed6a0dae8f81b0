"""Rank, publish and report a date, when there is a new champion or a new catalogue.

Started by asset events, or by hand with a `run_date`. `nightly_retrain` tells of dates
that are prepared already: nothing is fetched or built twice. Whoever brings a catalogue
at another time creates an event of the asset `catalogue`, whose `extra` may name
`catalog`, `domain` and `run_date`; then the date is prepared first, and nothing is
trained. Events that gather while a run goes on are all done by the next one, a date
each; what is wrong with one fails its date alone.
"""

from __future__ import annotations

import datetime
from typing import Any

from airflow.sdk import DAG, Param, task, task_group
from complete_the_look import export_stages, prepare_stages
from complete_the_look.alerts import told_of_run
from complete_the_look.assets import CATALOG, CHAMPION
from complete_the_look.dates import START, exports_of
from complete_the_look.engines import Run
from complete_the_look.events import events_of
from complete_the_look.failures import default_args, refusals_are_final
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
    # Events for a DAG that is paused are lost.
    is_paused_upon_creation=False,
    **told_of_run("export_rankings", settings.alerts),
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

    @task(
        doc_md="""List what there is to export, a date each.

**If this fails**: the parameter `run_date` is no date. Trigger the DAG again.""",
        inlets=[CHAMPION, CATALOG],
        execution_timeout=datetime.timedelta(minutes=10),
    )
    def list_dates(**context: Any) -> list[dict[str, Any]]:
        """The dates, and what is asked for each."""
        dag_run = context["dag_run"]
        with refusals_are_final():
            return exports_of(
                events_of(context, CHAMPION, CATALOG),
                context["params"],
                today=(dag_run.logical_date or dag_run.run_after).date(),
                max_days_ahead=settings.preflight.max_days_ahead,
            )

    @task_group(prefix_group_id=False)
    def export(
        root: Any,
        run_date: Any,
        catalog: Any,
        domain: Any,
        warehouse: Any,
        prepare: Any,
        refused: Any,
    ) -> None:
        """Prepare a date if nobody has, rank it, publish it and write its report."""
        run = Run(root, run_date)
        (
            prepare_stages.unless_prepared(prepare, refused)
            >> prepare_stages.prepare(run_date, root, catalog, domain)
            >> export_stages.rank_catalog(run)
            >> export_stages.publish(run, warehouse)
            >> export_stages.report(run, warehouse)
        )

    dates = list_dates()
    (
        prepare_stages.preflight(
            "export_rankings",
            dated,
            warehouse="{{ params.warehouse }}",
            filters="{{ params.filters }}",
            attributes="{{ params.attributes }}",
        )
        >> dates
    )
    export.expand_kwargs(dates)
