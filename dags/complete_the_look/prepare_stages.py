"""Stages before a model: a catalogue into a data set with features."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

from airflow.sdk import BaseOperator, task, task_group
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from complete_the_look.assets import CATALOG, DATASET
from complete_the_look.engines import ROOT, RUN_DATE, Run, beam_task, module_task
from complete_the_look.settings import current_settings


def preflight(dag_id: str, run: Run, **options: Any) -> BaseOperator:
    """Look at everything that could stop the run, before anything is paid for.

    Args:
        dag_id: which says what is needed.
        run: date and root; the date may be empty where there are several.
        **options: catalogue, domain, warehouse, backbone: what the DAG has of them.
    """
    settings = current_settings()
    return module_task(
        "preflight",
        "beam_jobs.preflight",
        run,
        timeout_h=1 + settings.preflight.catalog_wait_min / 60,
        options={
            "dag": dag_id,
            **options,
            "settings": json.dumps(dataclasses.asdict(settings)),
        },
        doc_md="""Check access, clock, disks, quotas and configuration; say what the run
will do and roughly what it costs. A catalogue that is not there yet is waited for as
long as the setting `preflight.catalog_wait_min` says.

**If this fails**: nothing has been started. Each line names a setting, its value, and
what is wrong with it. Mend it and clear the task.""",
    )


def fetch_images(run: Run, catalog: Any, domain: Any) -> BaseOperator:
    """Pictures of a catalogue into the image store."""
    return beam_task(
        "fetch_images",
        run,
        timeout_h=6,
        # A fetch that got too few pictures ends like one whose input is at fault, and
        # a host may come back.
        refusal_is_final=False,
        options={
            "catalog": catalog,
            "domain": domain,
            "image_host": "{{ params.image_host }}",
            "allow_hosts": "{{ params.allow_hosts }}",
            "contact": "{{ params.contact }}",
            "retry": "{{ params.retry }}",
        },
        inlets=[CATALOG],
        doc_md="""Fetch what the image store lacks.

**If this fails**: the last lines name the commonest codes and a URL of each. A host
that is down: clear the task when it is back, only missing pictures are asked for.""",
    )


def build_dataset(run: Run, catalog: Any, domain: Any) -> BaseOperator:
    """A catalogue and its pictures into a data set."""
    return beam_task(
        "build_dataset",
        run,
        timeout_h=4,
        options={
            "catalog": catalog,
            "domain": domain,
            "negative_strategy": "{{ params.negative_strategy }}",
        },
        inlets=[CATALOG],
        doc_md="""Crop, split, mine negatives, write TFRecord shards.

**If this fails**: an error about the catalogue names file, value and option; mend the
catalogue and clear the task, which is not tried again by itself. Where there is no
model for the `negative_strategy` `hard`, trigger the date again with `uniform`.
Half-written versions are cleared by the next try.""",
    )


def validate_dataset(run: Run) -> BaseOperator:
    """A data set and the last one that passed into a verdict."""
    return module_task(
        "validate_dataset",
        "beam_jobs.validate_dataset",
        run,
        options={"baseline": "{{ params.validation_baseline }}"},
        outlets=[DATASET],
        doc_md="""Judge the data set, alone and against the last one that passed.

**If this fails**: the last lines name each broken rule, its figure and what to do;
`runs/<date>/validation.json` has all figures. Nothing later has run, and yesterday's
champion and rankings stay in force. Mend the catalogue and clear from `fetch_images`,
or, where the jump is legitimate (a new catalogue, a dropped category), trigger the date
again with the parameter `validation_baseline` set to `none`: the absolute rules still
hold, and later nights compare with this data set.""",
    )


def extract_features(run: Run) -> BaseOperator:
    """A data set's pictures into cached features."""
    return beam_task(
        "extract_features",
        run,
        timeout_h=6,
        options={"backbone": "{{ params.backbone }}"},
        inlets=[DATASET],
        doc_md="""Run the frozen backbone over pictures that are not cached yet.

**If this fails**: out of memory means too many workers on one machine, each holds the
backbone. Clear the task; a complete segment is never computed again. An error about the
backbone is not tried again by itself: trigger the date with another `backbone`.""",
    )


@task(
    doc_md="""Skipped where the night has fetched and built the date already.

**If this fails**: the line says what is wrong with the asset event that asked for the
date; other dates go on. Make another event.""",
    execution_timeout=datetime.timedelta(minutes=10),
)
def unless_prepared(prepare: Any, refused: Any) -> None:
    """Whether a date is yet to be prepared, as `dates.exports_of` lists it."""
    if refused:
        raise AirflowFailException(refused)
    if not prepare:
        raise AirflowSkipException("the date is prepared already")


def prepare_catalog(
    run_date: Any = RUN_DATE,
    root: Any = ROOT,
    catalog: Any = "{{ params.catalog }}",
    domain: Any = "{{ params.domain }}",
) -> None:
    """Everything that a date needs before a model is trained or asked."""
    run = Run(root, run_date)
    (
        fetch_images(run, catalog, domain)
        >> build_dataset(run, catalog, domain)
        >> validate_dataset(run)
        >> extract_features(run)
    )


prepare = task_group(group_id="prepare", prefix_group_id=False)(prepare_catalog)
