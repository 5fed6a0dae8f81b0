"""Stages of a model: from a data set to a champion, and who is told of it."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, TriggerRule

from complete_the_look.assets import CATALOG, CHAMPION, DATASET
from complete_the_look.engines import Run, module_task, training_task
from complete_the_look.settings import current_settings


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
default in `trainer/configuration/presets.py`. Yesterday's champion stays in force. A
training that was killed goes on from its last checkpoint.""",
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
a metric is missing or no number, or the metrics are of another model or another split:
remove `models/<run_id>/metrics.json` and clear from `evaluate`. Or another model has
been trained for the date since, as by hand: clear from `evaluate`.""",
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
    ranking = current_settings().ranking
    return module_task(
        "offer_catalog",
        "beam_jobs.offer_catalog",
        run,
        options={
            # A skipped task has no result.
            "promoted": _has_result("promote"),
            "trained": _has_result("gate"),
            "warehouse": "{{ params.warehouse }}",
            # What the export is told, where nobody tells it otherwise.
            "top_k": str(ranking.top_k),
            "filters": ranking.filters,
            "attributes": ranking.attributes,
            "index": "yes" if ranking.index else "no",
        },
        trigger_rule=TriggerRule.NONE_FAILED,
        outlets=[CATALOG],
        event_extra=_handed_over(run),
        doc_md="""Hand the night's catalogue to the champion there is.

Its asset event starts `export_rankings`, as that of `promote` does. So it is skipped
where `promote` made a champion, and where the newest published rankings are of this
data set, this champion and these rules already: nothing new tonight.

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
