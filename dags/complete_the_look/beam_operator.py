"""A Beam job as a process that ends with its task."""

from __future__ import annotations

import psutil
from airflow.providers.apache.beam.operators.beam import (
    BeamRunPythonPipelineOperator,
)

_PATIENCE_S = 10


class BeamOperator(BeamRunPythonPipelineOperator):
    """Ends its processes where the task is ended: another try begins at once."""

    def on_kill(self) -> None:
        """Called when the task is cleared, marked, or has taken too long."""
        super().on_kill()
        started = psutil.Process().children(recursive=True)
        for process in started:
            process.terminate()
        _, alive = psutil.wait_procs(started, timeout=_PATIENCE_S)
        for process in alive:
            process.kill()
