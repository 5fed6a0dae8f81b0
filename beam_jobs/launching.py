"""Run a job's pipeline, or hand it to a service and end; see `run_pipeline`."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

log = logging.getLogger(__name__)


@contextlib.contextmanager
def run_pipeline(options: PipelineOptions) -> Iterator[beam.Pipeline]:
    """A pipeline that is run when the context ends.

    With Beam's `--no_wait_until_finish` the process ends there, with exit code 0: what
    the job does after its pipeline needs what the pipeline writes. Whoever started it
    waits for the service, and then runs the job again, which finds the pipeline's work
    done, does the rest, and leaves the receipt.
    """
    with beam.Pipeline(options=options) as pipeline:
        yield pipeline
    if options.view_as(StandardOptions).no_wait_until_finish:
        log.info("the pipeline is handed over; run the job again when it has ended")
        sys.exit(0)
