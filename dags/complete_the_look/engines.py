"""Tasks by what they run: a Beam job, a plain module, the training; where is a setting.

Values reach a shell through the environment only, never as part of a command, so that
nothing in a parameter or an event is ever run.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseOperator, TriggerRule

from complete_the_look.beam_operator import BeamOperator
from complete_the_look.engine_settings import DATAFLOW, Engine
from complete_the_look.failures import RetryByKind
from complete_the_look.job_logs import choose_form
from complete_the_look.job_reasons import with_reason
from complete_the_look.settings import current_settings

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

RUN_DATE = "{{ (dag_run.logical_date or dag_run.run_after) | ds }}"
"""Not of the data interval: a cron schedule gives one without extent, and a run by hand
may have none."""

ROOT = "{{ params.root }}"

SKIPPED = 99
"""The exit code of a job that has nothing to do, as `BashOperator` knows it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """Which run a task belongs to.

    Attributes:
        root: storage root; a template, or an argument of a mapped group.
        run_date: likewise.
    """

    root: Any = ROOT
    run_date: Any = RUN_DATE

    @property
    def options(self) -> dict[str, Any]:
        """What every job is told."""
        return {"root": self.root, "run_date": self.run_date}


class ModuleOperator(BashOperator):
    """A module of the project as a process; its asset events say of which run."""

    template_fields = (*BashOperator.template_fields, "event_extra")

    def __init__(self, *, event_extra: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.event_extra = dict(event_extra)

    def execute(self, context: Context) -> Any:
        """Run the module; what it told last is the result."""
        with with_reason():
            told = super().execute(context)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = dict(self.event_extra)
        return told


def _common(
    *,
    timeout_h: float,
    refusal_is_final: bool,
    trigger_rule: TriggerRule,
    doc_md: str,
    inlets: Sequence[Asset],
    outlets: Sequence[Asset],
    one_at_a_time: bool,
    pool: str | None,
) -> dict[str, Any]:
    return {
        "execution_timeout": datetime.timedelta(hours=timeout_h),
        "retry_policy": RetryByKind(refusal_is_final=refusal_is_final),
        "trigger_rule": trigger_rule,
        "pre_execute": choose_form,
        "doc_md": doc_md,
        "inlets": list(inlets),
        "outlets": list(outlets),
        "max_active_tis_per_dagrun": 1 if one_at_a_time else None,
        **({"pool": pool} if pool else {}),
    }


def beam_task(
    stage: str,
    run: Run,
    *,
    doc_md: str,
    timeout_h: float,
    options: Mapping[str, Any] | None = None,
    refusal_is_final: bool = True,
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS,
    inlets: Sequence[Asset] = (),
    outlets: Sequence[Asset] = (),
) -> BaseOperator:
    """A Beam job as a task, on the deployment's runner."""
    settings = current_settings()
    arguments: dict[str, Any] = {
        "task_id": stage,
        "py_file": f"beam_jobs.{stage}",
        "py_options": ["-m"],
        "py_interpreter": settings.interpreter,
        "runner": settings.beam.runner,
        "pipeline_options": {**run.options, **(options or {})},
        **_common(
            timeout_h=timeout_h,
            refusal_is_final=refusal_is_final,
            trigger_rule=trigger_rule,
            doc_md=doc_md,
            inlets=inlets,
            outlets=outlets,
            one_at_a_time=True,
            pool=None,
        ),
    }
    if settings.beam.runner != DATAFLOW:
        return BeamOperator(**arguments)
    from complete_the_look.dataflow import DataflowOperator

    assert settings.beam.dataflow is not None  # the settings were checked
    return DataflowOperator(dataflow=settings.beam.dataflow, **arguments)


def module_task(
    stage: str,
    module: str,
    run: Run,
    *,
    doc_md: str,
    timeout_h: float = 1,
    options: Mapping[str, Any] | None = None,
    flags: Sequence[str] = (),
    refusal_is_final: bool = True,
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS,
    inlets: Sequence[Asset] = (),
    outlets: Sequence[Asset] = (),
    pool: str | None = None,
    one_at_a_time: bool = True,
    event_extra: Mapping[str, Any] | None = None,
) -> ModuleOperator:
    """A plain module as a task, a process beside Airflow's."""
    values = {**run.options, **(options or {})}
    arguments = [
        *(f'--{name}="$OPTION_{name.upper()}"' for name in values),
        *(f"--{flag}" for flag in flags),
    ]
    return ModuleOperator(
        task_id=stage,
        bash_command=f'exec "$OPTION_PYTHON" -m {module} {" ".join(arguments)}',
        env={
            "OPTION_PYTHON": current_settings().interpreter,
            **{f"OPTION_{name.upper()}": value for name, value in values.items()},
        },
        append_env=True,
        skip_on_exit_code=SKIPPED,
        event_extra=event_extra or run.options,
        **_common(
            timeout_h=timeout_h,
            refusal_is_final=refusal_is_final,
            trigger_rule=trigger_rule,
            doc_md=doc_md,
            inlets=inlets,
            outlets=outlets,
            one_at_a_time=one_at_a_time,
            pool=pool,
        ),
    )


def warehouse_task(
    stage: str, module: str, run: Run, *, doc_md: str, **others: Any
) -> ModuleOperator:
    """A module that writes published tables or what waits to be, one at a time."""
    return module_task(
        stage,
        module,
        run,
        doc_md=doc_md,
        # Another process may have the DuckDB file open, and close it.
        refusal_is_final=False,
        pool=current_settings().pools.warehouse,
        **others,
    )


def training_task(
    stage: str,
    module: str,
    run: Run,
    *,
    doc_md: str,
    timeout_h: float,
    options: Mapping[str, Any],
    inlets: Sequence[Asset] = (),
) -> BaseOperator:
    """The training as a task, on the deployment's engine."""
    training = current_settings().training
    if training.engine is Engine.PROCESS:
        return module_task(
            stage,
            module,
            run,
            doc_md=doc_md,
            timeout_h=timeout_h,
            options=options,
            inlets=inlets,
        )
    values = {**run.options, **options}
    command = [
        *("python", "-m", module),
        *(f"--{name}={value}" for name, value in values.items()),
    ]
    common = _common(
        timeout_h=timeout_h,
        refusal_is_final=True,
        trigger_rule=TriggerRule.ALL_SUCCESS,
        doc_md=doc_md,
        inlets=inlets,
        outlets=(),
        one_at_a_time=True,
        pool=None,
    )
    if training.engine is Engine.VERTEX:
        from complete_the_look.vertex import vertex_task

        assert training.vertex is not None  # the settings were checked
        return vertex_task(stage, command, training.vertex, common)
    from complete_the_look.kubernetes import pod_task

    assert training.kubernetes is not None
    return pod_task(stage, command, training.kubernetes, common)
