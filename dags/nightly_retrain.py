"""Nightly retraining: from a catalogue to a champion, one task per stage.

Wiring only. The jobs are modules named in commands; what they find is under the root,
through the receipts of the run's date (`tfrecords_schema.layout`). Running a date again
redoes nothing that is complete and replaces nothing but that date.

Rankings are not made here. A night ends in one asset event at most: `champion` when a
model was promoted, else `catalogue` when the old champion has something new to rank;
either starts `export_rankings` for this date. A night on which nothing is new is green,
with its training skipped, and starts nothing.
"""

from __future__ import annotations

import datetime

from airflow.sdk import DAG, Param, task_group
from complete_the_look import prepare_stages, train_stages
from complete_the_look.alerts import told_of_run
from complete_the_look.dates import START
from complete_the_look.engines import Run
from complete_the_look.failures import default_args
from complete_the_look.params import place_params, prepare_params
from complete_the_look.settings import current_settings

settings = current_settings()

with DAG(
    dag_id="nightly_retrain",
    description="Catalogue → data set → model → gate → champion",
    doc_md=__doc__,
    schedule=settings.schedule,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=datetime.timedelta(hours=24),
    **told_of_run("nightly_retrain", settings.alerts),
    tags=["complete-the-look", "training"],
    default_args=default_args(
        settings.retries, settings.alerts, pool=settings.pools.jobs
    ),
    params={
        **place_params(settings),
        **prepare_params(settings),
        "preset": Param("paper", type="string", minLength=1, description="The model"),
        "skip_unchanged": Param(
            "scheduled",
            enum=["scheduled", "always", "never"],
            description="Which runs do not train when nothing is new",
        ),
    },
) as dag:
    run = Run()

    @task_group(prefix_group_id=False)
    def learn() -> None:
        """Train a model, and make it the champion if it is fit to be."""
        (
            train_stages.train(run)
            >> train_stages.evaluate(run)
            >> train_stages.gate(run)
            >> train_stages.promote(run)
        )

    (
        prepare_stages.preflight(
            "nightly_retrain",
            run,
            catalog="{{ params.catalog }}",
            domain="{{ params.domain }}",
            warehouse="{{ params.warehouse }}",
        )
        >> prepare_stages.prepare()
        >> train_stages.what_is_new(run)
        >> learn()
        >> train_stages.offer_catalog(run)
    )
