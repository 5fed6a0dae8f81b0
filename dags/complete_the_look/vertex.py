"""The training as a Vertex AI custom job that occupies no worker while it runs.

Google's own operator for it imports Vertex AI's library when the DAG file is parsed,
which doubles what parsing costs; this one imports it when the task runs. It also finds
the job of an earlier try, instead of starting another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, TaskDeferralTimeout

from complete_the_look.job_logs import labels, variables
from complete_the_look.job_names import job_name

if TYPE_CHECKING:
    from airflow.sdk import Context

    from complete_the_look.engine_settings import Vertex

_ACTIVE = ("PENDING", "RUNNING", "PAUSED")
_CONNECTION = "google_cloud_default"


class VertexOperator(BaseOperator):
    """A command in a container on several machines with GPUs.

    Vertex AI sets TF_CONFIG on each machine, by which the trainer finds the others.
    """

    template_fields = ("command",)

    def __init__(
        self, *, command: Sequence[str], vertex: Vertex, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.command = list(command)
        self.vertex = vertex

    def execute(self, context: Context) -> None:
        """Start the job unless it runs, and wait for it."""
        from airflow.providers.google.cloud.hooks.vertex_ai.custom_job import (
            CustomJobHook,
        )
        from airflow.providers.google.cloud.triggers.vertex_ai import (
            CustomContainerTrainingJobTrigger,
        )

        hook, name = CustomJobHook(gcp_conn_id=_CONNECTION), job_name(context)
        job_id = self._running(hook, name)
        if job_id is None:
            job_id = self._start(hook, name, context)
        else:
            self.log.info("waiting for job %s of an earlier try", job_id)
        context["ti"].xcom_push(key="training_id", value=job_id)
        self.defer(
            trigger=CustomContainerTrainingJobTrigger(
                conn_id=_CONNECTION,
                project_id=self.vertex.project,
                location=self.vertex.region,
                job_id=job_id,
                poll_interval=self.vertex.poll_s,
            ),
            method_name="execute_complete",
            timeout=self.execution_timeout,  # Airflow does not count it otherwise
        )

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Go on after waiting; a job that took too long is cancelled."""
        from airflow.providers.google.cloud.hooks.vertex_ai.custom_job import (
            CustomJobHook,
        )

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            hook = CustomJobHook(gcp_conn_id=_CONNECTION)
            if job_id := self._running(hook, job_name(context)):
                self.log.error("job %s took too long and is cancelled", job_id)
                hook.cancel_training_pipeline(
                    project_id=self.vertex.project,
                    region=self.vertex.region,
                    training_pipeline=job_id,
                )
            raise

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Fail where the job has failed."""
        if event["status"] != "success":
            raise AirflowException(event["message"])
        self.log.info("%s", event["message"])

    def _start(self, hook: Any, name: str, context: Context) -> str:
        vertex = self.vertex
        job = hook.get_custom_container_training_job(
            project=vertex.project,
            location=vertex.region,
            display_name=name,
            container_uri=vertex.image,
            command=self.command,
            labels=labels(context),
            staging_bucket=vertex.staging_bucket,
        )
        job.submit(
            environment_variables=variables(context),
            service_account=vertex.service_account or None,
            machine_type=vertex.machine_type,
            accelerator_type=vertex.accelerator_type,
            accelerator_count=vertex.accelerators,
            replica_count=vertex.replicas,
            timeout=self._timeout_s(),
            # Those that are left wait for the one that is gone, and all go on from the
            # last checkpoint.
            restart_job_on_worker_restart=True,
            sync=False,
        )
        job.wait_for_resource_creation()
        return str(job.name)

    def _timeout_s(self) -> int | None:
        """Of the job, in case nobody is left to cancel it."""
        allowed = self.execution_timeout
        return None if allowed is None else int(allowed.total_seconds())

    def _running(self, hook: Any, name: str) -> str | None:
        """The id of the job of this name that has not ended, if there is one."""
        states = " OR ".join(f'state="PIPELINE_STATE_{state}"' for state in _ACTIVE)
        found = hook.list_training_pipelines(
            project_id=self.vertex.project,
            region=self.vertex.region,
            filter=f'display_name="{name}" AND ({states})',
        )
        for pipeline in found:
            return str(pipeline.name.rpartition("/")[2])
        return None


def vertex_task(
    stage: str, command: Sequence[str], vertex: Vertex, common: dict[str, Any]
) -> VertexOperator:
    """A module of the trainer as a custom job.

    Args:
        stage: id of the task.
        command: in the container.
        vertex: the environment's.
        common: what every task has.
    """
    spread = ["--strategy=hosts"] if vertex.replicas > 1 else []
    return VertexOperator(
        task_id=stage, command=[*command, *spread], vertex=vertex, **common
    )
