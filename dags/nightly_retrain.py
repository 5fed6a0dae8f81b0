"""Nightly retraining: from a catalogue to published rankings, one task per stage.

Wiring only. The jobs are modules named in commands; what they find is under the root,
through the receipts of the run's date (`tfrecords_schema.layout`). Running a date again
redoes nothing that is complete and replaces nothing but that date.
"""

from __future__ import annotations

import datetime
import os
import re
import sys

from airflow.providers.apache.beam.operators.beam import (
    BeamRunPythonPipelineOperator,
)
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param, TriggerRule
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

RUN_DATE = "{{ (dag_run.logical_date or dag_run.run_after) | ds }}"

# Deployment settings. They come from the environment of the Airflow processes, so that
# the file reads nothing when it is parsed.
PYTHON = os.environ.get("COMPLETE_THE_LOOK_PYTHON", sys.executable)
RUNNER = os.environ.get("COMPLETE_THE_LOOK_RUNNER", "DirectRunner")
RETRIES = int(os.environ.get("COMPLETE_THE_LOOK_RETRIES", "2"))

# Every task has a working directory of its own, so no path may be relative.
ABSOLUTE = "^(/|[a-z0-9]+://)."

# How the operators' messages end where a job refused its input.
REFUSED = re.compile(r"\b(exit|return) code 2\.?$")

RUN_OPTIONS = {"root": "{{ params.root }}", "run_date": RUN_DATE}
CATALOG_OPTIONS = {
    "catalog": "{{ params.catalog }}",
    "domain": "{{ params.domain }}",
}


class RefusalIsFinal(RetryPolicy):
    """No second try where a job says that its input is at fault: exit code 2.

    Whatever else fails is tried again as the task's `retries` say.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: object = None,
    ) -> RetryDecision:
        """Decide by the code that the operator's message ends with."""
        if REFUSED.search(str(exception)):
            return RetryDecision.fail("the same input would be refused again")
        return RetryDecision.default()


def beam_task(
    stage: str,
    *,
    doc_md: str,
    timeout_h: float,
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS,
    retry_policy: RetryPolicy | None = None,
    **options: str,
) -> BeamRunPythonPipelineOperator:
    """A Beam job as a task, on the deployment's runner."""
    return BeamRunPythonPipelineOperator(
        task_id=stage,
        py_file=f"beam_jobs.{stage}",
        py_options=["-m"],
        py_interpreter=PYTHON,
        runner=RUNNER,
        pipeline_options={**RUN_OPTIONS, **options},
        execution_timeout=datetime.timedelta(hours=timeout_h),
        trigger_rule=trigger_rule,
        retry_policy=retry_policy,
        doc_md=doc_md,
    )


def module_task(
    stage: str,
    module: str,
    *,
    doc_md: str,
    timeout_h: float = 1,
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS,
    retry_policy: RetryPolicy | None = None,
    **options: str,
) -> BashOperator:
    """A plain module as a task.

    Values reach the shell through the environment only, never as part of the command,
    so that nothing in a parameter is ever run.
    """
    values = {**RUN_OPTIONS, **options}
    arguments = " ".join(f'--{name}="$OPTION_{name.upper()}"' for name in values)
    return BashOperator(
        task_id=stage,
        bash_command=f'exec "$OPTION_PYTHON" -m {module} {arguments}',
        env={
            "OPTION_PYTHON": PYTHON,
            **{f"OPTION_{name.upper()}": value for name, value in values.items()},
        },
        append_env=True,
        execution_timeout=datetime.timedelta(hours=timeout_h),
        trigger_rule=trigger_rule,
        retry_policy=retry_policy,
        doc_md=doc_md,
    )


