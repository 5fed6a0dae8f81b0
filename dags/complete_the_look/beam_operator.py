"""A Beam job as a process that ends with its task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil
from airflow.providers.apache.beam.operators.beam import (
    BeamRunPythonPipelineOperator,
)

from complete_the_look.job_reasons import with_reason

if TYPE_CHECKING:
    from airflow.sdk import Context

_PATIENCE_S = 10


class BeamOperator(BeamRunPythonPipelineOperator):
    """Says why its job failed; ends it with the task, as another try begins at once."""

    def execute(self, context: Context) -> Any:
        """Run the job's module to its end."""
        with with_reason():
            return super().execute(context)

    def on_kill(self) -> None:
        """Called when the task is cleared, marked, or has taken too long."""
        super().on_kill()
        started = psutil.Process().children(recursive=True)
        for process in started:
            process.terminate()
        _, alive = psutil.wait_procs(started, timeout=_PATIENCE_S)
        for process in alive:
            process.kill()
