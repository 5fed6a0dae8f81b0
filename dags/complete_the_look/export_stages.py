"""Stages after a model: a champion's rankings into published tables and a page."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, TriggerRule

from complete_the_look.assets import CHAMPION, DATASET, RANKINGS
from complete_the_look.engines import Run, beam_task, module_task, warehouse_task


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
        options={
            "top_k": "{{ params.top_k }}",
            "filters": "{{ params.filters }}",
            "attributes": "{{ params.attributes }}",
            "index": "{{ 'yes' if params.index else 'no' }}",
            **options,
        },
        # Where nothing had to be prepared, what comes before was skipped.
        trigger_rule=TriggerRule.NONE_FAILED,
        inlets=[CHAMPION, DATASET],
        doc_md="""Rank every scene × category with the champion.

**If this fails**: a champion of another backbone needs that backbone's features.
Trigger a new run of the date with the `backbone` parameter set to the champion's. Where
too few queries have an answer, `rejections.parquet` of the ranking says why; most often
features are missing: clear from `extract_features`. Rules that cannot be read, and an
index that finds too little, are told with their option: trigger the date again with
another `filters`, `attributes` or `index`.""",
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