with DAG(
    dag_id="nightly_retrain",
    description="Catalogue → data set → model → gate → rankings → report",
    doc_md=__doc__,
    schedule="0 2 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=datetime.timedelta(hours=12),
    tags=["complete-the-look", "training"],
    default_args={
        "owner": "complete-the-look",
        "retries": RETRIES,
        "retry_delay": datetime.timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": datetime.timedelta(hours=1),
    },
    params={
        "root": Param(
            os.environ.get("COMPLETE_THE_LOOK_ROOT", "/var/lib/complete-the-look/runs"),
            type="string",
            pattern=ABSOLUTE,
            description="Storage root, a folder or gs://bucket/prefix",
        ),
        "catalog": Param(
            os.environ.get(
                "COMPLETE_THE_LOOK_CATALOG", "/var/lib/complete-the-look/catalog"
            ),
            type="string",
            pattern=ABSOLUTE,
            description="Folder with <domain>.json and <domain>-cat.json, or with the "
            "tables scenes, products and pairs (.csv, .parquet or .jsonl)",
        ),
        "domain": Param(
            "fashion", enum=["fashion", "home"], description="Which catalogue"
        ),
        "image_host": Param(
            os.environ.get("COMPLETE_THE_LOOK_IMAGE_HOST", "http://i.pinimg.com"),
            type="string",
            pattern="^(https?://.*)?$",
            description="Host of the pictures; empty for tables, which give addresses",
        ),
        "allow_hosts": Param(
            "",
            type="string",
            pattern=r"^[\w.:,\[\]-]*$",
            description="Hosts of pictures that may be at private addresses, as host "
            "or host:port with commas between them",
        ),
        "contact": Param(
            "",
            type="string",
            pattern=r"^([!-~]*(@|://)[!-~]*)?$",
            description="URL or e-mail address that hosts of pictures are told; they "
            "may ask for one",
        ),
        "retry": Param(
            "retryable",
            type="string",
            enum=["retryable", "failed", "none"],
            description="Pictures to ask for again, besides new ones: those that "
            "failed for a reason that may pass, all that failed, or none",
        ),
        "negative_strategy": Param(
            "uniform",
            type="string",
            enum=["uniform", "popularity", "hard"],
            description="How negatives are drawn: alike, by how often a product is "
            "worn, or by the champion, which must have been promoted before",
        ),
        "backbone": Param(
            "ResNet50",
            type="string",
            # A name, or a file by its absolute path.
            pattern=r"^\w+$|^(/|[a-z0-9]+://).+\.keras$",
            description="keras.applications model, or a .keras backbone file",
        ),
        "preset": Param("paper", type="string", minLength=1, description="The model"),
        "warehouse": Param(
            os.environ.get("COMPLETE_THE_LOOK_WAREHOUSE", ""),
            type="string",
            pattern=r"^(/.+|bigquery://.+/.+)?$",
            description="Where to publish: bigquery://project/dataset, the path of a "
            "DuckDB file, or empty for the root's warehouse.duckdb",
        ),
        "validation_baseline": Param(
            "previous",
            type="string",
            pattern=r"^\w[\w.-]*$",
            description="What the data set is compared with: previous, none, or a "
            "data set version",
        ),
    },
) as dag:
    fetch_images = beam_task(
        "fetch_images",
        timeout_h=6,
        image_host="{{ params.image_host }}",
        allow_hosts="{{ params.allow_hosts }}",
        contact="{{ params.contact }}",
        retry="{{ params.retry }}",
        **CATALOG_OPTIONS,
        doc_md="""Fetch what the image store lacks.

**If this fails**: the last lines name the commonest codes and a URL of each. A host
that is down: clear the task when it is back, only missing pictures are asked for.""",
    )
    build_dataset = beam_task(
        "build_dataset",
        timeout_h=4,
        retry_policy=RefusalIsFinal(),
        negative_strategy="{{ params.negative_strategy }}",
        **CATALOG_OPTIONS,
        doc_md="""Crop, split, mine negatives, write TFRecord shards.

**If this fails**: an error about the catalogue names file, value and option; mend the
catalogue and clear the task, which is not tried again by itself. Where there is no
model for the `negative_strategy` `hard`, trigger the date again with `uniform`.
Half-written versions are cleared by the next try.""",
    )
    validate_dataset = module_task(
        "validate_dataset",
        "beam_jobs.validate_dataset",
        retry_policy=RefusalIsFinal(),
        baseline="{{ params.validation_baseline }}",
        doc_md="""Judge the data set, alone and against the last one that passed.

**If this fails**: the last lines name each broken rule, its figure and what to do;
`runs/<date>/validation.json` has all figures. Nothing later has run, and yesterday's
champion and rankings stay in force. Mend the catalogue and clear from `fetch_images`,
or, where the jump is legitimate (a new catalogue, a dropped category), trigger the date
again with the parameter `validation_baseline` set to `none`: the absolute rules still
hold, and later nights compare with this data set.""",
    )
    extract_features = beam_task(
        "extract_features",
        timeout_h=6,
        retry_policy=RefusalIsFinal(),
        backbone="{{ params.backbone }}",
        doc_md="""Run the frozen backbone over pictures that are not cached yet.

**If this fails**: out of memory means too many workers on one machine, each holds the
backbone. Clear the task; a complete segment is never computed again. An error about the
backbone is not tried again by itself: trigger the date with another `backbone`.""",
    )
    train = module_task(
        "train",
        "trainer.task",
        timeout_h=6,
        preset="{{ params.preset }}",
        doc_md="""Train the style embedding.

**If this fails**: the last line names the figure and the option of `trainer.task`. Run
that module by hand with the option set to find a value that works, then make it the
default in `trainer/presets.py`. Yesterday's champion stays in force.""",
    )
    evaluate = module_task(
        "evaluate",
        "trainer.evaluate",
        doc_md="""Measure the model and the baselines on held-out scenes.

**If this fails**: the model is complete; clear the task. To measure again on purpose,
or after an upgrade that measures otherwise, remove `models/<run_id>/metrics.json` and
start again: what is measured is not replaced. If features are missing, clear
`extract_features` too.""",
    )
    gate = module_task(
        "gate",
        "trainer.gate",
        doc_md="""Decide whether the model may replace the champion.

Succeeds whatever the verdict; `models/<run_id>/gate.json` says why. **If this fails**:
a metric is missing or no number, or the metrics are another model's. Remove
`models/<run_id>/metrics.json` and clear from `evaluate`.""",
    )
    promote = module_task(
        "promote",
        "trainer.promote",
        doc_md="""Make the model the champion; skipped when the gate refused it.

**If this fails**: the pointer `models/champion.json` still names the old champion. If
the line says that `gate.json` is about other metrics, the model was evaluated anew:
clear from `gate`. Else the pointer could not be replaced: clear the task.""",
    )
    rank_catalog = beam_task(
        "rank_catalog",
        timeout_h=6,
        # `promote` is skipped when the gate refuses: the old champion ranks then.
        trigger_rule=TriggerRule.NONE_FAILED,
        doc_md="""Rank every scene × category with the champion.

**If this fails**: a champion of another backbone needs that backbone's features.
Trigger a new run of the date with the `backbone` parameter set to the champion's. Where
too few queries have an answer, `rejections.parquet` of the ranking says why; most often
features are missing: clear from `extract_features`.""",
    )
    publish = module_task(
        "publish",
        "beam_jobs.publish",
        warehouse="{{ params.warehouse }}",
        doc_md="""Stage, check, and replace the date in the published tables.

**If this fails**: a check refused the tables, `runs/<date>/checks.json` has rows that
break it. Nothing was published, and what readers see is unchanged.""",
    )
    report = module_task(
        "report",
        "beam_jobs.report",
        warehouse="{{ params.warehouse }}",
        doc_md="""Write `reports/<date>/index.html`.

**If this fails**: everything is published already. Close the warehouse where it is open
for writing, and clear the task.""",
    )

    fetch_images >> build_dataset >> validate_dataset >> extract_features
    (
        extract_features
        >> train
        >> evaluate
        >> gate
        >> promote
        >> rank_catalog
        >> publish
        >> report
    )
