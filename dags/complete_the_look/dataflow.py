"""A Beam job on Dataflow that occupies no worker of Airflow's while it runs.

A try goes through three steps. The job's module plans the work, hands its pipeline to
Dataflow and ends (`--no_wait_until_finish`). The task waits for the job without a
process. Then the module runs once more on this machine: it finds the pipeline's work
done, does what comes after a pipeline, and leaves the receipt.

Another try, or one whose worker died, finds a job of its name and waits for that one;
it starts another only where none is running. Where the work is complete already, the
module says so by starting no job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.apache.beam.hooks.beam import BeamHook
from airflow.providers.google.cloud.hooks.dataflow import DataflowHook
from airflow.providers.google.cloud.links.dataflow import DataflowJobLink
from airflow.providers.google.cloud.operators.dataflow import DataflowConfiguration
from airflow.providers.google.cloud.triggers.dataflow import (
    DataflowJobStateCompleteTrigger,
)
from airflow.sdk.exceptions import TaskDeferralTimeout

from complete_the_look.beam_operator import BeamOperator
from complete_the_look.job_logs import label, labels
from complete_the_look.job_names import job_name
from complete_the_look.job_reasons import with_reason

if TYPE_CHECKING:
    from airflow.sdk import Context

    from complete_the_look.engine_settings import Dataflow


def place_options(dataflow: Dataflow) -> dict[str, Any]:
    """What Beam is told of the place, besides what the operator adds."""
    options: dict[str, Any] = {
        "temp_location": dataflow.temp_location,
        "sdk_container_image": dataflow.worker_image,
        "sdk_location": "container",
        "experiments": ["use_runner_v2"],
        "machine_type": dataflow.machine_type,
        "max_num_workers": dataflow.max_workers,
        "no_use_public_ips": True,
        "no_wait_until_finish": True,
    }
    if dataflow.service_account:
        options["service_account_email"] = dataflow.service_account
    if dataflow.subnetwork:
        options["subnetwork"] = dataflow.subnetwork
    return options


class DataflowOperator(BeamOperator):
    """One of the project's Beam jobs on Dataflow."""

    template_fields = (*BeamOperator.template_fields, "job_options")

    def __init__(
        self, *, dataflow: Dataflow, pipeline_options: dict[str, Any], **kwargs: Any
    ) -> None:
        """Set the place.

        Args:
            dataflow: the environment's.
            pipeline_options: of the job.
            **kwargs: of the operator.
        """
        super().__init__(
            pipeline_options={**pipeline_options, **place_options(dataflow)},
            dataflow_config=DataflowConfiguration(
                append_job_name=False,
                project_id=dataflow.project,
                location=dataflow.region,
                poll_sleep=dataflow.poll_s,
            ),
            deferrable=True,
            **kwargs,
        )
        self.job_options = pipeline_options

    def execute(self, context: Context) -> Any:
        """Start the job, or find it; then wait."""
        self.dataflow_config.job_name = job_name(context)
        run_date = label(str(self.job_options["run_date"]))
        self.pipeline_options["labels"] = {**labels(context), "run_date": run_date}
        return super().execute(context)

    def execute_on_dataflow(self, context: Context) -> Any:
        """Start the job unless it runs, and wait for it."""
        assert self.dataflow_hook is not None  # made by `execute`
        self.dataflow_job_id = self._running()
        if self.dataflow_job_id:
            self.log.info("waiting for job %s of an earlier try", self.dataflow_job_id)
        else:
            self._launch()
        if not self.dataflow_job_id:
            self.log.info("no job was started: the work is complete already")
            return None
        DataflowJobLink.persist(
            context=context,
            region=self.dataflow_config.location,
            job_id=self.dataflow_job_id,
            project_id=self.dataflow_config.project_id,
        )
        self.defer(
            trigger=DataflowJobStateCompleteTrigger(
                job_id=self.dataflow_job_id,
                project_id=self.dataflow_config.project_id,
                location=self.dataflow_config.location,
                gcp_conn_id=self.gcp_conn_id,
                poll_sleep=self.dataflow_config.poll_sleep,
            ),
            method_name="execute_complete",
            kwargs={"job_id": self.dataflow_job_id},
            timeout=self.execution_timeout,  # Airflow does not count it otherwise
        )

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Go on after waiting; a job that took too long is cancelled."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            config = self.dataflow_config
            config.job_name = job_name(context)
            self.dataflow_hook = DataflowHook(gcp_conn_id=self.gcp_conn_id)
            if job_id := self._running():
                self.log.error("job %s took too long and is cancelled", job_id)
                self.dataflow_hook.cancel_job(
                    project_id=config.project_id,
                    location=config.location,
                    job_id=job_id,
                )
            raise

    def execute_complete(
        self, context: Context, event: dict[str, Any], job_id: str = ""
    ) -> None:
        """Do what comes after the pipeline, on this machine.

        Args:
            context: of the task.
            event: of the trigger.
            job_id: whose counters go into the receipt; empty of a task that waits since
                before an upgrade.
        """
        super().execute_complete(context, event)
        config = self.dataflow_config
        job = f"{config.project_id}/{config.location}/{job_id}"
        variables = {**self.job_options, **({"finishes_job": job} if job_id else {})}
        with with_reason():
            BeamHook(runner="DirectRunner").start_python_pipeline(
                variables=variables,
                py_file=self.py_file,
                py_options=self.py_options,
                py_interpreter=self.py_interpreter,
            )

    def _launch(self) -> None:
        """Run the module to its end, which comes as soon as Dataflow has the job."""
        self.beam_hook.start_python_pipeline(
            variables=self.snake_case_pipeline_options,
            py_file=self.py_file,
            py_options=self.py_options,
            py_interpreter=self.py_interpreter,
            process_line_callback=self.process_line_callback,
        )

    def _running(self) -> str | None:
        """The id of the job of this name that has not ended, if there is one."""
        config = self.dataflow_config
        jobs = self.dataflow_hook.get_conn().projects().locations().jobs()
        request = jobs.list(
            projectId=config.project_id,
            location=config.location,
            filter="ACTIVE",
            name=config.job_name,
        )
        while request is not None:
            answer = request.execute()
            for job in answer.get("jobs", []):
                if job["name"] == config.job_name:
                    return str(job["id"])
            request = jobs.list_next(request, answer)
        return None
