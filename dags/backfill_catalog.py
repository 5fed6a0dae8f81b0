"""Publish a catalogue for a range of past dates, once a person has looked at it.

For every date, one after the other: what the catalogue brings that is not there yet is
fetched, built, checked and run through the backbone; the date is ranked with the
champion of that date, or the present one; and the tables are staged and checked beside
the published ones. Then one request waits for a person, with what would change. On
`Approve` every date is swapped in whole and its report written; on `Reject`, and when
nobody answers in the time of the setting `approval_wait_h`, what is staged is dropped.
Nothing is trained, no champion changes, and until somebody approves no reader sees any
of it.

To train for past dates instead, backfill the other DAG:
`airflow backfill create --dag-id nightly_retrain --from-date … --to-date …`.
"""

from __future__ import annotations

import datetime
from typing import Any

from airflow.sdk import DAG, Param, task, task_group
from complete_the_look import approval, export_stages, prepare_stages
from complete_the_look.alerts import told_of_run
from complete_the_look.dates import START, dates_between
from complete_the_look.engines import Run
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
    dag_id="backfill_catalog",
    description="Catalogue × past dates → staged tables → approval → swap",
    doc_md=__doc__,
    schedule=None,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=datetime.timedelta(hours=72 + settings.approval_wait_h),
    **told_of_run(
        "backfill_catalog", settings.alerts, waits_h=settings.approval_wait_h
    ),
    tags=["complete-the-look", "rankings"],
    default_args=default_args(
        settings.retries, settings.alerts, pool=settings.pools.jobs
    ),
    params={
        **place_params(settings),
        **prepare_params(settings),
        **ranking_params(settings),
        "first_date": Param(
            type="string", pattern=f"^{DATE}$", description="First date to publish"
        ),
        "last_date": Param(
            type="string", pattern=f"^{DATE}$", description="Last date to publish"
        ),
        "rank_with": Param(
            "of_date",
            enum=["of_date", "present"],
            description="The champion that was in force on each date, or today's",
        ),
    },
) as dag:
    last = Run(run_date="{{ params.last_date }}")

    @task(
        doc_md="""List the dates of the range.

**If this fails**: the range is empty or too long; the line names the parameter. Trigger
the DAG again with another.""",
        execution_timeout=datetime.timedelta(minutes=10),
    )
    def list_dates(**context: Any) -> list[str]:
        """Dates, in their order."""
        params = context["params"]
        with refusals_are_final():
            return dates_between(params["first_date"], params["last_date"])

    @task_group(prefix_group_id=False)
    def stage_date(run_date: Any) -> None:
        """Everything of a date up to tables that wait."""
        run = Run(run_date=run_date)
        (
            prepare_stages.prepare(run_date=run_date)
            >> export_stages.rank_catalog(run, rank_with="{{ params.rank_with }}")
            >> approval.stage_tables(run)
        )

    @task_group(prefix_group_id=False)
    def publish_date(run_date: Any) -> None:
        """Swap a date in, and write its report."""
        run = Run(run_date=run_date)
        approval.swap(run) >> export_stages.report(run, "{{ params.warehouse }}")

    dates = list_dates()
    asked = approval.ask_approval(approve="swap", reject="drop_staged")
    (
        prepare_stages.preflight(
            "backfill_catalog",
            last,
            catalog="{{ params.catalog }}",
            domain="{{ params.domain }}",
            warehouse="{{ params.warehouse }}",
            filters="{{ params.filters }}",
            attributes="{{ params.attributes }}",
        )
        >> dates
    )
    stage_date.expand(run_date=dates) >> asked
    asked >> [
        publish_date.expand(run_date=dates),
        approval.drop_date.expand(run_date=dates),
    ]
