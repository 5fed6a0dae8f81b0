"""The stages of the system as tasks: what each runs, and what to do when it fails."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from airflow.sdk import BaseOperator, TriggerRule, task_group

from complete_the_look.assets import CATALOG, CHAMPION, DATASET, RANKINGS
from complete_the_look.engines import (
    ROOT,
    RUN_DATE,
    Run,
    beam_task,
    module_task,
    training_task,
    warehouse_task,
)
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


def what_is_new(run: Run) -> BaseOperator:
    """Whether training could give another model than the last one."""
    return module_task(
        "what_is_new",
        "trainer.news",
        run,
        options={
            "preset": "{{ params.preset }}",
            "skip_unchanged": "{{ 'yes' if params.skip_unchanged == 'always' or "
            "(params.skip_unchanged == 'scheduled' and dag_run.run_type == 'scheduled')"
            " else 'no' }}",
        },
        inlets=[DATASET],
        doc_md="""Skip the training where nothing it follows from has changed.

Skipped when data set, features, configuration and code are those of a model that the
gate has judged against today's champion already: the same model would come of it. Runs
by hand and backfills train all the same, unless `skip_unchanged` is `always`.

**If this fails**: a receipt of `build_dataset` or `extract_features` is missing; clear
from there.""",
    )


def train(run: Run) -> BaseOperator:
    """A data set and its features into a model."""
    return training_task(
        "train",
        "trainer.task",
        run,
        timeout_h=6,
        options={"preset": "{{ params.preset }}"},
        inlets=[DATASET],
        doc_md="""Train the style embedding.

**If this fails**: the last line names the figure and the option of `trainer.task`. Run
that module by hand with the option set to find a value that works, then make it the
default in `trainer/presets.py`. Yesterday's champion stays in force. A training that
was killed goes on from its last checkpoint.""",
    )


def evaluate(run: Run) -> BaseOperator:
    """A model into figures."""
    return module_task(
        "evaluate",
        "trainer.evaluate",
        run,
        doc_md="""Measure the model and the baselines on held-out scenes.

**If this fails**: the model is complete; clear the task. To measure again on purpose,
or after an upgrade that measures otherwise, remove `models/<run_id>/metrics.json` and
start again: what is measured is not replaced. If features are missing, clear
`extract_features` too.""",
    )


def gate(run: Run) -> BaseOperator:
    """Figures into a verdict."""
    return module_task(
        "gate",
        "trainer.gate",
        run,
        doc_md="""Decide whether the model may replace the champion.

Succeeds whatever the verdict; `models/<run_id>/gate.json` says why. **If this fails**:
a metric is missing or no number, or the metrics are another model's. Remove
`models/<run_id>/metrics.json` and clear from `evaluate`.""",
    )


def promote(run: Run) -> BaseOperator:
    """A verdict into a champion."""
    return module_task(
        "promote",
        "trainer.promote",
        run,
        outlets=[CHAMPION],
        event_extra=_handed_over(run),
        doc_md="""Make the model the champion; skipped when the gate refused it.

Its asset event starts `export_rankings` for this date; there is none when it is
skipped.

**If this fails**: the pointer `models/champion.json` still names the old champion. If
the line says that `gate.json` is about other metrics, the model was evaluated anew:
clear from `gate`. Else the pointer could not be replaced: clear the task.""",
    )


def offer_catalog(run: Run) -> BaseOperator:
    """Have the old champion rank what is new, where there is no new one."""
    return module_task(
        "offer_catalog",
        "beam_jobs.offer_catalog",
        run,
        options={
            # A skipped task has no result.
            "promoted": _has_result("promote"),
            "trained": _has_result("gate"),
        },
        trigger_rule=TriggerRule.NONE_FAILED,
        outlets=[CATALOG],
        event_extra=_handed_over(run),
        doc_md="""Hand the night's catalogue to the champion there is.

Its asset event starts `export_rankings`, as that of `promote` does. So it is skipped
where `promote` made a champion, and where the newest published rankings are of this
data set and this champion already: nothing new tonight.

**If this fails**: rankings of the date are not made. Clear the task, or trigger
`export_rankings` with the parameter `run_date`.""",
    )


def _has_result(task_id: str) -> str:
    """Whether a task of the run ended well, as an option's value."""
    return f"{{{{ 'no' if ti.xcom_pull(task_ids='{task_id}') is none else 'yes' }}}}"


def _handed_over(run: Run) -> dict[str, Any]:
    """What an event tells `export_rankings`."""
    return {
        **run.options,
        "catalog": "{{ params.catalog }}",
        "domain": "{{ params.domain }}",
        "warehouse": "{{ params.warehouse }}",
    }


def rank_catalog(run: Run, **options: Any) -> BaseOperator:
    """A model and a catalogue into lists.

    Args:
        run: date and root.
        **options: more of the job's.
    """
    return beam_task(
        "rank_catalog",
        run,
        timeout_h=6,
        options=options,
        # Where nothing had to be prepared, what comes before was skipped.
        trigger_rule=TriggerRule.NONE_FAILED,
        inlets=[CHAMPION, DATASET],
        doc_md="""Rank every scene × category with the champion.

**If this fails**: a champion of another backbone needs that backbone's features.
Trigger a new run of the date with the `backbone` parameter set to the champion's. Where
too few queries have an answer, `rejections.parquet` of the ranking says why; most often
features are missing: clear from `extract_features`.""",
    )


def publish(run: Run, warehouse: Any) -> BaseOperator:
    """Lists and figures into the published tables."""
    return warehouse_task(
        "publish",
        "beam_jobs.publish",
        run,
        options={"warehouse": warehouse},
        outlets=[RANKINGS],
        doc_md="""Stage, check, and replace the date in the published tables.

**If this fails**: a check refused the tables, `runs/<date>/checks.json` has rows that
break it. Nothing was published, and what readers see is unchanged.""",
    )


def report(run: Run, warehouse: Any) -> BaseOperator:
    """What a date left into a page."""
    return module_task(
        "report",
        "beam_jobs.report",
        run,
        # Another process may have the DuckDB file open, and close it.
        refusal_is_final=False,
        options={"warehouse": warehouse},
        inlets=[RANKINGS],
        doc_md="""Write `reports/<date>/index.html`.

**If this fails**: everything is published already. Close the warehouse where it is open
for writing, and clear the task.""",
    )
